//! The model's bitmaps: a string as a list of booleans, the highest bit of each byte first.

use super::{Model, count, error, integer, not_an_integer, wrong_type};
use crate::answer::Answer;

/// A word that asks for one thing in BITFIELD, read.
struct Field {
    signed: bool,
    width: usize,
    at: usize,
}

fn bits(bytes: &[u8]) -> Vec<bool> {
    bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1 == 1)).collect()
}

fn bytes(bits: &[bool]) -> Vec<u8> {
    bits.chunks(8).map(|eight| eight.iter().fold(0, |byte, bit| byte * 2 + u8::from(*bit))).collect()
}

fn grow(bits: &mut Vec<bool>, len: usize) {
    while bits.len() < len || !bits.len().is_multiple_of(8) {
        bits.push(false);
    }
}

impl Model {
    /// A command of bitmaps; nothing if it is none.
    pub(super) fn bitmap(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Option<Answer> {
        let reads: &[&[u8]] = match name {
            "bitop" => words.get(3..)?,
            "setbit" | "getbit" | "bitcount" | "bitpos" | "bitfield" | "bitfield_ro" => words.get(1..2)?,
            _ => return None,
        };
        let other_type = reads.iter().any(|key| self.get(db, key, now).is_some_and(|held| !held.value.is_string()));
        let string = |model: &Self, key: &[u8]| {
            model.get(db, key, now).filter(|held| held.value.is_string()).map(|held| bits(&held.value.bytes()))
        };
        let here = string(self, words[1]);
        // Options are looked at before the type only by those that do so in Redis.
        Some(match name {
            "setbit" | "getbit" => match (offset(words[2]), name) {
                (None, _) => bad_offset(),
                (_, "setbit") if words[3] != b"0" && words[3] != b"1" => {
                    error("ERR bit is not an integer or out of range")
                }
                _ if other_type => wrong_type(),
                (Some(at), "getbit") => {
                    Answer::Int(i64::from(here.is_some_and(|found| found.get(at).copied().unwrap_or(false))))
                }
                (Some(at), _) => {
                    let mut new = here.clone().unwrap_or_default();
                    grow(&mut new, at + 1);
                    let was = std::mem::replace(&mut new[at], words[3] == b"1");
                    self.keep_bits(now, db, words[1], here, &new);
                    Answer::Int(i64::from(was))
                }
            },
            "bitop" if words[1].eq_ignore_ascii_case(b"not") && words.len() != 4 => {
                error("ERR BITOP NOT must be called with a single source key.")
            }
            "bitpos" if words[2] != b"0" && words[2] != b"1" => error("ERR The bit argument must be 1 or 0."),
            "bitfield" | "bitfield_ro" => self.fields(now, db, words, here, other_type),
            _ if other_type => wrong_type(),
            "bitop" => {
                let sources: Vec<Vec<bool>> = reads.iter().map(|key| string(self, key).unwrap_or_default()).collect();
                self.combine_bits(db, words, &sources)
            }
            "bitcount" => here.map_or(Answer::Int(0), |found| counted(&found, words)),
            _ => match here {
                Some(found) => position(&found, words),
                None => Answer::Int(if words[2] == b"1" { -1 } else { 0 }),
            },
        })
    }

    /// Puts bits in place of what was there, if they are others; the expiry stays.
    fn keep_bits(&mut self, now: u64, db: u8, key: &[u8], old: Option<Vec<bool>>, new: &[bool]) {
        if old.as_deref() != Some(new) {
            let dies_at = self.get(db, key, now).and_then(|held| held.dies_at);
            self.set(db, key, &bytes(new), dies_at);
        }
    }

    fn combine_bits(&mut self, db: u8, words: &[&[u8]], sources: &[Vec<bool>]) -> Answer {
        let longest = sources.iter().map(Vec::len).max().unwrap_or(0);
        let name = words[1].to_ascii_lowercase();
        let joined = |at: usize| {
            let mut column = sources.iter().map(|source| source.get(at).copied().unwrap_or(false));
            match name.as_slice() {
                b"and" => column.all(|bit| bit),
                b"or" => column.any(|bit| bit),
                b"xor" => column.filter(|bit| *bit).count() % 2 == 1,
                _ => !column.next().unwrap_or(false),
            }
        };
        let result: Vec<bool> = (0..longest).map(joined).collect();
        if result.is_empty() {
            self.remove(db, words[2]);
        } else {
            self.set(db, words[2], &bytes(&result), None);
        }
        count(longest / 8)
    }

    fn fields(&mut self, now: u64, db: u8, words: &[&[u8]], here: Option<Vec<bool>>, other_type: bool) -> Answer {
        let (mut new, mut written, mut answers) = (here.clone().unwrap_or_default(), false, Vec::new());
        let mut saturates: &[u8] = b"wrap";
        let steps = match steps(words) {
            Ok(steps) => steps,
            Err(refused) => return refused,
        };
        let furthest = steps.iter().filter(|(name, ..)| name != "get" && name != "overflow");
        if let Some(end) = furthest.filter_map(|(_, field, _)| field.as_ref().map(|field| field.at + field.width)).max()
        {
            if words[0].eq_ignore_ascii_case(b"bitfield_ro") {
                return error("ERR BITFIELD_RO only supports the GET subcommand");
            }
            grow(&mut new, end);
            written = true;
        }
        if other_type {
            return wrong_type();
        }
        for (name, field, argument) in &steps {
            let Some(field) = field else {
                saturates = argument;
                continue;
            };
            let old = field.read(&new);
            let by = i128::from(integer(argument).unwrap_or(0));
            let wanted = match name.as_str() {
                "get" => {
                    answers.push(whole(old));
                    continue;
                }
                "set" if field.signed => by,
                "set" => by.rem_euclid(1 << 64),
                _ => old + by,
            };
            match field.fitted(wanted, saturates) {
                None => answers.push(Answer::Nil),
                Some(value) => {
                    field.write(&mut new, value);
                    answers.push(whole(if name == "set" { old } else { value }));
                }
            }
        }
        if written {
            self.keep_bits(now, db, words[1], here, &new);
        }
        Answer::Array(answers)
    }
}

type Steps<'a> = Vec<(String, Option<Field>, &'a [u8])>;

/// The operations of a BITFIELD: name, field and last argument; OVERFLOW has no field.
fn steps<'a>(words: &[&'a [u8]]) -> Result<Steps<'a>, Answer> {
    let (mut steps, mut rest) = (Vec::new(), &words[2..]);
    while let Some(name) = rest.first() {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let long = match name.as_str() {
            "get" => 3,
            "overflow" => 2,
            _ => 4,
        };
        if rest.len() < long {
            return Err(error("ERR syntax error"));
        }
        if name == "overflow" {
            steps.push((name, None, rest[1]));
        } else {
            let field = Field::of(rest[1], rest[2])?;
            if long == 4 && integer(rest[3]).is_none() {
                return Err(not_an_integer());
            }
            steps.push((name, Some(field), rest[long - 1]));
        }
        rest = &rest[long..];
    }
    Ok(steps)
}

impl Field {
    fn of(kind: &[u8], at: &[u8]) -> Result<Self, Answer> {
        let width = integer(&kind[1..]).and_then(|width| usize::try_from(width).ok()).unwrap_or(0);
        let signed = kind[0] == b'i';
        if width == 0 || width > if signed { 64 } else { 63 } {
            return Err(error(
                "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
            ));
        }
        let at = match at.strip_prefix(b"#") {
            Some(number) => offset(number).map(|number| number * width),
            None => offset(at),
        };
        Ok(Self { signed, width, at: at.ok_or_else(bad_offset)? })
    }

    fn read(&self, bits: &[bool]) -> i128 {
        let one = |at: usize| i128::from(bits.get(at).copied().unwrap_or(false));
        let raw = (self.at..self.at + self.width).fold(0, |sum, at| sum * 2 + one(at));
        if self.signed && one(self.at) == 1 { raw - (1 << self.width) } else { raw }
    }

    fn write(&self, bits: &mut [bool], value: i128) {
        for at in 0..self.width {
            bits[self.at + at] = value >> (self.width - 1 - at) & 1 == 1;
        }
    }

    /// The number that stands there in the end; nothing if it has no place.
    fn fitted(&self, value: i128, overflow: &[u8]) -> Option<i128> {
        let range: i128 = 1 << self.width;
        let least = if self.signed { -range / 2 } else { 0 };
        let most = least + range - 1;
        if value >= least && value <= most {
            return Some(value);
        }
        match overflow.to_ascii_lowercase().as_slice() {
            b"sat" => Some(if value < least { least } else { most }),
            b"fail" => None,
            _ => Some((value - least).rem_euclid(range) + least),
        }
    }
}

fn whole(value: i128) -> Answer {
    Answer::Int(i64::try_from(value).expect("fields have at most 64 bits"))
}

fn offset(text: &[u8]) -> Option<usize> {
    integer(text).and_then(|at| usize::try_from(at).ok()).filter(|at| *at < 1 << 32)
}

fn bad_offset() -> Answer {
    error("ERR bit offset is not an integer or out of range")
}

/// The bits that a range names, in order, and where each stands; an error if it is none.
fn chosen(found: &[bool], start: &[u8], end: Option<&[u8]>, unit: Option<&[u8]>) -> Result<Vec<usize>, Answer> {
    let each = if unit.is_some_and(|unit| unit.eq_ignore_ascii_case(b"bit")) { 1 } else { 8 };
    let len = i64::try_from(found.len() / each).expect("models are small");
    let (Some(start), Some(end)) = (integer(start), end.map_or(Some(-1), integer)) else {
        return Err(not_an_integer());
    };
    let from_end = |at: i64| if at < 0 { (at + len).max(0) } else { at };
    let (start, end) = (from_end(start), from_end(end));
    let unit_of = |bit: usize| i64::try_from(bit / each).expect("models are small");
    Ok((0..found.len()).filter(|bit| (start..=end).contains(&unit_of(*bit))).collect())
}

fn counted(found: &[bool], words: &[&[u8]]) -> Answer {
    if words.len() == 3 {
        return error("ERR syntax error");
    }
    if words.len() == 2 {
        return count(found.iter().filter(|bit| **bit).count());
    }
    if let (Some(start), Some(end)) = (integer(words[2]), integer(words[3]))
        && start < 0
        && end < 0
        && start > end
    {
        return Answer::Int(0);
    }
    match chosen(found, words[2], Some(words[3]), words.get(4).copied()) {
        Ok(bits) => count(bits.into_iter().filter(|bit| found[*bit]).count()),
        Err(refused) => refused,
    }
}

fn position(found: &[bool], words: &[&[u8]]) -> Answer {
    let start = words.get(3).copied().unwrap_or(b"0");
    let end = words.get(4).copied();
    let bits = match chosen(found, start, end, words.get(5).copied()) {
        Ok(bits) => bits,
        Err(refused) => return refused,
    };
    let wanted = words[2] == b"1";
    match bits.iter().find(|bit| found[**bit] == wanted) {
        Some(bit) => count(*bit),
        // A string without an end given goes on in zeros, unless it begins behind its own end.
        None if !wanted && end.is_none() && !bits.is_empty() => count(found.len()),
        None => Answer::Int(-1),
    }
}
