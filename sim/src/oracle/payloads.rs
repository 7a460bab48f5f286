//! The model's DUMP and RESTORE: payloads that a Redis made, with what they hold, and a plain reader of those that the
//! shard makes.

use super::{Content, Model, error, integer, not_an_integer};
use crate::answer::{Answer, Expected};

/// Made by Redis 7.0, by their bytes in hexadecimal; each holds what stands behind it.
pub const PAYLOADS: &[(&str, Holds)] = &[
    ("000568656c6c6f0a006372df766534200a", Holds::Text("hello")),
    ("00c1c7cf0a0067eda236b4db26d0", Holds::Text("-12345")),
    ("00c3093e016161e031000161610a00ec4942d6b3275f7c", Holds::Repeated(62)),
    ("120102161600000004008161020101f2701101048362636404ff0a00b30fd62ef730cc72", Holds::List("a 1 70000 bcd")),
    ("0b14040000000300000090eefeff01000000020000000a005d9df7da2f43d06b", Holds::Set("1 2 -70000")),
    ("02030161016301620a000d7e8a014cfe326c", Holds::Set("a b c")),
    ("10121200000004008166028176028167020c01ff0a00de133993f783817e", Holds::Hash("f v g 12")),
    (
        "111d1d0000000600816302842d696e6605816102010181620283322e3504ff0a003992339be11f323d",
        Holds::Zset("a 1 b 2.5 c -inf"),
    ),
];

/// What a payload holds, by words.
#[derive(Clone, Copy, Debug)]
pub enum Holds {
    Text(&'static str),
    /// So often the letter a.
    Repeated(usize),
    List(&'static str),
    Set(&'static str),
    Hash(&'static str),
    Zset(&'static str),
}

impl Holds {
    fn content(self) -> Content {
        let words = |text: &str| text.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
        let pairs =
            |text: &str| words(text).chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect::<Vec<_>>();
        match self {
            Self::Text(text) => Content::Str(text.as_bytes().to_vec()),
            Self::Repeated(count) => Content::Str(vec![b'a'; count]),
            Self::List(text) => Content::List(words(text).into()),
            Self::Set(text) => Content::Set(words(text).into_iter().collect()),
            Self::Hash(text) => Content::Hash(pairs(text).into_iter().collect()),
            Self::Zset(text) => {
                let score = |text: Vec<u8>| String::from_utf8_lossy(&text).parse().expect("a number");
                Content::Zset(pairs(text).into_iter().map(|(member, text)| (member, score(text))).collect())
            }
        }
    }
}

/// The bytes of a payload.
pub fn bytes_of(hexadecimal: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hexadecimal[at..at + 2], 16).expect("two digits");
    (0..hexadecimal.len()).step_by(2).map(digit).collect()
}

impl Model {
    /// DUMP or RESTORE; nothing if it is neither.
    pub(super) fn payload(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Option<Expected> {
        match name {
            "dump" => Some(match self.get(db, words[1], now) {
                None => Expected::Is(Answer::Nil),
                Some(held) => Expected::Payload(shown(&held.value)),
            }),
            "restore" => Some(Expected::Is(self.restore(now, db, words))),
            _ => None,
        }
    }

    fn restore(&mut self, now: u64, db: u8, words: &[&[u8]]) -> Answer {
        let has = |option: &str| words[4..].iter().any(|word| word.eq_ignore_ascii_case(option.as_bytes()));
        if self.get(db, words[1], now).is_some() && !has("replace") {
            return error("BUSYKEY Target key name already exists.");
        }
        let Some(ttl) = integer(words[2]) else { return not_an_integer() };
        let Ok(ttl) = u64::try_from(ttl) else { return error("ERR Invalid TTL value, must be >= 0") };
        let Some((_, holds)) = PAYLOADS.iter().find(|(payload, _)| bytes_of(payload) == words[3]) else {
            return error("ERR DUMP payload version or checksum are wrong");
        };
        let dies_at = if has("absttl") { ttl } else { now + ttl };
        if ttl > 0 && dies_at <= now {
            self.remove(db, words[1]);
        } else {
            self.put(db, words[1], holds.content(), Some(dies_at).filter(|_| ttl > 0));
        }
        Answer::ok()
    }
}

/// A value as a text that tells two of them apart; of streams no more than that they are.
fn shown(value: &Content) -> String {
    if let Content::Stream(_) = value { "a stream".to_owned() } else { format!("{value:?}") }
}

/// The same of what a payload holds; nothing if it can't be read.
pub(crate) fn holds(payload: &[u8]) -> Option<String> {
    let (body, footer) = payload.split_at(payload.len().checked_sub(10)?);
    let mut sum = 0_u64;
    for byte in &payload[..payload.len() - 8] {
        sum ^= u64::from(*byte);
        for _ in 0..8 {
            let odd = sum % 2 == 1;
            sum /= 2;
            if odd {
                sum ^= 0x95ac_9329_ac4b_c9b5;
            }
        }
    }
    if footer[..2] != [10, 0] || footer[2..] != sum.to_le_bytes() {
        return None;
    }
    let mut rest = &body[1..];
    let value = match body[0] {
        0 => Content::Str(string(&mut rest)?),
        1 => Content::List(many(&mut rest, string)?.into()),
        2 => Content::Set(many(&mut rest, string)?.into_iter().collect()),
        4 => Content::Hash(many(&mut rest, |rest| Some((string(rest)?, string(rest)?)))?.into_iter().collect()),
        5 => {
            let score = |rest: &mut &[u8]| Some(f64::from_le_bytes(cut(rest, 8)?.try_into().ok()?));
            Content::Zset(many(&mut rest, |rest| Some((string(rest)?, score(rest)?)))?.into_iter().collect())
        }
        19 => return Some("a stream".to_owned()),
        _ => return None,
    };
    rest.is_empty().then(|| shown(&value))
}

fn cut<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(head)
}

fn length(rest: &mut &[u8]) -> Option<usize> {
    let big = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum * 256 + usize::from(*byte));
    match cut(rest, 1)?[0] {
        0x80 => cut(rest, 4).map(big),
        0x81 => cut(rest, 8).map(big),
        head @ 0..0x40 => Some(usize::from(head)),
        head @ 0x40..0x80 => Some(usize::from(head - 0x40) * 256 + usize::from(cut(rest, 1)?[0])),
        _ => None,
    }
}

fn string(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let number: i32 = match rest.first()? {
        0xc0 => i32::from(cut(rest, 2)?[1].cast_signed()),
        0xc1 => i32::from(i16::from_le_bytes(cut(rest, 3)?[1..].try_into().ok()?)),
        0xc2 => i32::from_le_bytes(cut(rest, 5)?[1..].try_into().ok()?),
        _ => {
            let len = length(rest)?;
            return cut(rest, len).map(<[u8]>::to_vec);
        }
    };
    Some(number.to_string().into_bytes())
}

fn many<T>(rest: &mut &[u8], one: impl Fn(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let count = length(rest)?;
    (0..count).map(|_| one(rest)).collect()
}
