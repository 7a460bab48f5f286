//! Where scripts run: on the lane's own thread while they are brisk, else on a thread of their own.
//!
//! Each lane has an interpreter, made when the first script comes. One that takes long gets a thread and an interpreter for
//! itself, and the lane goes on; what becomes of it comes by mail. The lane's clock ends it, through the flag that the batch
//! carries.

use super::monitor::line_of_script;
use crate::clock;
use crate::log;
use crate::shared::{Input, Shared};
use base::LaneId;
use data::batch::{Batch, Pace};
use node::{Lane, Outbox};
use script::Engine;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

thread_local! {
    /// An interpreter is of one thread, and lanes move to theirs after they are made.
    static ENGINE: RefCell<Option<Engine>> = const { RefCell::new(None) };
}

/// Of threads that run scripts. What a script nests a thousand deep is walked by recursion; memory is taken as it is used.
pub const STACK_BYTES: usize = 16 << 20;

/// Runs the brisk batches of an outbox; true if there were any. Those that take long stay there.
pub fn run_brisk(lane: &mut Lane, out: &mut Outbox, shared: &Shared) -> bool {
    let mut any = false;
    while let Some(at) = out.batches.iter().position(|batch| batch.pace == Pace::Brisk) {
        let batch = run(out.batches.swap_remove(at), shared);
        lane.on_batch(clock::now(), batch, out);
        any = true;
    }
    any
}

/// Gives each batch that takes long a thread; it comes back by mail.
pub fn run_patient(id: LaneId, out: &mut Outbox, shared: &Arc<Shared>) {
    for batch in out.batches.drain(..) {
        let shared = Arc::clone(shared);
        let thread = std::thread::Builder::new().name("script".to_owned()).stack_size(STACK_BYTES);
        let run = move || {
            let batch = run(batch, &shared);
            shared.mailboxes[usize::from(id.0)].put(Input::Batch(Box::new(batch)));
        };
        if let Err(error) = thread.spawn(run) {
            crate::dev::die(&format!("a script has no thread to run on: {error}"));
        }
    }
}

fn run(batch: Batch, shared: &Shared) -> Batch {
    let limits = shared.settings.script_limits();
    let mut batch = ENGINE.with_borrow_mut(|engine| {
        let engine = engine.get_or_insert_with(|| Engine::new(limits));
        engine.set_limits(limits);
        engine.tell_calls(shared.monitors.load(Ordering::Relaxed) > 0);
        engine.run(batch)
    });
    if !batch.called.is_empty() {
        let lines: Vec<_> = batch.called.drain(..).map(|(db, args)| line_of_script(db, &args)).collect();
        // By mail to this lane too: behind the line of the script itself.
        shared.mailboxes.iter().for_each(|mailbox| mailbox.put(Input::Lines(lines.clone())));
    }
    for (level, line) in batch.lines.drain(..) {
        let line = String::from_utf8_lossy(&line);
        match level {
            0 | 1 => log::debug("script", &line, &[]),
            2 => log::info("script", &line, &[]),
            _ => log::warn("script", &line, &[]),
        }
    }
    batch
}
