//! The checksum of Redis' files: 64 bits, the polynomial of Jones, bits reflected, nothing at its start.

const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;
/// Bytes that are taken at once; each has its table.
const AT_ONCE: usize = 8;
static TABLES: [[u64; 256]; AT_ONCE] = tables();

/// The checksum of `bytes`.
pub fn crc64(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<AT_ONCE>();
    let mut sum = 0;
    for word in words {
        let mixed = (sum ^ u64::from_le_bytes(*word)).to_le_bytes();
        sum = mixed.iter().zip(TABLES.iter().rev()).fold(0, |sum, (byte, table)| sum ^ table[usize::from(*byte)]);
    }
    rest.iter().fold(sum, |sum, byte| sum >> 8 ^ TABLES[0][usize::from(sum.to_le_bytes()[0] ^ byte)])
}

const fn tables() -> [[u64; 256]; AT_ONCE] {
    let mut tables = [[0; 256]; AT_ONCE];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u64;
        let mut table = 0;
        while table < AT_ONCE {
            let mut bit = 0;
            while bit < 8 {
                sum = if sum & 1 == 1 { sum >> 1 ^ POLYNOMIAL } else { sum >> 1 };
                bit += 1;
            }
            tables[table][byte] = sum;
            table += 1;
        }
        byte += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_the_catalogue() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(crc64(b""), 0);
        let long: Vec<u8> = (0..=255).cycle().take(1003).collect();
        let plain = long.iter().fold(0_u64, |sum, byte| sum >> 8 ^ TABLES[0][usize::from(sum.to_le_bytes()[0] ^ byte)]);
        assert_eq!(crc64(&long), plain);
    }
}
