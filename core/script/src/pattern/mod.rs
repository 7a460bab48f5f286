//! Lua's patterns, with every step counted: one match may take hours, and the interpreter doesn't see inside it.
//!
//! A matcher walks pattern and subject side by side and goes back where a choice was wrong. It asks its meter before each
//! step; a meter that refuses ends the match.

mod classes;
pub(crate) mod strings;

use classes::{class_end, single, unit};

/// Captures of one pattern at most, as in Lua.
const CAPTURES_MAX: usize = 32;
/// Choices inside choices: each takes some of the stack.
const DEPTH_MAX: usize = 200;

/// Why a match came to no end.
#[derive(Debug)]
pub(crate) enum Failed {
    /// What is wrong with the pattern.
    Pattern(&'static str),
    /// The meter refused.
    Meter(mlua::Error),
}

impl From<&'static str> for Failed {
    fn from(why: &'static str) -> Self {
        Self::Pattern(why)
    }
}

/// What a capture holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capture {
    /// Begun and not ended.
    Open { from: usize },
    /// A piece of the subject.
    Piece { from: usize, to: usize },
    /// A place in it.
    Place(usize),
}

/// One pattern, over one subject.
pub(crate) struct Matcher<'a, M> {
    subject: &'a [u8],
    pattern: &'a [u8],
    captures: Vec<Capture>,
    depth: usize,
    meter: M,
}

type Matched = Result<Option<usize>, Failed>;

impl<'a, M: FnMut() -> mlua::Result<()>> Matcher<'a, M> {
    /// A matcher; `pattern` without its anchor. `meter` is asked before each step.
    pub(crate) fn new(subject: &'a [u8], pattern: &'a [u8], meter: M) -> Self {
        // As in Lua 5.1, a pattern ends at its first zero byte: %z stands for one.
        let end = pattern.iter().position(|byte| *byte == 0).unwrap_or(pattern.len());
        Self { subject, pattern: &pattern[..end], captures: Vec::new(), depth: 0, meter }
    }

    /// Where a match that begins at `from` ends, if there is one.
    pub(crate) fn at(&mut self, from: usize) -> Matched {
        self.captures.clear();
        self.depth = 0;
        self.go(from, 0)
    }

    /// What was captured.
    pub(crate) fn captures(&self) -> &[Capture] {
        &self.captures
    }

    fn go(&mut self, subject: usize, pattern: usize) -> Matched {
        if self.depth == DEPTH_MAX {
            return Err("pattern too complex".into());
        }
        self.depth += 1;
        let matched = self.walk(subject, pattern);
        self.depth -= 1;
        matched
    }

    fn walk(&mut self, mut s: usize, mut p: usize) -> Matched {
        loop {
            (self.meter)().map_err(Failed::Meter)?;
            match self.pattern.get(p..).unwrap_or_default() {
                [] => return Ok(Some(s)),
                [b'(', b')', ..] => return self.captured(Capture::Place(s), s, p + 2),
                [b'(', ..] => return self.captured(Capture::Open { from: s }, s, p + 1),
                [b')', ..] => return self.close(s, p + 1),
                [b'$'] => return Ok((s == self.subject.len()).then_some(s)),
                [b'%', b'b', rest @ ..] => match self.balanced(s, rest)? {
                    Some(end) => (s, p) = (end, p + 4),
                    None => return Ok(None),
                },
                [b'%', b'f', ..] => {
                    p += 2;
                    let Some(end) = self.frontier(s, p)? else { return Ok(None) };
                    p = end;
                }
                [b'%', digit @ b'0'..=b'9', ..] => match self.again(s, *digit)? {
                    Some(end) => (s, p) = (end, p + 2),
                    None => return Ok(None),
                },
                _ => match self.repeated(s, p)? {
                    Step::Done(matched) => return Ok(matched),
                    Step::On(next_s, next_p) => (s, p) = (next_s, next_p),
                },
            }
        }
    }

    /// One unit of the pattern, and how often it may stand.
    fn repeated(&mut self, s: usize, p: usize) -> Result<Step, Failed> {
        let end = class_end(self.pattern, p)?;
        let fits = unit(self.subject, s, &self.pattern[p..end]);
        Ok(match self.pattern.get(end) {
            Some(b'?') => {
                if fits && let Some(matched) = self.go(s + 1, end + 1)? {
                    return Ok(Step::Done(Some(matched)));
                }
                Step::On(s, end + 1)
            }
            Some(b'*') => Step::Done(self.most(s, p, end)?),
            Some(b'+') if fits => Step::Done(self.most(s + 1, p, end)?),
            Some(b'+') => Step::Done(None),
            Some(b'-') => Step::Done(self.least(s, p, end)?),
            _ if fits => Step::On(s + 1, end),
            _ => Step::Done(None),
        })
    }

    /// As many as there are, then fewer.
    fn most(&mut self, s: usize, p: usize, end: usize) -> Matched {
        let mut count = 0;
        while unit(self.subject, s + count, &self.pattern[p..end]) {
            (self.meter)().map_err(Failed::Meter)?;
            count += 1;
        }
        loop {
            if let Some(matched) = self.go(s + count, end + 1)? {
                return Ok(Some(matched));
            }
            let Some(fewer) = count.checked_sub(1) else { return Ok(None) };
            count = fewer;
        }
    }

    /// None, then more.
    fn least(&mut self, mut s: usize, p: usize, end: usize) -> Matched {
        loop {
            if let Some(matched) = self.go(s, end + 1)? {
                return Ok(Some(matched));
            }
            if !unit(self.subject, s, &self.pattern[p..end]) {
                return Ok(None);
            }
            s += 1;
        }
    }

    /// What a way has captured is forgotten where it was wrong.
    fn captured(&mut self, capture: Capture, s: usize, p: usize) -> Matched {
        if self.captures.len() == CAPTURES_MAX {
            return Err("too many captures".into());
        }
        self.captures.push(capture);
        let matched = self.go(s, p)?;
        if matched.is_none() {
            self.captures.pop();
        }
        Ok(matched)
    }

    fn close(&mut self, s: usize, p: usize) -> Matched {
        let open = self.captures.iter().rposition(|one| matches!(one, Capture::Open { .. }));
        let at = open.ok_or("invalid pattern capture")?;
        let former = self.captures[at];
        let Capture::Open { from } = former else { unreachable!("it was looked for") };
        self.captures[at] = Capture::Piece { from, to: s };
        let matched = self.go(s, p)?;
        if matched.is_none() {
            self.captures[at] = former;
        }
        Ok(matched)
    }

    /// `%bxy`: from an x to the y that closes it.
    fn balanced(&mut self, s: usize, pair: &[u8]) -> Matched {
        let [open, close, ..] = pair else { return Err("unbalanced pattern".into()) };
        if self.subject.get(s) != Some(open) {
            return Ok(None);
        }
        let mut depth = 1;
        for (at, byte) in self.subject.iter().enumerate().skip(s + 1) {
            (self.meter)().map_err(Failed::Meter)?;
            if byte == close {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(at + 1));
                }
            } else if byte == open {
                depth += 1;
            }
        }
        Ok(None)
    }

    /// `%f[set]`: the place where the set begins. Where the pattern goes on.
    fn frontier(&mut self, s: usize, p: usize) -> Matched {
        if self.pattern.get(p) != Some(&b'[') {
            return Err("missing '[' after '%f' in pattern".into());
        }
        let end = class_end(self.pattern, p)?;
        let set = &self.pattern[p..end];
        let before = s.checked_sub(1).map_or(0, |at| self.subject[at]);
        let here = self.subject.get(s).copied().unwrap_or(0);
        Ok((!single(before, set) && single(here, set)).then_some(end))
    }

    /// `%1`: what was captured, once more.
    fn again(&mut self, s: usize, digit: u8) -> Matched {
        let at = usize::from(digit - b'0').checked_sub(1);
        let wanted = match at.and_then(|at| self.captures.get(at)) {
            Some(Capture::Piece { from, to }) => &self.subject[*from..*to],
            Some(Capture::Place(_)) => return Ok(None),
            Some(Capture::Open { .. }) | None => return Err("invalid capture index".into()),
        };
        Ok(self.subject[s..].starts_with(wanted).then_some(s + wanted.len()))
    }
}

/// How a walk goes on.
enum Step {
    Done(Option<usize>),
    On(usize, usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(subject: &str, pattern: &str) -> Option<(usize, usize, usize)> {
        let (anchored, plain) = pattern.strip_prefix('^').map_or((false, pattern), |rest| (true, rest));
        let mut matcher = Matcher::new(subject.as_bytes(), plain.as_bytes(), || Ok(()));
        for from in 0..=if anchored { 0 } else { subject.len() } {
            if let Some(to) = matcher.at(from).unwrap() {
                return Some((from, to, matcher.captures().len()));
            }
        }
        None
    }

    #[test]
    fn patterns_match_as_the_manual_says() {
        for (subject, pattern, wanted) in [
            ("hello", "l+", Some((2, 4, 0))),
            ("hello", "l-o", Some((2, 5, 0))),
            ("hello", "^ell", None),
            ("hello", "^h.-o$", Some((0, 5, 0))),
            ("key = value", "(%w+)%s*=%s*(%w+)", Some((0, 11, 2))),
            ("a(b(c)d)e", "%b()", Some((1, 8, 0))),
            ("THE (quick) fox", "%f[%a]%a+%f[%A]", Some((0, 3, 0))),
            ("abab", "(ab)%1", Some((0, 4, 1))),
            ("x", "()", Some((0, 0, 1))),
            ("[]", "[]]", Some((1, 2, 0))),
            ("a-b", "[a%-]+", Some((0, 2, 0))),
            ("07", "[^1-9]", Some((0, 1, 0))),
            ("", "x*", Some((0, 0, 0))),
            ("\0a", "%z", Some((0, 1, 0))),
        ] {
            assert_eq!(first(subject, pattern), wanted, "{pattern} in {subject}");
        }
    }

    #[test]
    fn a_meter_ends_a_match_that_would_take_years() {
        let (subject, pattern) = ("a".repeat(60), "a*".repeat(60) + "b");
        let mut steps = 0;
        let mut matcher = Matcher::new(subject.as_bytes(), pattern.as_bytes(), || {
            steps += 1;
            if steps > 10_000 { Err(mlua::Error::runtime("enough")) } else { Ok(()) }
        });
        assert!(matches!(matcher.at(0), Err(Failed::Meter(_))));
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for pattern in ["[", "[a", "%", "(", "a)", "%b", "%bx", "%fa", "%1", "(%1)", "[%"] {
            let mut matcher = Matcher::new(b"aaa", pattern.as_bytes(), || Ok(()));
            let told = matcher.at(0);
            let open = matcher.captures().iter().any(|one| matches!(one, Capture::Open { .. }));
            assert!(told.is_err() || open, "{pattern}");
        }
    }
}
