//! Patterns of KEYS and SCAN: `*`, `?`, `[a-z]`, `[^a]`, `\\x`.
//!
//! One `*` is remembered at a time, so the work is bounded by the product of both lengths.

/// True if all of `subject` matches `pattern`.
#[must_use]
pub fn glob(pattern: &[u8], subject: &[u8]) -> bool {
    let (mut p, mut s) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, s));
            p += 1;
            continue;
        }
        if s == subject.len() && p == pattern.len() {
            return true;
        }
        let step = subject.get(s).and_then(|byte| one(&pattern[p..], *byte));
        match (step, star) {
            (Some(width), _) => (p, s) = (p + width, s + 1),
            (None, Some((at, from))) if from < subject.len() => {
                star = Some((at, from + 1));
                (p, s) = (at + 1, from + 1);
            }
            (None, _) => return false,
        }
    }
}

/// The width of the pattern's first element if it matches `byte`.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', ..] => class(pattern, byte),
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = if negated { 2 } else { 1 };
    let mut hit = false;
    while at < pattern.len() && pattern[at] != b']' {
        match &pattern[at..] {
            [b'\\', escaped, ..] => {
                hit |= *escaped == byte;
                at += 2;
            }
            [low, b'-', high, ..] if *high != b']' => {
                hit |= (*low.min(high)..=*low.max(high)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                hit |= *literal == byte;
                at += 1;
            }
            [] => break,
        }
    }
    (hit != negated).then_some((at + 1).min(pattern.len()))
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, subject, expected) in [
            ("*", "", true),
            ("h?llo", "hello", true),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[a-b]llo", "hbllo", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("*a*b", "xaxxb", true),
            ("abc", "abcd", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), subject.as_bytes()), expected, "{pattern} {subject}");
        }
        let many = "a*".repeat(40) + "b";
        assert!(!glob(many.as_bytes(), "a".repeat(200).as_bytes()));
    }
}
