//! Byte strings: keys and values.

use std::sync::Arc;

/// A key or a value: any bytes, shared by all that mention it.
pub type Text = Arc<[u8]>;

/// A 64-bit integer as the store spells it: `007` and `+7` are none.
pub(crate) fn integer(text: &[u8]) -> Option<i64> {
    let plain = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match plain {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', ..] => true,
        _ => false,
    };
    if !canonical { None } else { std::str::from_utf8(text).ok()?.parse().ok() }
}

/// For people: numbers bare, texts in quotes, the middle of long ones left out.
pub(crate) fn shown(text: &[u8]) -> String {
    if integer(text).is_some() {
        return String::from_utf8_lossy(text).into_owned();
    }
    let all = match std::str::from_utf8(text) {
        Ok(text) => text.escape_debug().to_string(),
        Err(_) => text.escape_ascii().to_string(),
    };
    let characters = all.chars().count();
    if characters <= SHOWN_CHARACTERS_MAX {
        return format!("\"{all}\"");
    }
    let head: String = all.chars().take(SHOWN_CHARACTERS_MAX / 2).collect();
    let tail: String = all.chars().skip(characters - SHOWN_CHARACTERS_MAX / 2).collect();
    format!("\"{head}..{tail}\"")
}

/// Of a longer text as many characters are shown, half of them from its end.
const SHOWN_CHARACTERS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_spelled_in_one_way() {
        for (text, number) in
            [("0", 0), ("-7", -7), ("9223372036854775807", i64::MAX), ("-9223372036854775808", i64::MIN)]
        {
            assert_eq!(integer(text.as_bytes()), Some(number));
        }
        for text in ["", "-", "-0", "00", "07", "+7", " 7", "7 ", "9223372036854775808", "1e3", "\u{663}"] {
            assert_eq!(integer(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn texts_are_shown_short_and_unmistakable() {
        assert_eq!(shown(b"12"), "12");
        assert_eq!(shown(b"a\"b\n"), r#""a\"b\n""#);
        assert_eq!(shown(b"\xff\x00"), r#""\xff\x00""#);
        let long = format!("{}{}", "a".repeat(40), "z".repeat(40));
        assert_eq!(shown(long.as_bytes()), format!("\"{}..{}\"", "a".repeat(16), "z".repeat(16)));
    }
}
