//! What is wrong with a file: the line, the reason, and what to write instead.

use std::fmt::{Display, Formatter};
use std::ops::Range;

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    line: Option<usize>,
    why: String,
}

impl Wrong {
    /// About what stands at `span` of `text`.
    pub fn at(text: &str, span: &Range<usize>, why: impl Display) -> Self {
        let before = &text.as_bytes()[..span.start.min(text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Self { line: Some(line), why: why.to_string() }
    }

    /// About the file as a whole.
    pub fn whole(why: impl Display) -> Self {
        Self { line: None, why: why.to_string() }
    }

    /// What the reader of TOML refuses; for a key that doesn't exist, the nearest that does.
    pub fn of(text: &str, error: &toml::de::Error) -> Self {
        let why = nearest_key(error.message()).unwrap_or_else(|| error.message().trim_end().to_owned());
        match error.span() {
            Some(span) => Self::at(text, &span, why),
            None => Self::whole(why),
        }
    }
}

impl Display for Wrong {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

impl std::error::Error for Wrong {}

/// Of "unknown field `a`, expected one of `b`, `c`": which of them may have been meant.
fn nearest_key(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown field `")?;
    let (unknown, rest) = rest.split_once('`')?;
    let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    let nearest = nearest(unknown, &known);
    let hint = nearest.map(|name| format!("did you mean '{name}'?"));
    let all = || format!("the keys here are {}", known.join(", "));
    Some(format!("there is no key '{unknown}'; {}", hint.unwrap_or_else(all)))
}

/// The name that is nearest to a misspelt one, if one is near.
pub fn nearest<'a>(word: &str, names: &[&'a str]) -> Option<&'a str> {
    let near = names.iter().map(|name| (distance(word, name), *name)).min();
    near.filter(|(distance, name)| *distance <= 1 + name.len().max(word.len()) / 3).map(|(_, name)| name)
}

/// Letters to be put in, taken out or changed (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut corner = row[0];
        row[0] = at + 1;
        for (place, wanted) in other.iter().enumerate() {
            let changed = corner + usize::from(letter != *wanted);
            corner = row[place + 1];
            row[place + 1] = changed.min(corner + 1).min(row[place] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_named() {
        let told = nearest_key("unknown field `endpont`, expected one of `endpoints`, `policy`, `key`").unwrap();
        assert_eq!(told, "there is no key 'endpont'; did you mean 'endpoints'?");
        let told = nearest_key("unknown field `zzzzzz`, expected `header` or `body`").unwrap();
        assert_eq!(told, "there is no key 'zzzzzz'; the keys here are header, body");
        assert_eq!(nearest_key("invalid type"), None);
    }

    #[test]
    fn distances_are_those_of_levenshtein() {
        for (one, other, wanted) in [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("shop", "shpo", 2)] {
            assert_eq!(distance(one, other), wanted, "{one} {other}");
        }
    }
}
