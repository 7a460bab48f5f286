//! `Cache-Control` in both directions (RFC 9111, 5.2; RFC 5861).
//!
//! What is unclear is never to a response's advantage: a directive that is given twice, or whose argument is no number, makes
//! the response stale (4.2.1), and the request one that wants validation. A line that can't be read to its end (`private; max-age=60`,
//! or a quote that doesn't end) may have said `private`, and so it has.

/// What a response allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    pub no_store: bool,
    /// With or without the names of headers: both mean that nothing is used unvalidated.
    pub no_cache: bool,
    pub private: bool,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    pub max_age_s: Option<u32>,
    pub s_maxage_s: Option<u32>,
    pub stale_while_revalidate_s: Option<u32>,
    pub stale_if_error_s: Option<u32>,
    /// Something was given twice, or is no number.
    pub unclear: bool,
}

/// What a request wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub no_store: bool,
    pub no_cache: bool,
    pub only_if_cached: bool,
    pub max_age_s: Option<u32>,
    pub min_fresh_s: Option<u32>,
    /// How stale a response may be; the most there is for any.
    pub max_stale_s: Option<u32>,
}

impl Allowed {
    /// One more line of the header.
    pub fn read(&mut self, line: &[u8]) {
        let mut clear = true;
        let whole = each(line, |name, value| {
            clear &= match name {
                b"no-store" => flag(&mut self.no_store),
                b"no-cache" => flag(&mut self.no_cache),
                b"private" => flag(&mut self.private),
                b"public" => flag(&mut self.public),
                b"must-revalidate" => flag(&mut self.must_revalidate),
                b"proxy-revalidate" => flag(&mut self.proxy_revalidate),
                b"must-understand" => flag(&mut self.must_understand),
                b"max-age" => time(&mut self.max_age_s, value),
                b"s-maxage" => time(&mut self.s_maxage_s, value),
                b"stale-while-revalidate" => time(&mut self.stale_while_revalidate_s, value),
                b"stale-if-error" => time(&mut self.stale_if_error_s, value),
                _ => true,
            }
        });
        self.unclear |= !(whole && clear);
        self.private |= !whole;
    }
}

impl Wanted {
    /// One more line of the header.
    pub fn read(&mut self, line: &[u8]) {
        let mut clear = true;
        let whole = each(line, |name, value| {
            clear &= match (name, value) {
                (b"no-store", _) => flag(&mut self.no_store),
                (b"no-cache", _) => flag(&mut self.no_cache),
                (b"only-if-cached", _) => flag(&mut self.only_if_cached),
                (b"max-age", value) => time(&mut self.max_age_s, value),
                (b"min-fresh", value) => time(&mut self.min_fresh_s, value),
                (b"max-stale", None) => self.max_stale_s.replace(u32::MAX).is_none(),
                (b"max-stale", value) => time(&mut self.max_stale_s, value),
                _ => true,
            }
        });
        self.no_cache |= !(whole && clear);
    }
}

/// A flag may stand twice: it says the same.
fn flag(flag: &mut bool) -> bool {
    *flag = true;
    true
}

fn time(time: &mut Option<u32>, value: Option<&[u8]>) -> bool {
    let read = value.and_then(seconds);
    read.is_some() && time.replace(read.unwrap_or(0)).is_none()
}

/// Delta-seconds: what is larger than can be counted is the most that can be (RFC 9111, 1.2.2).
pub(super) fn seconds(digits: &[u8]) -> Option<u32> {
    let all = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    const MOST: u32 = 1 << 31;
    all.then(|| {
        digits.iter().fold(0u32, |sum, digit| sum.saturating_mul(10).saturating_add(u32::from(digit - b'0')).min(MOST))
    })
}

/// Each directive of a line: its name in lower case, and its argument without quotes. False if a quote doesn't end, or a name
/// or an argument is none.
fn each(line: &[u8], mut see: impl FnMut(&[u8], Option<&[u8]>)) -> bool {
    let (mut rest, mut sound) = (line, true);
    while !rest.is_empty() {
        let (mut quoted, mut escaped) = (false, false);
        let end = rest.iter().position(|byte| {
            let here = escaped;
            escaped = quoted && !here && *byte == b'\\';
            quoted ^= *byte == b'"' && !here;
            *byte == b',' && !quoted
        });
        if quoted {
            return false;
        }
        let (part, behind) = rest.split_at(end.unwrap_or(rest.len()));
        rest = behind.get(1..).unwrap_or_default();
        let mut halves = part.splitn(2, |byte| *byte == b'=');
        let name = halves.next().unwrap_or_default().trim_ascii();
        let written = halves.next().map(<[u8]>::trim_ascii);
        let unquoted = written.and_then(|value| value.strip_prefix(b"\"")?.strip_suffix(b"\""));
        sound &= is_token(name) && (unquoted.is_some() || written.is_none_or(is_token));
        let value = unquoted.or(written);
        let mut lower = [0; 32];
        // None that is known is longer.
        if let Some(into) = lower.get_mut(..name.len()).filter(|_| !name.is_empty()) {
            into.copy_from_slice(name);
            into.make_ascii_lowercase();
            see(into, value);
        }
    }
    sound
}

/// It may be empty: so is what stands between two commas.
fn is_token(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(line: &str) -> Allowed {
        let mut allowed = Allowed::default();
        allowed.read(line.as_bytes());
        allowed
    }

    #[test]
    fn directives_are_read_as_they_are_written() {
        let read = allowed("Max-Age=60 ,PUBLIC, s-maxage=\"5\",, ext=\"a, no-store\", private=\"set-cookie\"");
        let wanted =
            Allowed { max_age_s: Some(60), s_maxage_s: Some(5), public: true, private: true, ..Allowed::default() };
        assert_eq!(read, wanted);
        assert_eq!(allowed("max-age=99999999999999999999").max_age_s, Some(1 << 31));
        assert!(allowed("no-cache=\"a\\\"b, c\", must-revalidate").must_revalidate);
    }

    #[test]
    fn what_is_unclear_is_told() {
        for line in [
            "max-age=1, max-age=1",
            "max-age=1, max-age=2",
            "max-age=",
            "max-age",
            "max-age=-1",
            "max-age=1.5",
            "max-age=x",
            "s-maxage=1 2",
            "max-age=\"1",
            "stale-while-revalidate=soon",
        ] {
            assert!(allowed(line).unclear, "{line}");
        }
        let mut twice = allowed("max-age=5");
        twice.read(b"max-age=5");
        assert!(twice.unclear, "on two lines too");
        assert!(!allowed("no-cache, no-cache, unknown=\"x\", unknown").unclear);
    }

    #[test]
    fn what_cannot_be_read_may_have_said_private() {
        for line in [
            "private; max-age=60",
            "max-age=60; no-store",
            "max-age=60, x=\"y, private",
            "max age=60",
            "x=a b, public",
            "\"private\"",
        ] {
            assert!(allowed(line).private && allowed(line).unclear, "{line}");
        }
        for line in ["max-age = 60 , public", "x=\"a; private, b\", max-age=60", ",, max-age=60,", "x=a, public"] {
            assert!(!allowed(line).private && !allowed(line).unclear, "{line}");
        }
    }

    #[test]
    fn requests_say_what_they_want() {
        let mut wanted = Wanted::default();
        wanted.read(b"max-stale, min-fresh=3, only-if-cached");
        assert_eq!((wanted.max_stale_s, wanted.min_fresh_s, wanted.only_if_cached), (Some(u32::MAX), Some(3), true));
        let mut wanted = Wanted::default();
        wanted.read(b"max-age=never");
        assert!(wanted.no_cache, "what isn't understood wants validation");
    }
}
