//! How many bytes Redis' listpack of the same entries would take.
//!
//! Redis closes a node of its stream when the listpack has grown so large, and approximate trimming removes whole nodes
//! alone. So that it removes the same entries here, chunks are closed where Redis would close a node.

/// An empty listpack: its head and its end.
const EMPTY: usize = 7;

/// What a listpack takes that begins with these field names, before its first entry.
pub(super) fn of_head<'a>(names: impl Iterator<Item = &'a [u8]>, count: usize) -> usize {
    // How many live, how many deleted, how many names, the names, a zero.
    EMPTY + of_integer(1) + of_integer(0) + of_count(count) + names.map(of_text).sum::<usize>() + of_integer(0)
}

/// What an entry adds whose `values` stand with their names, if `named`; deltas are to the first entry.
pub(super) fn of_entry<'a>(
    values: impl Iterator<Item = &'a [u8]>,
    named: Option<usize>,
    count: usize,
    (ms, seq): (u64, u64),
) -> usize {
    let parts = 3 + count + named.map_or(0, |_| count + 1);
    let head = of_integer(0) + of_integer(ms.cast_signed()) + of_integer(seq.cast_signed()) + named.map_or(0, of_count);
    head + values.map(of_text).sum::<usize>() + of_count(parts)
}

fn of_count(count: usize) -> usize {
    of_integer(i64::try_from(count).unwrap_or(i64::MAX))
}

fn of_integer(n: i64) -> usize {
    let code = match n {
        0..=127 => 1,
        -4096..=4095 => 2,
        -32_768..=32_767 => 3,
        -8_388_608..=8_388_607 => 4,
        -2_147_483_648..=2_147_483_647 => 5,
        _ => 9,
    };
    code + 1
}

fn of_text(text: &[u8]) -> usize {
    if let Some(n) = integer(text) {
        return of_integer(n);
    }
    let code = text.len()
        + match text.len() {
            0..64 => 1,
            64..4096 => 2,
            _ => 5,
        };
    let back = match code {
        0..128 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    };
    code + back
}

/// A text that is an integer in its only spelling.
fn integer(text: &[u8]) -> Option<i64> {
    let (first, digits) = match text {
        [] => return None,
        [b'-', rest @ ..] => (rest.first()?, rest),
        rest => (rest.first()?, rest),
    };
    if text.len() > 20 || !first.is_ascii_digit() || (*first == b'0' && text.len() > 1) || digits.len() > 19 {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_weigh_as_listpacks_say() {
        let cases: [(&[u8], usize); 14] = [
            (b"", 2),
            (b"a", 3),
            (b"0", 2),
            (b"-0", 4),
            (b"00", 4),
            (b"127", 2),
            (b"128", 3),
            (b"-1", 3),
            (b"32767", 4),
            (b"9223372036854775807", 10),
            (b"9223372036854775808", 21),
            (b"-9223372036854775808", 10),
            (&[b'x'; 64], 67),
            (&[b'x'; 5000], 5007),
        ];
        for (text, wanted) in cases {
            assert_eq!(of_text(text), wanted, "{}", String::from_utf8_lossy(text));
        }
    }
}
