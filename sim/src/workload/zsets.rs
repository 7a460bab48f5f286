//! Commands of sorted sets.

use super::Workload;
use base::rng::Rng;

impl Workload {
    /// A command for a key that mostly holds one; other keys of `group` stand in its shard.
    pub(super) fn zset(&mut self, rng: &mut Rng, group: u64, key: Vec<u8>) -> Vec<Vec<u8>> {
        let _ = group;
        self.string(rng, key)
    }
}
