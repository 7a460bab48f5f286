//! A stored response, and what a client is sent of it.

use super::fill::{Fill, Reader, Rest};
use super::sent::From;
use bytes::Bytes;
use gateway::cache::{Arrival, Conditions, Freshness, Request, Response as Read, Rules, Unstored, Validators, Vary};
use gateway::cache::{Sent as Part, date, store};
use hyper::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use hyper::{Method, Response, StatusCode};
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// A response's head as clients get it, but for its age.
#[derive(Clone, Debug)]
pub struct Head {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub freshness: Freshness,
    pub vary: Vary,
}

/// A whole stored response.
#[derive(Debug)]
pub struct Object {
    pub head: Arc<Head>,
    pub body: Bytes,
    /// No refresh in the background before this: the last one failed.
    not_before_ns: AtomicU64,
}

/// What all who wait for one fetch are served from.
#[derive(Debug)]
pub struct Serving {
    pub head: Arc<Head>,
    pub body: Kept,
    /// What told its request apart from others that `Vary` names.
    pub selector: Vec<u8>,
    /// How `Cache-Status` tells it to those who joined.
    pub told: &'static str,
    /// It stands for another answer: stale as it may be.
    pub whatever: bool,
}

/// A body that is there, or comes.
#[derive(Clone, Debug)]
pub enum Kept {
    Whole(Bytes),
    Coming(Arc<Fill>, Option<u64>),
}

/// Between two refreshes in the background of which the first failed.
const REFRESH_PAUSE_MS: u64 = 1_000;

impl Head {
    /// From a response whose headers are those that its client gets.
    pub fn new(
        status: StatusCode,
        headers: &HeaderMap,
        request: &Request,
        rules: &Rules,
        arrival: Arrival,
    ) -> Result<Self, Unstored> {
        let read = Read::read(status.as_u16(), fields(headers));
        let freshness = store(request, &read, rules, arrival)?;
        let mut headers = headers.clone();
        if read.date_s.is_none() {
            let date = HeaderValue::from_str(&date::format(arrival.wall_s));
            headers.insert(DATE, date.expect("a date is ASCII"));
        }
        // The length is the body's, and the age that of the moment.
        headers.remove(CONTENT_LENGTH);
        headers.remove(AGE);
        Ok(Self { status, headers, freshness, vary: read.vary })
    }

    /// As a 304 says that it is now (RFC 9111, 3.2); none if it speaks of another response.
    pub fn freshened(
        &self,
        news: &HeaderMap,
        request: &Request,
        rules: &Rules,
        arrival: Arrival,
    ) -> Option<Result<Self, Unstored>> {
        if !self.is_told_of_by(news) {
            return None;
        }
        let mut headers = self.headers.clone();
        headers.remove(DATE);
        for name in news.keys() {
            // What describes the stored bytes stays.
            if [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_TYPE, CONTENT_RANGE].contains(name) {
                continue;
            }
            headers.remove(name);
            news.get_all(name).iter().for_each(|value| {
                headers.append(name, value.clone());
            });
        }
        Some(Self::new(self.status, &headers, request, rules, arrival))
    }

    /// RFC 9111, 4.3.4: whether a 304 with these headers speaks of this response. A weak tag may be told for a strong one, not the other way
    /// round, and where there is no tag the date counts.
    fn is_told_of_by(&self, news: &HeaderMap) -> bool {
        let opaque = |tag: &HeaderValue| tag.as_bytes().strip_prefix(b"W/").unwrap_or(tag.as_bytes()).to_vec();
        match (news.get(ETAG), self.headers.get(ETAG)) {
            (Some(told), own) if told.as_bytes().starts_with(b"W/") => {
                own.is_some_and(|own| opaque(own) == opaque(told))
            }
            (Some(told), own) => own == Some(told),
            (None, _) => news.get(LAST_MODIFIED).is_none_or(|told| self.headers.get(LAST_MODIFIED) == Some(told)),
        }
    }

    /// How the origin is asked whether it still holds.
    pub fn ask(&self, headers: &mut HeaderMap) {
        for (from, to) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
            if let Some(value) = self.headers.get(from) {
                headers.insert(to, value.clone());
            }
        }
    }

    /// What it takes in memory.
    pub fn bytes(&self) -> u64 {
        let fields: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 48).sum();
        fields as u64 + 256
    }
}

impl Object {
    pub fn new(head: Arc<Head>, body: Bytes) -> Arc<Self> {
        Arc::new(Self { head, body, not_before_ns: AtomicU64::new(0) })
    }

    /// One of those who find it stale may refresh it.
    pub fn may_be_refreshed(&self, now: base::Instant) -> bool {
        now.0 >= self.not_before_ns.load(Ordering::Relaxed)
    }

    pub fn refresh_failed(&self, now: base::Instant) {
        self.not_before_ns.store(now.plus_ms(REFRESH_PAUSE_MS).0, Ordering::Relaxed);
    }
}

/// Headers as the core reads them.
pub fn fields(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
}

/// The lines of a header.
pub fn lines<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes)
}

/// What a client who asks by `method` with these headers is sent.
pub fn respond(
    head: &Head,
    kept: Kept,
    rest: Option<Rest>,
    (method, asked): (&Method, &HeaderMap),
    told: &'static str,
) -> (Response<()>, From) {
    let length = match &kept {
        Kept::Whole(body) => Some(body.len() as u64),
        Kept::Coming(_, length) => *length,
    };
    let mut response = Response::new(());
    *response.headers_mut() = head.headers.clone();
    *response.status_mut() = head.status;
    let headers = response.headers_mut();
    let age_s = head.freshness.age_ms(crate::clock::boot()) / 1000;
    headers.insert(AGE, HeaderValue::from(age_s));
    headers.append(CACHE_STATUS, HeaderValue::from_static(told));
    let part = match (head.status, length) {
        (StatusCode::OK, Some(length)) => conditions(head, asked, length, method),
        _ => Part::Whole,
    };
    let empty = From::Bytes(Bytes::new());
    let body = match part {
        Part::Whole if method == Method::HEAD => {
            length.into_iter().for_each(|length| drop(headers.insert(CONTENT_LENGTH, HeaderValue::from(length))));
            empty
        }
        Part::Whole => whole(kept, rest),
        Part::NotModified => {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            empty
        }
        Part::NoSuchPart => {
            let told = format!("bytes */{}", length.unwrap_or(0));
            headers.insert(CONTENT_RANGE, HeaderValue::from_str(&told).expect("digits are ASCII"));
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            empty
        }
        Part::Part { first, last } => {
            let told = format!("bytes {first}-{last}/{}", length.unwrap_or(0));
            headers.insert(CONTENT_RANGE, HeaderValue::from_str(&told).expect("digits are ASCII"));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            part_of(kept, first, last)
        }
    };
    (response, body)
}

fn conditions(head: &Head, asked: &HeaderMap, length: u64, method: &Method) -> Part {
    let get = |name: HeaderName| asked.get(name).map(HeaderValue::as_bytes);
    let none_match: SmallVec<[&[u8]; 2]> = lines(asked, IF_NONE_MATCH.as_str()).collect();
    let range = get(RANGE).filter(|_| method == Method::GET);
    let conditions =
        Conditions { none_match: &none_match, modified_since: get(IF_MODIFIED_SINCE), range, if_range: get(IF_RANGE) };
    let own = |name: HeaderName| head.headers.get(name).map(HeaderValue::as_bytes);
    conditions.of(&Validators { etag: own(ETAG), last_modified: own(LAST_MODIFIED), date: own(DATE) }, length)
}

fn whole(kept: Kept, rest: Option<Rest>) -> From {
    match kept {
        Kept::Whole(body) => From::Bytes(body),
        Kept::Coming(fill, Some(length)) => From::Reader(Reader::part(fill, 0, length)),
        Kept::Coming(fill, None) => From::Reader(Reader::of(fill, rest)),
    }
}

fn part_of(kept: Kept, first: u64, last: u64) -> From {
    match kept {
        Kept::Whole(body) => {
            let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(body.len());
            From::Bytes(body.slice(place(first)..place(last.saturating_add(1))))
        }
        Kept::Coming(fill, _) => From::Reader(Reader::part(fill, first, last - first + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).expect("a name"), HeaderValue::from_str(value).expect("a value"))
        };
        fields.iter().map(pair).collect()
    }

    #[test]
    fn a_304_is_believed_of_what_it_speaks_of() {
        let arrival = Arrival { at: base::Instant(1), wall_s: 784_111_777, delay_ms: 0 };
        let (request, rules) = (Request::default(), Rules::default());
        let (old, new) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:38 GMT");
        for (own, told, wanted) in [
            (vec![("etag", "\"a\"")], vec![("etag", "\"a\"")], true),
            (vec![("etag", "\"a\"")], vec![("etag", "\"b\"")], false),
            (vec![("etag", "\"a\"")], vec![("etag", "W/\"a\"")], true),
            (vec![("etag", "W/\"a\"")], vec![("etag", "W/\"a\"")], true),
            (vec![("etag", "W/\"a\"")], vec![("etag", "W/\"b\"")], false),
            (vec![("etag", "W/\"a\"")], vec![("etag", "\"a\"")], false),
            (vec![("last-modified", old)], vec![("etag", "W/\"a\"")], false),
            (vec![("last-modified", old)], vec![("last-modified", old)], true),
            (vec![("last-modified", old)], vec![("last-modified", new)], false),
            (vec![("etag", "\"a\""), ("last-modified", old)], vec![("etag", "\"a\""), ("last-modified", new)], true),
            (vec![("etag", "\"a\"")], vec![], true),
        ] {
            let (own, told) = (headers(&own), headers(&told));
            let head = Head::new(StatusCode::OK, &own, &request, &rules, arrival).expect("it may be stored");
            let fresh = head.freshened(&told, &request, &rules, arrival);
            assert_eq!(fresh.is_some(), wanted, "{told:?} of {own:?}");
        }
    }
}
