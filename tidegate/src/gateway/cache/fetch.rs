//! One request to the endpoints for all who want the same: a task of its own, so that it goes on whoever of them goes.
//!
//! It goes the way of every request (admission, retries, breakers, the service's deadline), and then decides by the head of the
//! response what those who wait get: the body as it comes in, if it may be stored and its length is known to fit; the body at its
//! end, if its length isn't known; an older response, if the endpoints failed and it may stand for that; or word that each has to ask
//! for himself. The leader's client gets an answer that isn't for the cache as it would have without one.

use super::super::body::{Download, UntilClose};
use super::super::call::Call;
use super::super::exchange::{self, Passed, Way};
use super::super::lane::{Lane, Table};
use super::super::record::Notes;
use super::super::refusal::{Code, Refusal};
use super::super::upstream::{Upstream, add};
use super::super::watch::Watch;
use super::fill::{End, Fill, Rest};
use super::flight::{Flight, Outcome};
use super::object::{Head, Kept, Object, Serving, lines};
use super::store::{Place, Store, Whose};
use super::{Missed, key};
use base::time::NS_PER_MS;
use gateway::Class;
use gateway::cache::{Arrival, Request as Asked, Rules, Unstored};
use hyper::body::Body;
use hyper::header::HeaderMap;
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode, Uri};
use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use tokio::sync::oneshot;

/// See the module.
#[derive(Debug)]
pub struct Fetch {
    pub lane: Rc<Lane>,
    pub table: Rc<Table>,
    pub upstream: Rc<Upstream>,
    pub class: Class,
    /// The one who asked first.
    pub call: Rc<Call>,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub asked: Asked,
    pub rules: Rules,
    pub store: Arc<Store>,
    pub place: Place,
    pub flight: Arc<Flight>,
    /// What is to be validated.
    pub stale: Option<Arc<Object>>,
    pub missed: Missed,
    pub notes: Notes,
    /// Its flight was handed on: it is another's to end.
    pub handed_on: Cell<bool>,
}

/// What came of it for the leader, on whose lane it runs.
#[derive(Debug)]
pub enum Lead {
    /// This, as for all.
    Served(Arc<Serving>, &'static str),
    /// A body of unknown length: what comes in, and the rest where it is too long.
    Coming(Arc<Head>, Arc<Fill>, Rest, &'static str),
    /// The endpoint's own answer, which isn't for the cache.
    Passed(Response<()>, Box<Download>),
    Again,
    Refused(Refusal),
}

type Leader = Option<oneshot::Sender<Lead>>;

/// Whoever waits hears of the end, however it ends, unless another goes on with it.
struct Ending<'a>(&'a Fetch);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if !self.0.handed_on.get() {
            self.0.store.end(&self.0.place, &self.0.flight);
            self.0.flight.tell(Outcome::Again);
        }
    }
}

impl Fetch {
    pub async fn run(self, leader: Leader) {
        let fetch = Ending(&self);
        let begun = crate::clock::boot();
        let call = self.call.of_all(Watch::new(self.lane.wheel.clone()));
        let Some(sent) = self.send(&call).await else { return };
        let at = crate::clock::boot();
        let delay_ms = at.since_ns(begun) / NS_PER_MS;
        let arrival = Arrival { at, wall_s: crate::clock::wall_ms() / 1000, delay_ms };
        match sent {
            Err(refusal) => self.failed(&refusal, arrival, leader),
            Ok((response, download)) => match &self.stale {
                Some(stale) if response.status() == StatusCode::NOT_MODIFIED => {
                    drop(download);
                    self.freshened(stale, response.headers(), arrival, leader);
                }
                Some(_) if response.status().is_server_error() && self.stands(arrival) => {
                    self.stand_in(arrival, leader)
                }
                _ => self.answered(response, download, arrival, leader).await,
            },
        }
        call.watch.stop();
        drop(fetch);
    }

    /// Sends it; nothing if nobody wants it any more.
    async fn send(&self, call: &Rc<Call>) -> Option<Result<(Response<()>, Download), Refusal>> {
        let (lane, table, upstream) = (&self.lane, &self.table, &self.upstream);
        let way = Way { lane, table, call, upstream, class: self.class, tee: None };
        let mut sent = pin!(exchange::send(&way, self.parts(), None, &self.notes, crate::clock::boot()));
        std::future::poll_fn(|context| {
            if self.flight.is_abandoned(context) {
                return Poll::Ready(None);
            }
            call.watch.register(context);
            sent.as_mut().poll(context).map(|sent| Some(sent.and_then(|answer| self.body_of(answer))))
        })
        .await
    }

    fn body_of(&self, (response, passed): (Response<()>, Passed)) -> Result<(Response<()>, Download), Refusal> {
        let download = passed.into_body();
        // A fetch asks for no other protocol, and an answer that gives one unasked is none.
        let download = download.ok_or_else(|| Refusal::at(Code::BadResponse, &self.upstream.plan.name))?;
        Ok((response, download))
    }

    fn parts(&self) -> Parts {
        let (mut parts, ()) = Request::new(()).into_parts();
        (parts.uri, parts.headers) = (self.uri.clone(), self.headers.clone());
        key::without_traps(&mut parts.headers);
        key::spell_host(&mut parts.headers, self.call.scheme());
        self.stale.iter().for_each(|stale| stale.head.ask(&mut parts.headers));
        parts
    }

    /// No endpoint gave an answer.
    fn failed(&self, refusal: &Refusal, arrival: Arrival, leader: Leader) {
        if self.stands(arrival) {
            return self.stand_in(arrival, leader);
        }
        self.put_off(arrival);
        self.store.end(&self.place, &self.flight);
        // Those who came to a refresh of the lowest class may have better luck.
        let others = if leader.is_some() { Outcome::Refused(refusal.clone()) } else { Outcome::Again };
        self.flight.tell(others);
        lead(leader, Lead::Refused(refusal.clone()));
    }

    fn stands(&self, arrival: Arrival) -> bool {
        self.stale.as_ref().is_some_and(|stale| stale.head.freshness.stands_for_error(arrival.at))
    }

    fn put_off(&self, arrival: Arrival) {
        self.stale.iter().for_each(|stale| stale.refresh_failed(arrival.at));
    }

    /// What is stale stands for the answer that didn't come.
    fn stand_in(&self, arrival: Arrival, leader: Leader) {
        let Some(stale) = &self.stale else { return };
        self.put_off(arrival);
        self.store.end(&self.place, &self.flight);
        let mut serving = self.serving(stale.head.clone(), Kept::Whole(stale.body.clone()));
        (serving.told, serving.whatever) = (STANDS_IN, true);
        let serving = Arc::new(serving);
        self.flight.tell(Outcome::Served(serving.clone()));
        lead(leader, Lead::Served(serving, STANDS_IN));
    }

    fn serving(&self, head: Arc<Head>, body: Kept) -> Serving {
        let selector = head.vary.selector(|name| lines(&self.headers, name));
        Serving { head, body, selector, told: self.missed.collapsed(), whatever: false }
    }

    /// The endpoint says that what is stored holds.
    fn freshened(&self, stale: &Arc<Object>, news: &HeaderMap, arrival: Arrival, leader: Leader) {
        let head = match stale.head.freshened(news, &self.asked, &self.rules, arrival) {
            Some(Ok(head)) => Arc::new(head),
            other => {
                // It speaks of another response, or this one is for all no longer.
                self.store.forget(&self.place);
                let whose = other.and_then(Result::err).map_or(Whose::Nobody, |why| whose(why, stale.head.status));
                self.store.pass(&self.place, &self.flight, whose, arrival.at);
                self.flight.tell(Outcome::Again);
                return lead(leader, Lead::Again);
            }
        };
        add(&self.lane.cache.revalidated, 1);
        let object = Object::new(head.clone(), stale.body.clone());
        self.store.renew(&self.place, &self.flight, stale, (object, &self.headers));
        let serving = Arc::new(self.serving(head, Kept::Whole(stale.body.clone())));
        self.tell_others(&serving, arrival);
        lead(leader, Lead::Served(serving, REVALIDATED));
    }

    fn tell_others(&self, serving: &Arc<Serving>, arrival: Arrival) {
        let shared = serving.head.freshness.is_for_others(arrival.at);
        self.flight.tell(if shared { Outcome::Served(serving.clone()) } else { Outcome::Alone });
    }

    /// An answer: for the cache or not.
    async fn answered(&self, response: Response<()>, download: Download, arrival: Arrival, leader: Leader) {
        let status = response.status();
        let length = download.size_hint().exact();
        let made = Head::new(status, response.headers(), &self.asked, &self.rules, arrival);
        let too_large =
            length.is_some_and(|length| length > self.store.room.largest(self.store.limits.object_bytes_max));
        // RFC 9111, 3.3: what may have been cut off isn't stored.
        let until_close = response.extensions().get::<UntilClose>().is_some();
        let fill = made.as_ref().ok().filter(|_| !until_close).and_then(|_| self.new_fill(length));
        let (head, fill) = match (made, fill) {
            (Ok(head), Some(fill)) => (Arc::new(head), fill),
            (made, _) => {
                if made.is_ok() && !too_large && !until_close {
                    self.hand_on();
                    return lead(leader, Lead::Passed(response, Box::new(download)));
                }
                let failed = status.is_server_error();
                let whose = match made.err() {
                    None => Whose::All,
                    Some(why) => whose(why, status),
                };
                self.store.pass(&self.place, &self.flight, whose, arrival.at);
                self.flight.tell(match (failed, &leader) {
                    // Who waited for an endpoint that fails doesn't go there too.
                    (true, Some(_)) => Outcome::Refused(self.refusal(status)),
                    (true, None) => Outcome::Again,
                    (false, _) if whose == Whose::Cookies => Outcome::AloneWithCookies,
                    (false, _) => Outcome::Alone,
                });
                if failed {
                    self.put_off(arrival);
                }
                return lead(leader, Lead::Passed(response, Box::new(download)));
            }
        };
        let rest = Rest::default();
        if length.is_some() {
            self.store.will_vary(&self.place, &head.vary);
            let serving = Arc::new(self.serving(head.clone(), Kept::Coming(fill.clone(), length)));
            self.tell_others(&serving, arrival);
            lead(leader, Lead::Served(serving, self.missed.stored()));
        } else {
            self.flight.set_coming();
            lead(leader, Lead::Coming(head.clone(), fill.clone(), rest.clone(), self.missed.stored()));
        }
        self.come_in(head, &fill, (download, rest), arrival).await;
    }

    /// There is no room to share it. Where nobody waits, it is over.
    fn hand_on(&self) {
        self.handed_on.set(self.flight.hand_on());
    }

    fn new_fill(&self, length: Option<u64>) -> Option<Arc<Fill>> {
        Fill::new(self.store.room.clone(), self.store.limits.object_bytes_max, length)
    }

    fn refusal(&self, status: StatusCode) -> Refusal {
        Refusal::at(Code::FetchFailed, &self.upstream.plan.name).because(status.as_u16()).retry_after(1)
    }

    /// The body, to its end.
    async fn come_in(
        &self,
        head: Arc<Head>,
        fill: &Arc<Fill>,
        (mut download, rest): (Download, Rest),
        arrival: Arrival,
    ) {
        let end = read(&mut download, fill).await;
        match end {
            End::Whole => {
                drop(download);
                let body = fill.whole();
                self.store.keep(&self.place, &self.flight, Object::new(head.clone(), body.clone()), &self.headers);
                self.tell_others(&Arc::new(self.serving(head, Kept::Whole(body))), arrival);
            }
            End::Broken => self.store.end(&self.place, &self.flight),
            End::Over => {
                if fill.is_too_large() {
                    self.store.pass(&self.place, &self.flight, Whose::All, crate::clock::boot());
                    self.flight.tell(Outcome::Alone);
                } else {
                    self.hand_on();
                }
                // Gone with us, if the leader's client has gone.
                *rest.borrow_mut() = Some(download);
            }
        }
        fill.end(end);
    }
}

async fn read(download: &mut Download, fill: &Fill) -> End {
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *download).poll_frame(context)).await;
        match frame {
            None => return End::Whole,
            Some(Err(_)) => return End::Broken,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(piece) if fill.push(&piece) => {}
                Ok(_) => return End::Over,
                Err(frame) => frame.into_trailers().into_iter().for_each(|trailers| fill.set_trailers(trailers)),
            },
        }
    }
}

/// Whose next requests would end the same way.
fn whose(why: Unstored, status: StatusCode) -> Whose {
    match why {
        why if why.is_of_the_resource(status.as_u16()) => Whose::All,
        why if why.is_of_cookies() => Whose::Cookies,
        _ => Whose::Nobody,
    }
}

/// It may have gone.
fn lead(leader: Leader, lead: Lead) {
    if let Some(leader) = leader {
        drop(leader.send(lead));
    }
}

const STANDS_IN: &str = "tidegate; fwd=stale; detail=stale-if-error";
const REVALIDATED: &str = "tidegate; fwd=stale; fwd-status=304; stored";
