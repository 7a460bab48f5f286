//! An ordered map by ID, in pages that clones share.
//!
//! IDs mostly come at the end and go at the front, so a plain sequence of pages serves: a look-up is two binary searches,
//! a change copies at most one page, and a clone copies only the list of pages. How the items are spread over pages depends
//! on what was changed when; nothing that clients see depends on it.

use super::Id;
use std::collections::VecDeque;
use std::sync::Arc;

/// A map whose pages hold up to `MAX` items.
#[derive(Clone, Debug)]
pub(super) struct Pages<V, const MAX: usize> {
    pages: VecDeque<Page<V>>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Page<V> {
    /// The ID of its first item.
    first: Id,
    /// Never empty.
    items: Arc<Vec<(Id, V)>>,
}

impl<V, const MAX: usize> Default for Pages<V, MAX> {
    fn default() -> Self {
        Self { pages: VecDeque::new(), len: 0 }
    }
}

impl<V: Clone, const MAX: usize> Pages<V, MAX> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, id: Id) -> Option<&V> {
        let items = &self.pages[self.page_of(id)?].items;
        let at = items.binary_search_by_key(&id, |item| item.0).ok()?;
        Some(&items[at].1)
    }

    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut V> {
        let page = self.page_of(id)?;
        let at = self.pages[page].items.binary_search_by_key(&id, |item| item.0).ok()?;
        Some(&mut Arc::make_mut(&mut self.pages[page].items)[at].1)
    }

    /// The last item at or before `id`.
    pub(super) fn floor(&self, id: Id) -> Option<(Id, &V)> {
        self.up_to(id).next()
    }

    pub(super) fn first(&self) -> Option<(Id, &V)> {
        self.pages.front()?.items.first().map(by_parts)
    }

    pub(super) fn last(&self) -> Option<(Id, &V)> {
        self.pages.back()?.items.last().map(by_parts)
    }

    pub(super) fn last_mut(&mut self) -> Option<&mut V> {
        Arc::make_mut(&mut self.pages.back_mut()?.items).last_mut().map(|item| &mut item.1)
    }

    pub(super) fn first_mut(&mut self) -> Option<&mut V> {
        Arc::make_mut(&mut self.pages.front_mut()?.items).first_mut().map(|item| &mut item.1)
    }

    /// Puts an item; what stood there before is given back.
    pub(super) fn insert(&mut self, id: Id, value: V) -> Option<V> {
        if self.pages.back().is_none_or(|page| page.items.len() >= MAX) && self.last().is_none_or(|last| last.0 < id) {
            self.pages.push_back(Page { first: id, items: Arc::new(vec![(id, value)]) });
            self.len += 1;
            return None;
        }
        let at = self.page_of(id).unwrap_or(0);
        let page = &mut self.pages[at];
        let items = Arc::make_mut(&mut page.items);
        match items.binary_search_by_key(&id, |item| item.0) {
            Ok(place) => Some(std::mem::replace(&mut items[place].1, value)),
            Err(place) => {
                items.insert(place, (id, value));
                page.first = items[0].0;
                self.len += 1;
                self.split(at);
                None
            }
        }
    }

    pub(super) fn remove(&mut self, id: Id) -> Option<V> {
        let at = self.page_of(id)?;
        let page = &mut self.pages[at];
        let place = page.items.binary_search_by_key(&id, |item| item.0).ok()?;
        self.len -= 1;
        if page.items.len() == 1 {
            let page = self.pages.remove(at).expect("the page was found");
            return Some(Arc::unwrap_or_clone(page.items).remove(0).1);
        }
        let items = Arc::make_mut(&mut page.items);
        let (_, value) = items.remove(place);
        page.first = items[0].0;
        self.join(at);
        Some(value)
    }

    /// The items from `id` on, in order.
    pub(super) fn from(&self, id: Id) -> impl Iterator<Item = (Id, &V)> {
        let at = self.page_of(id).unwrap_or(0);
        let head = self.pages.get(at).map_or(&[][..], |page| page.items.as_slice());
        let head = &head[head.partition_point(|item| item.0 < id)..];
        let rest = self.pages.range((at + 1).min(self.pages.len())..);
        head.iter().chain(rest.flat_map(|page| page.items.iter())).map(by_parts)
    }

    /// The items up to `id`, the last one first.
    pub(super) fn up_to(&self, id: Id) -> impl Iterator<Item = (Id, &V)> {
        let end = self.pages.partition_point(|page| page.first <= id);
        let last = end.checked_sub(1).map_or(&[][..], |at| self.pages[at].items.as_slice());
        let last = &last[..last.partition_point(|item| item.0 <= id)];
        let rest = self.pages.range(..end.saturating_sub(1)).rev();
        last.iter().rev().chain(rest.flat_map(|page| page.items.iter().rev())).map(by_parts)
    }

    /// How many pages there are.
    pub(super) fn page_count(&self) -> usize {
        self.pages.len()
    }

    /// The items of a page.
    pub(super) fn page(&self, at: usize) -> &[(Id, V)] {
        self.pages.get(at).map_or(&[], |page| page.items.as_slice())
    }

    /// The page in which `id` is or would be; nothing if it would be before all.
    fn page_of(&self, id: Id) -> Option<usize> {
        self.pages.partition_point(|page| page.first <= id).checked_sub(1)
    }

    /// Makes two pages of one that is too full.
    fn split(&mut self, at: usize) {
        if self.pages[at].items.len() <= MAX {
            return;
        }
        let tail = Arc::make_mut(&mut self.pages[at].items).split_off(MAX / 2);
        self.pages.insert(at + 1, Page { first: tail[0].0, items: Arc::new(tail) });
    }

    /// Makes one page of a nearly empty one and its neighbour.
    fn join(&mut self, at: usize) {
        if self.pages[at].items.len() > MAX / 4 || self.pages.len() < 2 {
            return;
        }
        let left = if at + 1 < self.pages.len() { at } else { at - 1 };
        if self.pages[left].items.len() + self.pages[left + 1].items.len() > MAX * 3 / 4 {
            return;
        }
        let right = self.pages.remove(left + 1).expect("there is a page behind");
        Arc::make_mut(&mut self.pages[left].items).extend(Arc::unwrap_or_clone(right.items));
    }
}

fn by_parts<V>(item: &(Id, V)) -> (Id, &V) {
    (item.0, &item.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::rng::Rng;
    use std::collections::BTreeMap;

    fn check(pages: &Pages<u64, 8>, wanted: &BTreeMap<Id, u64>, at: Id) {
        assert_eq!(pages.len(), wanted.len());
        assert!(pages.pages.iter().all(|page| page.first == page.items[0].0 && page.items.len() <= 8));
        assert!(pages.from(at).map(|(id, value)| (id, *value)).eq(wanted.range(at..).map(|(id, value)| (*id, *value))));
        let back = wanted.range(..=at).rev().map(|(id, value)| (*id, *value));
        assert!(pages.up_to(at).map(|(id, value)| (id, *value)).eq(back));
        assert_eq!(pages.get(at), wanted.get(&at));
        assert_eq!(pages.first().map(|item| item.0), wanted.first_key_value().map(|item| *item.0));
        assert_eq!(pages.last().map(|item| item.0), wanted.last_key_value().map(|item| *item.0));
    }

    #[test]
    fn pages_hold_what_a_sorted_map_holds_and_clones_keep_theirs() {
        let mut rng = Rng::new(7);
        let (mut pages, mut wanted) = (Pages::<u64, 8>::default(), BTreeMap::new());
        let mut kept = (pages.clone(), wanted.clone());
        for step in 0..20_000 {
            // Growing, shrinking and growing again.
            let grows = (step / 400) % 2 == 0;
            let id = Id::new(rng.below(20), rng.below(30));
            if rng.below(10) < if grows { 7 } else { 3 } {
                assert_eq!(pages.insert(id, step), wanted.insert(id, step));
            } else {
                assert_eq!(pages.remove(id), wanted.remove(&id));
            }
            if let Some(value) = pages.get_mut(id) {
                *value += 1;
                *wanted.get_mut(&id).unwrap() += 1;
            }
            check(&pages, &wanted, Id::new(rng.below(21), rng.below(31)));
            if step % 500 == 0 {
                check(&kept.0, &kept.1, id);
                kept = (pages.clone(), wanted.clone());
            }
        }
    }

    #[test]
    fn what_comes_in_order_fills_its_pages() {
        let mut pages = Pages::<(), 8>::default();
        for ms in 0..80 {
            pages.insert(Id::new(ms, 0), ());
        }
        assert_eq!(pages.page_count(), 10);
    }
}
