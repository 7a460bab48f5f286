//! What a client that has something already, or wants only a part, is answered from a whole response (RFC 9111, 4.3.2; RFC 9110,
//! 13.2.2 and 14.2).

use super::date;

/// What the request says. Lines of `If-None-Match` are a list.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions<'a> {
    pub none_match: &'a [&'a [u8]],
    pub modified_since: Option<&'a [u8]>,
    pub range: Option<&'a [u8]>,
    pub if_range: Option<&'a [u8]>,
}

/// What the response can be told by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Validators<'a> {
    pub etag: Option<&'a [u8]>,
    pub last_modified: Option<&'a [u8]>,
    /// When it was sent: what was changed in that same second may have been changed again.
    pub date: Option<&'a [u8]>,
}

/// What is sent of a response with status 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Whole,
    /// 304.
    NotModified,
    /// 206, both ends inside.
    Part {
        first: u64,
        last: u64,
    },
    /// 416.
    NoSuchPart,
}

impl Conditions<'_> {
    /// Of a response of `bytes`. Several ranges at once get the whole, as is allowed.
    #[must_use]
    pub fn of(&self, validators: &Validators<'_>, bytes: u64) -> Sent {
        if self.has_it(validators) {
            return Sent::NotModified;
        }
        let Some(range) = self.range.filter(|_| self.if_range.is_none_or(|value| is_same(value, validators))) else {
            return Sent::Whole;
        };
        part(range, bytes)
    }

    fn has_it(&self, validators: &Validators<'_>) -> bool {
        if !self.none_match.is_empty() {
            let all = self.none_match.iter().any(|line| line.trim_ascii() == b"*");
            return all || validators.etag.is_some_and(|etag| self.none_match.iter().any(|line| names(line, etag)));
        }
        let since = self.modified_since.and_then(date::parse);
        let modified = validators.last_modified.and_then(date::parse);
        since.zip(modified).is_some_and(|(since, modified)| modified <= since)
    }
}

/// Whether a list of tags has this one. The comparison is the weak one: what `W/` says doesn't count.
fn names(list: &[u8], etag: &[u8]) -> bool {
    let weak = |tag: &[u8]| tag.strip_prefix(b"W/").map_or_else(|| tag.to_vec(), <[u8]>::to_vec);
    let wanted = weak(etag.trim_ascii());
    let mut rest = list;
    // A tag may have a comma inside.
    while let Some(at) = rest.iter().position(|byte| *byte == b'"') {
        let Some(length) = rest[at + 1..].iter().position(|byte| *byte == b'"') else { return false };
        let (tag, behind) = rest[at..].split_at(length + 2);
        if tag == wanted {
            return true;
        }
        rest = behind;
    }
    false
}

/// `If-Range`: the strong comparison.
fn is_same(value: &[u8], validators: &Validators<'_>) -> bool {
    let value = value.trim_ascii();
    match value.first() {
        Some(b'"') => validators.etag == Some(value),
        Some(b'W') if value.starts_with(b"W/") => false,
        _ => {
            // RFC 9110, 8.8.2.2.
            let (modified, sent) =
                (validators.last_modified.and_then(date::parse), validators.date.and_then(date::parse));
            let strong = modified.zip(sent).is_some_and(|(modified, sent)| modified < sent);
            strong && validators.last_modified.is_some_and(|modified| modified.trim_ascii() == value)
        }
    }
}

fn part(range: &[u8], bytes: u64) -> Sent {
    let read = || {
        let text = std::str::from_utf8(range.trim_ascii()).ok()?;
        let (unit, spec) = text.split_once('=')?;
        let (first, last) = spec.trim().split_once('-')?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        (unit.trim().eq_ignore_ascii_case("bytes") && digits(first) && digits(last)).then_some((first, last))
    };
    // What can't be read is no range, and what doesn't fit into a number lies behind any end.
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    match read() {
        None | Some(("", "")) => Sent::Whole,
        Some(("", suffix)) => match number(suffix).min(bytes) {
            0 => Sent::NoSuchPart,
            length => Sent::Part { first: bytes - length, last: bytes - 1 },
        },
        Some((first, last)) => {
            let (first, last) = (number(first), if last.is_empty() { u64::MAX } else { number(last) });
            match bytes.checked_sub(1) {
                _ if last < first => Sent::Whole,
                Some(end) if first <= end => Sent::Part { first, last: last.min(end) },
                _ => Sent::NoSuchPart,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAGGED: Validators<'static> = Validators {
        etag: Some(b"\"a\""),
        last_modified: Some(b"Sun, 06 Nov 1994 08:49:37 GMT"),
        date: Some(b"Sun, 06 Nov 1994 08:49:38 GMT"),
    };

    #[test]
    fn tags_are_compared_weakly_and_count_before_dates() {
        let later: Option<&[u8]> = Some(b"Mon, 07 Nov 1994 08:49:37 GMT");
        for (lines, since, wanted) in [
            (vec!["\"a\""], None, Sent::NotModified),
            (vec!["\"x\", W/\"a\""], None, Sent::NotModified),
            (vec!["\"x\"", "\"a\""], None, Sent::NotModified),
            (vec!["*"], None, Sent::NotModified),
            (vec!["\"x,\"a\"\""], None, Sent::Whole),
            (vec!["\"x\""], later, Sent::Whole),
            (vec!["a"], None, Sent::Whole),
            (vec![], later, Sent::NotModified),
            (vec![], TAGGED.last_modified, Sent::NotModified),
            (vec![], Some(b"Sat, 05 Nov 1994 08:49:37 GMT"), Sent::Whole),
            (vec![], Some(b"yesterday"), Sent::Whole),
        ] {
            let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
            let conditions = Conditions { none_match: &lines, modified_since: since, ..Conditions::default() };
            assert_eq!(conditions.of(&TAGGED, 10), wanted, "{conditions:?}");
        }
    }

    #[test]
    fn one_range_is_cut_out() {
        let part = |first, last| Sent::Part { first, last };
        for (range, wanted) in [
            ("bytes=0-4", part(0, 4)),
            ("bytes=5-", part(5, 9)),
            ("bytes=-3", part(7, 9)),
            ("bytes=-30", part(0, 9)),
            ("Bytes = 9-99999999999999999999", part(9, 9)),
            ("bytes=10-", Sent::NoSuchPart),
            ("bytes=-0", Sent::NoSuchPart),
            ("bytes=4-3", Sent::Whole),
            ("bytes=0-1,3-4", Sent::Whole),
            ("lines=0-4", Sent::Whole),
            ("bytes=a-4", Sent::Whole),
            ("bytes=-", Sent::Whole),
        ] {
            let conditions = Conditions { range: Some(range.as_bytes()), ..Conditions::default() };
            assert_eq!(conditions.of(&TAGGED, 10), wanted, "{range}");
        }
        let range: Option<&[u8]> = Some(b"bytes=0-0");
        assert_eq!(Conditions { range, ..Conditions::default() }.of(&TAGGED, 0), Sent::NoSuchPart);
        for (value, wanted) in [
            ("\"a\"", part(0, 0)),
            ("W/\"a\"", Sent::Whole),
            ("\"b\"", Sent::Whole),
            ("Sun, 06 Nov 1994 08:49:37 GMT", part(0, 0)),
            ("Mon, 07 Nov 1994 08:49:37 GMT", Sent::Whole),
        ] {
            let conditions = Conditions { range, if_range: Some(value.as_bytes()), ..Conditions::default() };
            assert_eq!(conditions.of(&TAGGED, 10), wanted, "{value}");
            // Changed in the second in which it was sent.
            let dated = Validators { date: TAGGED.last_modified, ..TAGGED };
            let wanted = if value.ends_with("GMT") { Sent::Whole } else { wanted };
            assert_eq!(conditions.of(&dated, 10), wanted, "{value}");
        }
    }
}
