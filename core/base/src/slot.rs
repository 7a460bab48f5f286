//! Hash slots as in Redis Cluster: `CRC16(key or {hashtag}) mod 16384`, CRC16 in its XMODEM variant.
//!
//! Shards share the slots in ranges of equal size, in order; nothing but the number of shards says which.

use crate::ShardId;

/// One of 16,384 hash slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16);

/// How many slots there are.
pub const SLOT_COUNT: u16 = 16_384;

impl Slot {
    /// The slot of `key`: of its hashtag if it has a non-empty one (`{` .. first `}` behind it), else of all of it.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self(crc16(hashtag(key)) % SLOT_COUNT)
    }

    /// The shard that has this slot, where there are `shards` of them.
    #[must_use]
    pub fn shard(self, shards: u16) -> ShardId {
        let wide = u32::from(self.0) * u32::from(shards) / u32::from(SLOT_COUNT);
        ShardId(u16::try_from(wide).expect("a slot below the count gives a shard below the count"))
    }

    /// The first slot of a shard, where there are `shards` of them; the others follow it.
    #[must_use]
    pub fn first_of(shard: ShardId, shards: u16) -> Self {
        let wide = (u32::from(shard.0) * u32::from(SLOT_COUNT)).div_ceil(u32::from(shards));
        Self(u16::try_from(wide).expect("a shard below the count starts at a slot below the count"))
    }
}

fn hashtag(key: &[u8]) -> &[u8] {
    // `contains` looks at eight bytes at a time, `position` at one: most keys have no hashtag.
    if !key.contains(&b'{') {
        return key;
    }
    let Some(open) = key.iter().position(|b| *b == b'{') else { return key };
    let rest = &key[open + 1..];
    match rest.iter().position(|b| *b == b'}') {
        None | Some(0) => key,
        Some(close) => &rest[..close],
    }
}

/// CRC16/XMODEM: polynomial 0x1021, initial value 0.
#[must_use]
pub fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    let mut chunks = bytes.chunks_exact(4);
    for c in &mut chunks {
        let [hi, lo] = crc.to_be_bytes();
        crc = TABLES[3][usize::from(c[0] ^ hi)]
            ^ TABLES[2][usize::from(c[1] ^ lo)]
            ^ TABLES[1][usize::from(c[2])]
            ^ TABLES[0][usize::from(c[3])];
    }
    for b in chunks.remainder() {
        let [hi, lo] = crc.to_be_bytes();
        crc = u16::from_be_bytes([lo, 0]) ^ TABLES[0][usize::from(hi ^ b)];
    }
    crc
}

/// `TABLES[k][b]`: the CRC of byte `b` followed by `k` zero bytes (slicing by four).
static TABLES: [[u16; 256]; 4] = tables();

const fn tables() -> [[u16; 256]; 4] {
    let mut t = [[0u16; 256]; 4];
    let mut i = 0;
    while i < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "i is below 256; try_from is not const")]
        let mut crc = (i as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        t[0][i] = crc;
        i += 1;
    }
    let mut k = 1;
    while k < 4 {
        let mut i = 0;
        while i < 256 {
            let prev = t[k - 1][i];
            t[k][i] = (prev << 8) ^ t[0][(prev >> 8) as usize];
            i += 1;
        }
        k += 1;
    }
    t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc16_matches_the_published_check_value() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(crc16(b""), 0);
        assert_eq!(Slot::of(b"foo"), Slot(12182));
    }

    #[test]
    fn only_the_first_non_empty_hashtag_counts() {
        assert_eq!(Slot::of(b"{user1000}.following"), Slot::of(b"user1000"));
        assert_eq!(Slot::of(b"foo{}{bar}"), Slot(crc16(b"foo{}{bar}") % SLOT_COUNT));
        assert_eq!(Slot::of(b"foo{{bar}}zap"), Slot::of(b"{bar"));
        assert_eq!(Slot::of(b"foo{bar}{zap}"), Slot::of(b"bar"));
    }

    #[test]
    fn shards_have_equal_ranges_without_gaps() {
        for shards in [1, 2, 3, 8, 100, 1023, 1024] {
            let ends = (1..shards).map(|shard| Slot::first_of(ShardId(shard), shards).0).chain([SLOT_COUNT]);
            let mut from = 0;
            for (shard, end) in (0..shards).zip(ends) {
                assert!((from..end).all(|slot| Slot(slot).shard(shards) == ShardId(shard)));
                assert!((end - from).abs_diff(SLOT_COUNT / shards) <= 1, "{from}..{end} of {shards}");
                from = end;
            }
        }
    }
}
