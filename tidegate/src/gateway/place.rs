//! A request's place inside its service, and when it is given back before the request ends: as soon as it is not the endpoint that is
//! waited for.
//!
//! A response whose body is long, or takes long, is a stream: it queues nowhere any more. So is a request whose client takes long to
//! send its body: a place is for those who wait for the endpoint, and a few clients that crawl would hold all of them. What such a
//! request takes says nothing of the endpoint either, so it is not measured.

use super::body::UploadState;
use super::upstream::Inside;
use base::Instant;
use gateway::Left;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

/// See the module.
#[derive(Debug)]
pub struct Place {
    inside: RefCell<Option<Inside>>,
    /// When its response began.
    answered: Cell<Instant>,
    upload: Rc<UploadState>,
}

/// Those of a service that may be given back early.
#[derive(Debug, Default)]
pub struct Places {
    /// Of requests whose bodies come.
    uploads: RefCell<Vec<Weak<Place>>>,
    /// Of requests whose responses have begun, oldest first.
    bodies: RefCell<VecDeque<Weak<Place>>>,
}

/// A body that is longer, or takes longer, is a stream.
pub const STREAM_BYTES: u64 = 1024 * 1024;
const STREAM_MS: u64 = 1_000;

impl Place {
    pub fn set_left(&self, left: Left) {
        self.inside.borrow_mut().iter_mut().for_each(|inside| inside.left = left);
    }

    /// Gives it back, if it isn't already.
    pub fn leave(&self) {
        let inside = self.inside.borrow_mut().take();
        drop(inside);
    }

    /// It was given back.
    pub fn is_left(&self) -> bool {
        self.inside.borrow().is_none()
    }
}

impl Places {
    /// The place of a request that was let in.
    pub fn enter(&self, inside: Inside, upload: Rc<UploadState>) -> Rc<Place> {
        let uploads = !upload.ended();
        let place = Rc::new(Place { inside: RefCell::new(Some(inside)), answered: Cell::new(Instant(0)), upload });
        if uploads {
            self.uploads.borrow_mut().push(Rc::downgrade(&place));
        }
        place
    }

    /// Its response has begun.
    pub fn answer(&self, place: &Rc<Place>, now: Instant) {
        place.answered.set(now);
        self.bodies.borrow_mut().push_back(Rc::downgrade(place));
    }

    /// Takes back those of requests that have become streams.
    pub fn sweep(&self, now: Instant) {
        let slow = |place: &Rc<Place>| place.upload.waited_ns(now) > STREAM_MS * base::time::NS_PER_MS;
        let mut streams: Vec<Rc<Place>> = Vec::new();
        self.uploads.borrow_mut().retain(|place| match place.upgrade() {
            Some(place) if slow(&place) => {
                streams.push(place);
                false
            }
            Some(place) => !place.upload.ended() && !place.is_left(),
            None => false,
        });
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
}
