//! JSON as Lua values. As lua-cjson does, it takes more than JSON: control characters in strings, and numbers that C takes.

use super::{DEPTH_MAX, Invalid, Settings, null};
use crate::errors::{argument, text};
use crate::guard::Guard;
use crate::natives::{one, string};
use mlua::{Lua, MultiValue, Result, Value};

/// `cjson.decode(text)`.
pub(super) fn decode(lua: &Lua, guard: &Guard, settings: &Settings, args: MultiValue) -> Result<MultiValue> {
    if args.len() != 1 {
        return Err(argument(lua, 1, "decode", "expected 1 argument"));
    }
    let json = string(lua, &args, 1, "decode")?;
    drop(args);
    let json = json.as_bytes();
    guard.spend(1 + json.len() as u64 / 256)?;
    if json.len() >= 2 && (json[0] == 0 || json[1] == 0) {
        return Err(text(lua, "JSON parser does not support UTF-16 or UTF-32"));
    }
    let mut decoder = Decoder { lua, guard, settings, json: &json, at: 0 };
    let first = decoder.next();
    let value = decoder.value(first, 0)?;
    let (at, behind) = decoder.next();
    if !matches!(behind, Token::End) {
        return Err(decoder.unexpected("the end", at, &behind));
    }
    Ok(one(value))
}

struct Decoder<'a> {
    lua: &'a Lua,
    guard: &'a Guard,
    settings: &'a Settings,
    json: &'a [u8],
    at: usize,
}

enum Token {
    ObjectBegin,
    ObjectEnd,
    ListBegin,
    ListEnd,
    Text(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Wrong(&'static str),
}

impl Token {
    fn name(&self) -> &'static str {
        match self {
            Self::ObjectBegin => "T_OBJ_BEGIN",
            Self::ObjectEnd => "T_OBJ_END",
            Self::ListBegin => "T_ARR_BEGIN",
            Self::ListEnd => "T_ARR_END",
            Self::Text(_) => "T_STRING",
            Self::Number(_) => "T_NUMBER",
            Self::Boolean(_) => "T_BOOLEAN",
            Self::Null => "T_NULL",
            Self::Colon => "T_COLON",
            Self::Comma => "T_COMMA",
            Self::End => "T_END",
            Self::Wrong(why) => why,
        }
    }
}

/// A token, and where it begins.
type Found = (usize, Token);

impl Decoder<'_> {
    fn value(&mut self, (at, token): Found, depth: i64) -> Result<Value> {
        self.guard.spend(1)?;
        Ok(match token {
            Token::Text(text) => Value::String(self.lua.create_string(text)?),
            Token::Number(n) => Value::Number(n),
            Token::Boolean(told) => Value::Boolean(told),
            Token::Null => null(),
            Token::ObjectBegin => self.object(depth + 1)?,
            Token::ListBegin => self.list(depth + 1)?,
            other => return Err(self.unexpected("value", at, &other)),
        })
    }

    fn deeper(&self, depth: i64) -> Result<()> {
        if depth <= self.settings.decode_depth.get().min(DEPTH_MAX) {
            return Ok(());
        }
        let at = self.at;
        Err(text(self.lua, format!("Found too many nested data structures ({depth}) at character {at}")))
    }

    fn object(&mut self, depth: i64) -> Result<Value> {
        self.deeper(depth)?;
        let table = self.lua.create_table()?;
        let (mut at, mut token) = self.next();
        if matches!(token, Token::ObjectEnd) {
            return Ok(Value::Table(table));
        }
        loop {
            let Token::Text(key) = token else { return Err(self.unexpected("object key string", at, &token)) };
            let key = self.lua.create_string(key)?;
            (at, token) = self.next();
            if !matches!(token, Token::Colon) {
                return Err(self.unexpected("colon", at, &token));
            }
            let next = self.next();
            table.raw_set(key, self.value(next, depth)?)?;
            (at, token) = self.next();
            match token {
                Token::ObjectEnd => return Ok(Value::Table(table)),
                Token::Comma => (at, token) = self.next(),
                other => return Err(self.unexpected("comma or object end", at, &other)),
            }
        }
    }

    fn list(&mut self, depth: i64) -> Result<Value> {
        self.deeper(depth)?;
        let table = self.lua.create_table()?;
        let mut next = self.next();
        if matches!(next.1, Token::ListEnd) {
            return Ok(Value::Table(table));
        }
        for place in 1.. {
            table.raw_set(place, self.value(next, depth)?)?;
            next = match self.next() {
                (_, Token::ListEnd) => break,
                (_, Token::Comma) => self.next(),
                (at, other) => return Err(self.unexpected("comma or array end", at, &other)),
            };
        }
        Ok(Value::Table(table))
    }

    fn unexpected(&self, wanted: &str, at: usize, found: &Token) -> mlua::Error {
        text(self.lua, format!("Expected {wanted} but found {} at character {}", found.name(), at + 1))
    }

    fn next(&mut self) -> Found {
        while matches!(self.json.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        let from = self.at;
        let Some(first) = self.json.get(from) else { return (from, Token::End) };
        self.at += 1;
        let token = match first {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ListBegin,
            b']' => Token::ListEnd,
            b':' => Token::Colon,
            b',' => Token::Comma,
            b'"' => match self.text() {
                Ok(text) => Token::Text(text),
                Err((at, why)) => return (at, Token::Wrong(why)),
            },
            _ => self.word(from),
        };
        (from, token)
    }

    fn word(&mut self, from: usize) -> Token {
        let rest = &self.json[from..];
        let takes_all = self.settings.decode_invalid.get() == Invalid::Written;
        let known: [(&[u8], Token); 3] =
            [(b"true", Token::Boolean(true)), (b"false", Token::Boolean(false)), (b"null", Token::Null)];
        if matches!(rest[0], b'-' | b'0'..=b'9') {
            return if !takes_all && is_invalid(rest) { Token::Wrong("invalid number") } else { self.number(from) };
        }
        for (word, token) in known {
            if rest.starts_with(word) {
                self.at = from + word.len();
                return token;
            }
        }
        if takes_all && is_invalid(rest) { self.number(from) } else { Token::Wrong("invalid token") }
    }

    fn number(&mut self, from: usize) -> Token {
        match scan_number(&self.json[from..]) {
            Some((n, len)) => {
                self.at = from + len;
                Token::Number(n)
            }
            None => Token::Wrong("invalid number"),
        }
    }

    /// A string, behind its first quote.
    fn text(&mut self) -> std::result::Result<Vec<u8>, (usize, &'static str)> {
        let mut out = Vec::new();
        loop {
            let at = self.at;
            match self.json.get(at) {
                None | Some(0) => return Err((at, "unexpected end of string")),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => self.escape(&mut out)?,
                Some(byte) => {
                    out.push(*byte);
                    self.at += 1;
                }
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> std::result::Result<(), (usize, &'static str)> {
        let at = self.at;
        let plain = match self.json.get(at + 1) {
            Some(byte @ (b'"' | b'\\' | b'/')) => *byte,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0C,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let (code, used) = code_point(&self.json[at..]).ok_or((at, "invalid unicode escape code"))?;
                out.extend_from_slice(code.encode_utf8(&mut [0; 4]).as_bytes());
                self.at += used;
                return Ok(());
            }
            _ => return Err((at, "invalid escape code")),
        };
        out.push(plain);
        self.at += 2;
        Ok(())
    }
}

/// `\u` and four digits, or two of these that stand for one character.
fn code_point(text: &[u8]) -> Option<(char, usize)> {
    let first = hex4(text)?;
    if !(0xD800..0xE000).contains(&first) {
        return Some((char::from_u32(first)?, 6));
    }
    let second = hex4(text.get(6..)?)?;
    if first >= 0xDC00 || !(0xDC00..0xE000).contains(&second) {
        return None;
    }
    Some((char::from_u32(0x1_0000 + ((first & 0x3FF) << 10) + (second & 0x3FF))?, 12))
}

fn hex4(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |sum, digit| Some(sum * 16 + char::from(*digit).to_digit(16)?))
}

/// True for what C takes for a number and JSON doesn't: hexadecimal digits, zeros in front, infinity, not a number.
fn is_invalid(text: &[u8]) -> bool {
    if text.first() == Some(&b'+') {
        return true;
    }
    let text = text.strip_prefix(b"-").unwrap_or(text);
    match text {
        [b'0', next, ..] => matches!(next, b'x' | b'X' | b'0'..=b'9'),
        _ => starts_with_word(text, b"inf") || starts_with_word(text, b"nan"),
    }
}

fn starts_with_word(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word))
}

/// The number at the front of a text as C's strtod reads it, and its length.
fn scan_number(text: &[u8]) -> Option<(f64, usize)> {
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let negative = text.first() == Some(&b'-');
    let signed = |n: f64| if negative { -n } else { n };
    let rest = &text[sign..];
    for (word, n) in [(b"infinity".as_slice(), f64::INFINITY), (b"inf", f64::INFINITY), (b"nan", f64::NAN)] {
        if starts_with_word(rest, word) {
            return Some((signed(n), sign + word.len()));
        }
    }
    if let [b'0', b'x' | b'X', digits @ ..] = rest {
        let len = digits.iter().take_while(|digit| digit.is_ascii_hexdigit()).count();
        if len > 0 {
            let value = digits[..len]
                .iter()
                .fold(0.0, |sum, digit| sum * 16.0 + f64::from(char::from(*digit).to_digit(16).unwrap_or(0)));
            return Some((signed(value), sign + 2 + len));
        }
    }
    let digits = |from: usize| rest.get(from..).unwrap_or_default().iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits(0);
    let mut len = whole;
    if rest.get(len) == Some(&b'.') {
        let fraction = digits(len + 1);
        if whole + fraction == 0 {
            return None;
        }
        len += 1 + fraction;
    }
    if len == 0 {
        return None;
    }
    if matches!(rest.get(len), Some(b'e' | b'E')) {
        let exponent_sign = usize::from(matches!(rest.get(len + 1), Some(b'-' | b'+')));
        let exponent = digits(len + 1 + exponent_sign);
        if exponent > 0 {
            len += 1 + exponent_sign + exponent;
        }
    }
    let spelled = std::str::from_utf8(&rest[..len]).ok()?;
    Some((signed(spelled.trim_end_matches('.').parse().ok()?), sign + len))
}
