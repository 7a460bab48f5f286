//! A request's place inside its service, and when it is given back before the request ends: as soon as it is not the endpoint that is
//! waited for.
//!
//! A response whose body is long, or takes long, is a stream: it queues nowhere any more. So is a request whose client takes long to
//! send its body: a place is for those who wait for the endpoint, and a few clients that crawl would hold all of them. Where others wait, much
//! less is long, for bodies either way whose client is waited for. When a request's body has come after all, its request takes a place again, beyond the limit if need be: the endpoint has it
//! already, and others wait until it is done.

use super::body::UploadState;
use super::upstream::{Inside, Upstream};
use base::Instant;
use base::time::NS_PER_MS;
use gateway::Left;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

/// See the module.
#[derive(Debug)]
pub struct Place {
    inside: RefCell<Option<Inside>>,
    /// It was given back for the time of the upload.
    away: RefCell<Option<Rc<Upstream>>>,
    /// When its response began.
    answered: Cell<Instant>,
    /// When the last piece of its response was handed over, if no other has been asked for since.
    handed: Cell<Instant>,
    upload: Rc<UploadState>,
    /// How long the client was waited for before.
    waited_ns: u64,
}

/// Those of a service that may be given back early.
#[derive(Debug, Default)]
pub struct Places {
    /// Of requests whose bodies come.
    uploads: RefCell<Vec<Weak<Place>>>,
    /// Of requests whose responses have begun, oldest first.
    bodies: RefCell<VecDeque<Weak<Place>>>,
    /// No sooner than this are slow clients looked for since others wait.
    press_at: Cell<Instant>,
}

/// A body that is longer, or takes longer, is a stream.
pub const STREAM_BYTES: u64 = 1024 * 1024;
const STREAM_MS: u64 = 1_000;
/// A client that is waited for so long, where others wait for a place: for its body, of which the endpoint will want to hear the rest, or
/// to take what the endpoint has made of it, which is nearly done with it. So often they are looked for.
const PRESSED_MS: u64 = 20;
const UNREAD_MS: u64 = 5;
const PRESS_EVERY_MS: u64 = 5;
const NEVER: Instant = Instant(u64::MAX);

impl Place {
    pub fn set_left(&self, left: Left) {
        self.inside.borrow_mut().iter_mut().for_each(|inside| inside.left = left);
    }

    /// Gives it back, if it isn't already.
    pub fn leave(&self) {
        let (inside, away) = (self.inside.borrow_mut().take(), self.away.borrow_mut().take());
        drop((inside, away));
    }

    /// It was given back for good.
    pub fn is_left(&self) -> bool {
        self.inside.borrow().is_none() && self.away.borrow().is_none()
    }

    /// The client sends too slowly for it.
    fn step_aside(&self) {
        let Some(inside) = self.inside.borrow_mut().take() else { return };
        if self.answered.get() == NEVER {
            *self.away.borrow_mut() = Some(inside.upstream().clone());
        }
    }

    /// The client has a piece of the response, and has to take it.
    pub fn hand(&self, now: Instant) {
        self.handed.set(now);
    }

    /// It has taken all there was.
    pub fn ask(&self) {
        self.handed.set(NEVER);
    }

    /// The whole body is there.
    pub fn on_uploaded(&self) {
        let Some(upstream) = self.away.borrow_mut().take() else { return };
        *self.inside.borrow_mut() = Some(upstream.enter_again());
    }
}

impl Places {
    /// The place of a request that was let in.
    pub fn enter(&self, inside: Inside, upload: Rc<UploadState>) -> Rc<Place> {
        let uploads = !upload.ended();
        let waited_ns = if uploads { upload.waited_ns(crate::clock::boot()) } else { 0 };
        let place = Rc::new(Place {
            inside: RefCell::new(Some(inside)),
            away: RefCell::default(),
            answered: Cell::new(NEVER),
            handed: Cell::new(NEVER),
            upload,
            waited_ns,
        });
        if uploads {
            place.upload.set_place(Rc::downgrade(&place));
            self.uploads.borrow_mut().push(Rc::downgrade(&place));
        }
        place
    }

    /// Its response has begun.
    pub fn answer(&self, place: &Rc<Place>, now: Instant) {
        place.answered.set(now);
        place.away.borrow_mut().take();
        self.bodies.borrow_mut().push_back(Rc::downgrade(place));
    }

    /// Others want in, and there is no room.
    pub fn press(&self, full: impl FnOnce() -> bool) {
        if !full() {
            return;
        }
        let now = crate::clock::boot();
        if self.press_at.get() <= now {
            self.press_at.set(now.plus_ms(PRESS_EVERY_MS));
            self.sweep_uploads(now, PRESSED_MS);
            self.sweep_unread(now);
        }
    }

    /// Takes back those of requests that have become streams.
    pub fn sweep(&self, now: Instant) {
        self.sweep_uploads(now, STREAM_MS);
        let mut streams: Vec<Rc<Place>> = Vec::new();
        let mut bodies = self.bodies.borrow_mut();
        // They stand in the order of their beginning.
        while let Some(first) = bodies.front().map(Weak::upgrade) {
            if first.as_ref().is_some_and(|place| now < place.answered.get().plus_ms(STREAM_MS)) {
                break;
            }
            bodies.pop_front();
            streams.extend(first);
        }
        drop(bodies);
        streams.iter().for_each(|place| place.leave());
    }

    /// Those whose clients don't take what there is.
    fn sweep_unread(&self, now: Instant) {
        let unread = |place: &Place| now.since_ns(place.handed.get()) > UNREAD_MS * NS_PER_MS;
        let mut streams: Vec<Rc<Place>> = Vec::new();
        self.bodies.borrow_mut().retain(|place| match place.upgrade() {
            Some(place) if unread(&place) => {
                streams.push(place);
                false
            }
            Some(place) => !place.is_left(),
            None => false,
        });
        streams.iter().for_each(|place| place.leave());
    }

    /// Those whose clients were waited for longer than that step aside.
    fn sweep_uploads(&self, now: Instant, most_ms: u64) {
        let slow = |place: &Place| place.upload.waited_ns(now).saturating_sub(place.waited_ns) > most_ms * NS_PER_MS;
        let mut aside: Vec<Rc<Place>> = Vec::new();
        self.uploads.borrow_mut().retain(|place| match place.upgrade() {
            Some(place) if !place.upload.ended() && slow(&place) => {
                aside.push(place);
                false
            }
            Some(place) => !place.upload.ended() && !place.is_left(),
            None => false,
        });
        aside.iter().for_each(|place| place.step_aside());
    }
}
