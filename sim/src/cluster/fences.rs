//! Cells that locks guard: holders come and go, and those who were late go on, through whatever happens to nodes and links.
//!
//! Who holds a lock is decided here, by a counter that nothing can break; so all that is left to go wrong is the store. A holder
//! writes nothing but its own fence into its cell. So a cell's value never falls, whoever reads it; nobody sees
//! one above his own fence; and once anybody was let in, if only to read, nobody who came before is let in any more.

use super::{World, index};
use base::rng::Rng;
use history::Reply;

/// What is known of the cells.
#[derive(Debug, Default)]
pub(super) struct Cells([Cell; CELLS]);

const CELLS: usize = 3;

#[derive(Debug, Default)]
struct Cell {
    /// The last fence that was given out.
    last: u64,
    /// The largest that was let in, as far as anybody was told.
    seen: u64,
    /// The largest value that anybody has written or read, as far as he was told.
    value: u64,
    /// It went for want of memory: its value may have fallen.
    evicted: bool,
}

/// What a client has asked of a cell, and what was known when it did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    cell: usize,
    /// Nothing for a read under no fence.
    fence: Option<u64>,
    act: Act,
    seen: u64,
    value: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Read,
    Write,
    /// A write in a transaction.
    Exec,
}

fn key(cell: usize) -> String {
    format!("{{{cell}}}cell")
}

impl Cells {
    /// Something to ask, and its frames: the last one's answer counts.
    pub(super) fn draw(&mut self, rng: &mut Rng) -> (Asked, Vec<Vec<String>>) {
        let cell = index(rng.below(CELLS as u64));
        let Cell { last, seen, value, .. } = &mut self.0[cell];
        *last += u64::from(*last == 0 || rng.one_in(6));
        let late = if rng.one_in(3) { 1 + rng.below(2) } else { 0 };
        let fence = last.saturating_sub(late).max(1);
        let act = [Act::Read, Act::Read, Act::Write, Act::Write, Act::Exec][index(rng.below(5))];
        let fence = Some(fence).filter(|_| act != Act::Read || !rng.one_in(3));
        let asked = Asked { cell, fence, act, seen: *seen, value: *value };
        (asked, asked.frames())
    }

    /// A cell went for want of memory; false if it is none.
    pub(super) fn evict(&mut self, evicted: &str) -> bool {
        let cell = (0..CELLS).find(|cell| key(*cell) == evicted);
        cell.map(|cell| self.0[cell].evicted = true).is_some()
    }

    /// What a client was told.
    pub(super) fn told(&mut self, asked: Asked, reply: &Reply) {
        let Cell { last, seen, value, evicted } = &mut self.0[asked.cell];
        let fence = asked.fence.unwrap_or(u64::MAX);
        let found = match (asked.act, reply) {
            (_, Reply::Error(text)) if text.starts_with("FENCED ") => {
                assert!(fence < *last, "nobody_is_fenced_off_without_cause: {asked:?}: {text}");
                return;
            }
            (_, Reply::Error(_)) => return,
            (Act::Read, Reply::Nil) => 0,
            (Act::Read, Reply::Text(text)) => String::from_utf8_lossy(text).parse().expect("holders write numbers"),
            (Act::Write | Act::Exec, _) => fence,
            (_, other) => panic!("cells hold texts: {other:?}"),
        };
        assert!(fence >= asked.seen, "no_old_fence_is_let_in: {asked:?} got {reply:?}");
        assert!(found <= fence && found <= *last, "nobody_sees_what_came_after_him: {asked:?} got {reply:?}");
        assert!(found >= asked.value || *evicted, "a_guarded_value_never_falls: {asked:?} got {reply:?}");
        *value = found.max(*value);
        *seen = asked.fence.unwrap_or(0).max(*seen);
    }
}

impl Asked {
    fn frames(self) -> Vec<Vec<String>> {
        let split = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (key, cell) = (key(self.cell), self.cell);
        let before = self.fence.map_or(String::new(), |fence| format!("FENCE lock{cell} {fence} "));
        let value = self.fence.unwrap_or(0);
        match self.act {
            Act::Read => vec![split(format!("{before}GET {key}"))],
            Act::Write => vec![split(format!("{before}SET {key} {value}"))],
            Act::Exec => {
                let frames = ["MULTI".to_owned(), format!("SET {key} {value}"), format!("{before}EXEC")];
                frames.into_iter().map(split).collect()
            }
        }
    }
}

impl World {
    /// A client acts on a cell: as its holder, or as one who believes so.
    pub(super) fn ask_cell(&mut self, at: usize) {
        let (asked, frames) = self.checks.cells.draw(&mut self.rng);
        self.count("cells asked");
        self.send_frames(at, &frames, asked);
    }
}
