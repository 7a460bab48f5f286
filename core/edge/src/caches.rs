//! What the clients of a lane keep of what they have read, and so must be told when it changes.
//!
//! A client that tracks by its reads is noted at each key that it reads, until the key changes: then it is told, and may read
//! it again. One that tracks by prefixes is told of every change of a key that begins so. Keys are told apart by their
//! names alone, as in Redis: the same name in another database counts too.
//!
//! The table has a bound. Beyond it, keys are forgotten as if they had changed, in the order of their names from where the
//! last one stood: no key is safe, and none is singled out. Entries of clients that are gone go with their keys.

use base::ClientId;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::ops::Bound;

/// See the module.
#[derive(Debug, Default)]
pub struct Caches {
    keys: BTreeMap<Box<[u8]>, Clients>,
    /// Entries of clients at keys.
    item_count: usize,
    prefixes: BTreeMap<Box<[u8]>, Clients>,
    /// The name of the last key that was forgotten for want of room.
    evicted: Box<[u8]>,
}

/// Who keeps a key, or tracks a prefix.
pub type Clients = SmallVec<[ClientId; 2]>;

impl Caches {
    /// A client is about to read a key.
    pub fn note(&mut self, client: ClientId, key: &[u8]) {
        match self.keys.get_mut(key) {
            Some(clients) if clients.contains(&client) => return,
            Some(clients) => clients.push(client),
            None => drop(self.keys.insert(key.into(), Clients::from_slice(&[client]))),
        }
        self.item_count += 1;
    }

    /// A key has changed: who is to be told. They are noted no more, but for one that changed it and doesn't want to hear
    /// of that: what others change is still of interest.
    pub fn take(&mut self, key: &[u8], but_not: impl Fn(ClientId) -> bool) -> Clients {
        let Some(clients) = self.keys.get_mut(key) else { return Clients::new() };
        let before = clients.len();
        let mut told = std::mem::take(clients);
        told.retain(|client| {
            let stays = but_not(*client);
            clients.extend(stays.then_some(*client));
            !stays
        });
        self.item_count -= before - clients.len();
        if clients.is_empty() {
            self.keys.remove(key);
        }
        told
    }

    /// Any key may have changed: nothing is kept any more.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.item_count = 0;
    }

    /// A key that is to be forgotten, and who keeps it, while there are more than `count`.
    pub fn evict(&mut self, count_max: usize) -> Option<(Box<[u8]>, Clients)> {
        if self.keys.len() <= count_max {
            return None;
        }
        let behind = (Bound::Excluded(&self.evicted), Bound::Unbounded);
        let next = self.keys.range::<Box<[u8]>, _>(behind).next().or_else(|| self.keys.first_key_value());
        let key = next.map(|(key, _)| key.clone())?;
        let clients = self.keys.remove(&key)?;
        self.item_count -= clients.len();
        self.evicted.clone_from(&key);
        Some((key, clients))
    }

    /// A client tracks a prefix from now on; it may do so already.
    pub fn follow(&mut self, client: ClientId, prefix: &[u8]) {
        let clients = self.prefixes.entry(prefix.into()).or_default();
        if !clients.contains(&client) {
            clients.push(client);
        }
    }

    /// A client tracks a prefix no more.
    pub fn unfollow(&mut self, client: ClientId, prefix: &[u8]) {
        let Some(clients) = self.prefixes.get_mut(prefix) else { return };
        clients.retain(|one| *one != client);
        if clients.is_empty() {
            self.prefixes.remove(prefix);
        }
    }

    /// The prefixes that are tracked, and by whom.
    pub fn prefixes(&self) -> impl Iterator<Item = (&[u8], &Clients)> {
        self.prefixes.iter().map(|(prefix, clients)| (&**prefix, clients))
    }

    /// How many keys are kept, and prefixes tracked, by how many clients the keys.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts { keys: self.keys.len(), items: self.item_count, prefixes: self.prefixes.len() }
    }
}

/// Sizes of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub keys: usize,
    /// Of each client at each key.
    pub items: usize,
    pub prefixes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ClientId = ClientId(1);
    const B: ClientId = ClientId(2);

    fn counts(caches: &Caches) -> (usize, usize, usize) {
        let Counts { keys, items, prefixes } = caches.counts();
        (keys, items, prefixes)
    }

    #[test]
    fn who_has_read_a_key_is_told_once() {
        let mut caches = Caches::default();
        for client in [A, B, A] {
            caches.note(client, b"k");
        }
        caches.note(A, b"other");
        assert_eq!(counts(&caches), (2, 3, 0));
        assert!(caches.take(b"nosuch", |_| false).is_empty());
        assert_eq!(caches.take(b"k", |client| client == B)[..], [A], "who changed it may not want to hear of it");
        assert_eq!(counts(&caches), (2, 2, 0));
        assert_eq!(caches.take(b"k", |_| false)[..], [B], "but of what others change");
        assert!(caches.take(b"k", |_| false).is_empty());
        caches.clear();
        assert_eq!(counts(&caches), (0, 0, 0));
    }

    #[test]
    fn beyond_the_bound_keys_are_forgotten_in_turn() {
        let mut caches = Caches::default();
        for key in ["a", "b", "c", "d"] {
            caches.note(A, key.as_bytes());
        }
        let evict = |caches: &mut Caches| caches.evict(2).map(|(key, clients)| (key.to_vec(), clients.to_vec()));
        assert_eq!(evict(&mut caches), Some((b"a".to_vec(), vec![A])));
        assert_eq!(evict(&mut caches), Some((b"b".to_vec(), vec![A])));
        assert_eq!(evict(&mut caches), None);
        caches.note(A, b"a");
        assert_eq!(evict(&mut caches), Some((b"c".to_vec(), vec![A])), "not the same one again");
        assert_eq!(counts(&caches), (2, 2, 0));
    }

    #[test]
    fn prefixes_are_followed_until_they_are_not() {
        let mut caches = Caches::default();
        caches.follow(A, b"x");
        caches.follow(A, b"x");
        caches.follow(B, b"x");
        caches.unfollow(A, b"x");
        let all: Vec<_> = caches.prefixes().map(|(prefix, clients)| (prefix.to_vec(), clients.to_vec())).collect();
        assert_eq!(all, [(b"x".to_vec(), vec![B])]);
        caches.unfollow(B, b"x");
        assert_eq!(counts(&caches), (0, 0, 0));
    }
}
