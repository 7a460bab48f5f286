//! A bounded table of keys that forgets what was used longest ago, nearly: two halves, old and young. What is used moves to the young
//! half; when that is full, the old one is dropped whole. So a key is kept through at least half a table of other keys, and
//! nothing has to be linked or sorted.

use std::collections::BTreeMap;

/// Values by key.
#[derive(Debug)]
pub(super) struct Table<V> {
    young: BTreeMap<u64, V>,
    old: BTreeMap<u64, V>,
    half_max: usize,
}

impl<V: Default> Table<V> {
    pub(super) fn new(keys_max: usize) -> Self {
        Self { young: BTreeMap::new(), old: BTreeMap::new(), half_max: (keys_max / 2).max(1) }
    }

    /// Uses the value of a key, a new one if there is none.
    pub(super) fn with<R>(&mut self, key: u64, does: impl FnOnce(&mut V) -> R) -> R {
        if !self.young.contains_key(&key) && self.young.len() >= self.half_max {
            let had = self.old.remove(&key);
            self.old = std::mem::take(&mut self.young);
            self.young.extend(had.map(|value| (key, value)));
        }
        let old = &mut self.old;
        does(self.young.entry(key).or_insert_with(|| old.remove(&key).unwrap_or_default()))
    }

    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_kept() {
        let mut table: Table<u32> = Table::new(10);
        for n in 0..1000 {
            table.with(7, |uses| *uses += 1);
            table.with(100 + n, |uses| *uses += 1);
            assert!(table.len() <= 10);
        }
        assert_eq!(table.with(7, |uses| *uses), 1000);
        assert_eq!(table.with(100, |uses| *uses), 0, "it was forgotten");
    }
}
