//! SORT.

use super::{KEYS_PER_GROUP, Workload, key, one_of};
use base::rng::Rng;

impl Workload {
    /// SORT of a key. Where members that weigh the same would come in any order, nothing that depends on it is asked for.
    pub(super) fn sort(rng: &mut Rng, group: u64, name: Vec<u8>) -> Vec<Vec<u8>> {
        let readonly = rng.one_in(4);
        let mut words = vec![if readonly { b"sort_ro".to_vec() } else { b"sort".to_vec() }, name];
        let pattern = |rng: &mut Rng| {
            let field = if rng.one_in(2) { "->f1" } else { "" };
            format!("{{{group}}}k*{field}").into_bytes()
        };
        let any_order = match rng.below(5) {
            0 => {
                words.extend([b"BY".to_vec(), b"nosort".to_vec()]);
                true
            }
            1 => {
                words.extend([b"by".to_vec(), pattern(rng), b"ALPHA".to_vec()]);
                true
            }
            2 => {
                words.extend([b"by".to_vec(), pattern(rng)]);
                false
            }
            _ => {
                words.push(one_of(rng, &["alpha", "ALPHA", "asc"]));
                false
            }
        };
        if rng.one_in(2) {
            words.push(one_of(rng, &["DESC", "asc", "desc"]));
        }
        if rng.one_in(3) {
            let start = one_of(rng, &["0", "1", "2", "-1", "x"]);
            words.extend([b"LIMIT".to_vec(), start, one_of(rng, &["0", "1", "3", "-1", "100"])]);
        }
        if !any_order && rng.one_in(3) {
            words.extend([b"GET".to_vec(), pattern(rng), b"get".to_vec(), one_of(rng, &["#", "nothing"])]);
        }
        if !any_order && rng.one_in(3) {
            words.extend([b"STORE".to_vec(), key(group, rng.below(KEYS_PER_GROUP))]);
        }
        words
    }
}
