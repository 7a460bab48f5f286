//! A long row of things that many may share: to clone it copies a pointer for each 128 of them, and to change one thing
//! copies that one and the 127 pointers beside it.

use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Shelf<T> {
    boards: Vec<Arc<Vec<Arc<T>>>>,
    len: usize,
}

const BOARD_COUNT: usize = 128;

impl<T: Clone> Shelf<T> {
    pub(super) const EMPTY: Self = Self { boards: Vec::new(), len: 0 };

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, at: usize) -> &T {
        &self.boards[at / BOARD_COUNT][at % BOARD_COUNT]
    }

    /// The thing at `at`, which is copied first if others see it too.
    pub(super) fn get_mut(&mut self, at: usize) -> &mut T {
        Arc::make_mut(&mut Arc::make_mut(&mut self.boards[at / BOARD_COUNT])[at % BOARD_COUNT])
    }

    pub(super) fn push(&mut self, thing: T) {
        if self.len.is_multiple_of(BOARD_COUNT) {
            self.boards.push(Arc::new(Vec::new()));
        }
        let board = self.boards.last_mut().expect("it was made if it was missing");
        Arc::make_mut(board).push(Arc::new(thing));
        self.len += 1;
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let board = Arc::make_mut(self.boards.last_mut()?);
        let thing = board.pop().expect("no board is empty");
        if board.is_empty() {
            self.boards.pop();
        }
        self.len -= 1;
        Some(Arc::unwrap_or_clone(thing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_stays_as_it_was() {
        let mut shelf = Shelf::EMPTY;
        (0..300).for_each(|n| shelf.push(n));
        let before = shelf.clone();
        *shelf.get_mut(130) = 7;
        assert_eq!((shelf.pop(), shelf.len(), *shelf.get(130)), (Some(299), 299, 7));
        assert_eq!((before.len(), *before.get(130), *before.get(299)), (300, 130, 299));
        while let Some(n) = shelf.pop() {
            assert_eq!(n, if shelf.len() == 130 { 7 } else { shelf.len() });
        }
        assert_eq!(shelf.len(), 0);
    }
}
