//! Single characters of a pattern: classes, sets, and what they match.

/// Where the unit that begins at `at` ends.
pub(super) fn class_end(pattern: &[u8], at: usize) -> Result<usize, &'static str> {
    match pattern[at] {
        b'%' if at + 1 == pattern.len() => Err("malformed pattern (ends with '%')"),
        b'%' => Ok(at + 2),
        b'[' => {
            let mut end = at + 1;
            if pattern.get(end) == Some(&b'^') {
                end += 1;
            }
            // A bracket that stands first is one of the set.
            loop {
                match pattern.get(end) {
                    None => return Err("malformed pattern (missing ']')"),
                    Some(b'%') if end + 1 < pattern.len() => end += 2,
                    Some(_) => end += 1,
                }
                if pattern.get(end) == Some(&b']') {
                    return Ok(end + 1);
                }
            }
        }
        _ => Ok(at + 1),
    }
}

/// True if there is a byte at `at`, and the unit matches it.
pub(super) fn unit(subject: &[u8], at: usize, unit: &[u8]) -> bool {
    subject.get(at).is_some_and(|byte| single(*byte, unit))
}

/// True if the unit matches the byte.
pub(super) fn single(byte: u8, unit: &[u8]) -> bool {
    match unit {
        [b'.'] => true,
        [b'%', class] => of_class(byte, *class),
        [b'[', b'^', set @ .., b']'] => !in_set(byte, set),
        [b'[', set @ .., b']'] => in_set(byte, set),
        [literal] => *literal == byte,
        _ => false,
    }
}

fn in_set(byte: u8, mut set: &[u8]) -> bool {
    loop {
        set = match set {
            [] => return false,
            [b'%', class, rest @ ..] => {
                if of_class(byte, *class) {
                    return true;
                }
                rest
            }
            [low, b'-', high, rest @ ..] => {
                if (*low..=*high).contains(&byte) {
                    return true;
                }
                rest
            }
            [one, rest @ ..] => {
                if *one == byte {
                    return true;
                }
                rest
            }
        }
    }
}

fn of_class(byte: u8, class: u8) -> bool {
    let is = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 0x0B,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    is != class.is_ascii_uppercase()
}
