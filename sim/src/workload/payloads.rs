//! DUMP and RESTORE.

use super::{Workload, number, one_of};
use crate::oracle::payloads::{PAYLOADS, bytes_of};
use base::rng::Rng;

impl Workload {
    pub(super) fn payload(&self, rng: &mut Rng, key: Vec<u8>) -> Vec<Vec<u8>> {
        if rng.one_in(2) {
            return vec![b"dump".to_vec(), key];
        }
        let at = usize::try_from(rng.below(PAYLOADS.len() as u64)).expect("small");
        let mut payload = bytes_of(PAYLOADS[at].0);
        if rng.one_in(12) {
            payload[3] ^= 0x20;
        }
        let ttl = if rng.one_in(3) { self.ttl(rng) } else { b"0".to_vec() };
        let mut words = vec![b"restore".to_vec(), key, ttl, payload];
        if !rng.one_in(4) {
            words.push(one_of(rng, &["REPLACE", "replace"]));
        }
        if rng.one_in(5) {
            words.push(b"ABSTTL".to_vec());
            words[2] = number(self.soon_ms(rng));
        }
        words
    }
}
