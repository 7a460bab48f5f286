//! Waiting for the end, or for a while: what keeps threads from spinning.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Whether it is over, for all who share it.
#[derive(Debug, Default)]
pub struct Pace {
    over: Mutex<bool>,
    told: Condvar,
}

impl Pace {
    /// Waits until it is over, but no longer than that; true if it is over.
    pub fn wait(&self, most: Duration) -> bool {
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.told.wait_timeout_while(over, most, |over| !*over);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    pub fn is_over(&self) -> bool {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn end(&self) {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.told.notify_all();
    }
}

/// Ends it also when the holder panics: nobody waits for ever for threads that wait for an end.
#[derive(Debug)]
pub struct Ending<'a>(pub &'a Pace);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
