//! What of a request and of a response counts for a cache, read from their headers in one pass.

use super::date;
use super::directives::{Allowed, Wanted, seconds};
use super::vary::Vary;

/// What counts of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub wanted: Wanted,
    /// It has credentials: in `Authorization`, or others that the caller knows of.
    pub authorized: bool,
    /// It has cookies.
    pub cookies: bool,
    /// It wants a part.
    pub range: bool,
    /// It has a condition that only the origin can answer.
    pub strict: bool,
}

/// What counts of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub allowed: Allowed,
    /// When it was made, as it says.
    pub date_s: Option<u64>,
    pub(super) expires: Expires,
    pub(super) last_modified_s: Option<u64>,
    pub(super) age_s: Option<u32>,
    pub(super) validator: bool,
    pub(super) set_cookie: bool,
    pub(super) part: bool,
    pub vary: Vary,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Expires {
    #[default]
    Unsaid,
    At(u64),
    /// What is no date has passed (RFC 9111, 5.3); so has what is said twice.
    Past,
}

impl Request {
    /// From its headers, whose names are in lower case.
    pub fn read<'a>(fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> Self {
        let (mut request, mut controlled, mut pragma) = (Self::default(), false, false);
        for (name, value) in fields {
            match name {
                "cache-control" => {
                    controlled = true;
                    request.wanted.read(value);
                }
                "pragma" => pragma |= value.to_ascii_lowercase().windows(8).any(|part| part == b"no-cache"),
                "authorization" => request.authorized = true,
                "cookie" => request.cookies = true,
                "range" => request.range = true,
                "if-match" | "if-unmodified-since" => request.strict = true,
                _ => {}
            }
        }
        // 5.4: where there is no Cache-Control.
        request.wanted.no_cache |= pragma && !controlled;
        request
    }
}

impl Response {
    /// From its headers, whose names are in lower case.
    pub fn read<'a>(status: u16, fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut response = Self { status, part: status == 206, ..Self::default() };
        for (name, value) in fields {
            match name {
                "cache-control" => response.allowed.read(value),
                "date" => response.date_s = response.date_s.or_else(|| date::parse(value)),
                "expires" => {
                    let first = response.expires == Expires::Unsaid;
                    response.expires = date::parse(value).filter(|_| first).map_or(Expires::Past, Expires::At);
                }
                "last-modified" => {
                    response.last_modified_s = date::parse(value);
                    response.validator |= response.last_modified_s.is_some();
                }
                "etag" => response.validator |= !value.is_empty(),
                // 5.1: of several the first counts, and one that isn't valid says nothing.
                "age" => response.age_s = response.age_s.or_else(|| seconds(value.trim_ascii())),
                "set-cookie" => response.set_cookie = true,
                "content-range" => response.part = true,
                "vary" => response.vary.read(value),
                _ => {}
            }
        }
        response
    }

    /// It can be asked whether it still holds.
    #[must_use]
    pub fn has_validator(&self) -> bool {
        self.validator
    }
}
