//! What ends a script: counted steps, a flag of another thread, memory. None of it can be caught.
//!
//! The interpreter calls [`Guard::spend`] every so many instructions, and so does everything native that may take long. Once
//! it has said no, it says no for ever: every further instruction count raises again, and so do `pcall`, `xpcall` and
//! `coroutine.resume` on their way back, so `while true do pcall(f) end` ends too. The engine is thrown away afterwards.

use crate::errors::{Raised, raise};
use data::batch::{Pace, Stop, Stopped};
use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// Why a script is ended, whatever it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// It takes too long for where it runs: it will be run elsewhere.
    TooSlow,
    /// It is about to change something where nothing may be changed: it will be run again where it may.
    Writes,
    /// It has met a key whose death the log must tell first.
    Tick,
    /// It was run without keys, and would touch one.
    Touches,
    Stopped(Stopped),
    /// It has used up the steps that a script may take.
    Steps,
    /// It did, or would answer, more than fits.
    Effects,
    Reply,
    /// It used more memory than it may.
    Memory,
}

/// What watches over one run at a time.
#[derive(Debug)]
pub(crate) struct Guard {
    stop: RefCell<Arc<Stop>>,
    pace: Cell<Pace>,
    left: Cell<u64>,
    halt: Cell<Option<Halt>>,
}

impl Default for Guard {
    fn default() -> Self {
        Self { stop: RefCell::default(), pace: Cell::new(Pace::Patient), left: Cell::new(0), halt: Cell::new(None) }
    }
}

impl Guard {
    /// A run begins that may take so many steps.
    pub(crate) fn begin(&self, pace: Pace, steps: u64, stop: &Arc<Stop>) {
        self.pace.set(pace);
        self.left.set(steps);
        self.halt.set(None);
        *self.stop.borrow_mut() = Arc::clone(stop);
    }

    /// So many steps are taken: an error if the script is to end.
    pub(crate) fn spend(&self, steps: u64) -> mlua::Result<()> {
        if self.halt.get().is_none() {
            let left = self.left.get().saturating_sub(steps);
            self.left.set(left);
            if let Some(why) = self.stop.borrow().get() {
                self.halt.set(Some(Halt::Stopped(why)));
            } else if left == 0 {
                self.halt.set(Some(if self.is_brisk() { Halt::TooSlow } else { Halt::Steps }));
            }
        }
        match self.halt.get() {
            None => Ok(()),
            Some(why) => Err(raise(Raised::Halt(why))),
        }
    }

    /// The script ends here.
    pub(crate) fn end(&self, why: Halt) -> mlua::Error {
        if self.halt.get().is_none() {
            self.halt.set(Some(why));
        }
        raise(Raised::Halt(self.halt.get().unwrap_or(why)))
    }

    /// There was no memory left. Where others wait there is less of it, so this may be well elsewhere.
    pub(crate) fn out_of_memory(&self) -> Option<mlua::Error> {
        self.is_brisk().then(|| self.end(Halt::TooSlow))
    }

    /// Why the script was ended, if it was.
    pub(crate) fn halted(&self) -> Option<Halt> {
        self.halt.get()
    }

    fn is_brisk(&self) -> bool {
        self.pace.get() == Pace::Brisk
    }
}
