//! The model's HyperLogLogs: registers, and for small ones the list of runs that spells them.
//!
//! The bytes matter: clients read them with GET and write them to other stores. So the model keeps the runs as Redis
//! splits and joins them, in a plain list.

use super::{Model, error, wrong_type};
use crate::answer::Answer;

const REGISTERS: usize = 16_384;
const SPARSE_MOST: usize = 3000;

/// A string taken apart.
#[derive(Clone)]
struct Sketch {
    head: Vec<u8>,
    body: Body,
}

#[derive(Clone)]
enum Body {
    Dense(Vec<u8>),
    /// Value, length, and whether a run of zeros is spelled in two bytes; then a byte that begins no run.
    Sparse(Vec<(u8, usize, bool)>, Vec<u8>),
}

fn corrupt() -> Answer {
    error("INVALIDOBJ Corrupted HLL object detected")
}

impl Sketch {
    fn empty() -> Self {
        let mut head = b"HYLL\x01".to_vec();
        head.resize(16, 0);
        Self { head, body: Body::Sparse(vec![(0, REGISTERS, true)], Vec::new()) }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let dense = *bytes.get(4)? == 0;
        if bytes.len() < 16 || !bytes.starts_with(b"HYLL") || bytes[4] > 1 || dense && bytes.len() != 12_304 {
            return None;
        }
        let (head, rest) = (bytes[..16].to_vec(), &bytes[16..]);
        if dense {
            let bit = |at: usize| rest[at / 8] >> (at % 8) & 1;
            let register = |index: usize| (0..6).map(|at| bit(index * 6 + at) << at).sum();
            return Some(Self { head, body: Body::Dense((0..REGISTERS).map(register).collect()) });
        }
        let (mut runs, mut rest) = (Vec::new(), rest.to_vec());
        while let Some(first) = rest.first().copied() {
            let low = usize::from(first % 64);
            let (run, used) = match first / 64 {
                0 => ((0, low + 1, false), 1),
                1 if rest.len() == 1 => break,
                1 => ((0, low * 256 + usize::from(rest[1]) + 1, true), 2),
                _ => (((first % 128) / 4 + 1, usize::from(first % 4) + 1, false), 1),
            };
            runs.push(run);
            rest.drain(..used);
        }
        Some(Self { head, body: Body::Sparse(runs, rest) })
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = self.head.clone();
        match &self.body {
            Body::Dense(registers) => {
                let bits: Vec<u8> = registers.iter().flat_map(|value| (0..6).map(move |at| value >> at & 1)).collect();
                out.extend(bits.chunks(8).map(|eight| eight.iter().rev().fold(0, |byte: u8, bit| byte * 2 + bit)));
            }
            Body::Sparse(runs, rest) => {
                for (value, len, long) in runs {
                    let [low, high, ..] = (len - 1).to_le_bytes();
                    match (value, long) {
                        (0, true) => out.extend([64 + high, low]),
                        (0, false) => out.push(low),
                        _ => out.push(128 + (value - 1) * 4 + low),
                    }
                }
                out.extend(rest);
            }
        }
        out
    }

    /// All registers, if the runs make sense.
    fn registers(&self) -> Option<Vec<u8>> {
        match &self.body {
            Body::Dense(registers) => Some(registers.clone()),
            Body::Sparse(runs, rest) => {
                let all: Vec<u8> = runs.iter().flat_map(|(value, len, _)| vec![*value; *len]).collect();
                (all.len() == REGISTERS && rest.is_empty()).then_some(all)
            }
        }
    }

    fn make_dense(&mut self) -> Option<()> {
        self.body = Body::Dense(self.registers()?);
        self.head[4] = 0;
        Some(())
    }

    /// Raises a register; nothing if the runs make no sense.
    fn raise(&mut self, index: usize, to: u8) -> Option<bool> {
        if let Body::Sparse(runs, _) = &self.body {
            if to > 32 {
                self.make_dense()?;
                return self.raise(index, to);
            }
            let mut first = 0;
            let at = runs.iter().position(|(_, len, _)| {
                first += len;
                index < first
            })?;
            let (value, len, long) = runs[at];
            first -= len;
            if value >= to {
                return Some(false);
            }
            let piece = |value: u8, len: usize| (value, len, value == 0 && len > 64);
            let parts = [piece(value, index - first), piece(to, 1), piece(value, first + len - 1 - index)];
            let parts: Vec<(u8, usize, bool)> = parts.into_iter().filter(|(_, len, _)| *len > 0).collect();
            let size =
                |parts: &[(u8, usize, bool)]| parts.iter().map(|(_, _, long)| 1 + usize::from(*long)).sum::<usize>();
            let (old, new) = (1 + usize::from(long), size(&parts));
            if new > old && self.bytes().len() + new - old > SPARSE_MOST {
                self.make_dense()?;
                return self.raise(index, to);
            }
            let Body::Sparse(runs, _) = &mut self.body else { unreachable!("it was") };
            runs.splice(at..=at, parts);
            join(runs, at.saturating_sub(1));
            return Some(true);
        }
        let Body::Dense(registers) = &mut self.body else { unreachable!("it is not sparse") };
        let raised = registers[index] < to;
        registers[index] = registers[index].max(to);
        Some(raised)
    }
}

/// Five looks from `at` on: equal neighbours become one run of at most four.
fn join(runs: &mut Vec<(u8, usize, bool)>, mut at: usize) {
    for _ in 0..5 {
        match runs.get(at..at + 2) {
            Some([one, two]) if one.0 > 0 && one.0 == two.0 && one.1 + two.1 <= 4 => {
                runs[at].1 += runs[at + 1].1;
                runs.remove(at + 1);
            }
            _ => at += 1,
        }
    }
}

/// MurmurHash64A byte by byte, and what a sketch makes of it.
fn place(element: &[u8]) -> (usize, u8) {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let mut hash = 0xadc8_3b19 ^ (element.len() as u64).wrapping_mul(M);
    for chunk in element.chunks(8) {
        let mut word = chunk.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        if chunk.len() == 8 {
            word = word.wrapping_mul(M);
            word ^= word >> 47;
            word = word.wrapping_mul(M);
        }
        hash = (hash ^ word).wrapping_mul(M);
    }
    hash = (hash ^ hash >> 47).wrapping_mul(M);
    hash ^= hash >> 47;
    let mut ones = 1;
    while ones < 51 && hash >> (13 + ones) & 1 == 0 {
        ones += 1;
    }
    (usize::try_from(hash % 16_384).expect("small"), u8::try_from(ones).expect("small"))
}

/// Ertl's estimate, series by series.
#[expect(clippy::cast_possible_truncation, reason = "estimates are far below 2^63")]
fn estimate(registers: &[u8]) -> i64 {
    let having = |value: u8| registers.iter().filter(|one| **one == value).map(|_| 1.0).sum::<f64>();
    let m = 16_384.0;
    let zeros = having(0) / m;
    let mut z = {
        let (mut x, mut y) = ((m - having(51)) / m, 1.0_f64);
        let mut sum = if x == 0.0 || x == 1.0 { 0.0 } else { 1.0 - x };
        while sum > 0.0 {
            x = x.sqrt();
            y /= 2.0;
            let next = sum - (1.0 - x) * (1.0 - x) * y;
            if next == sum {
                break;
            }
            sum = next;
        }
        m * (sum / 3.0)
    };
    for value in (1..=50).rev() {
        z = (z + having(value)) / 2.0;
    }
    if zeros == 1.0 {
        return 0;
    }
    let mut sigma = zeros;
    let (mut x, mut y) = (zeros, 1.0);
    loop {
        x *= x;
        let next = sigma + x * y;
        y *= 2.0;
        if next == sigma {
            break;
        }
        sigma = next;
    }
    (0.721_347_520_444_481_7 * m * m / (z + m * sigma)).round() as i64
}

impl Model {
    /// A command of HyperLogLogs; nothing if it is none.
    pub(super) fn sketch(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Option<Answer> {
        Some(match name {
            "pfadd" => self.pfadd(now, db, words),
            "pfcount" => self.pfcount(now, db, &words[1..]),
            "pfmerge" => self.pfmerge(now, db, words),
            _ => return None,
        })
        .map(|outcome| outcome.unwrap_or_else(|refused| refused))
    }

    fn sketch_at(&self, now: u64, db: u8, key: &[u8]) -> Result<Option<Sketch>, Answer> {
        let Some(held) = self.get(db, key, now) else { return Ok(None) };
        if !held.value.is_string() {
            return Err(wrong_type());
        }
        let sketch = Sketch::read(&held.value.bytes());
        sketch.map(Some).ok_or_else(|| error("WRONGTYPE Key is not a valid HyperLogLog string value."))
    }

    fn keep_sketch(&mut self, now: u64, db: u8, key: &[u8], mut sketch: Sketch) {
        sketch.head[15] |= 0x80;
        let dies_at = self.get(db, key, now).and_then(|held| held.dies_at);
        self.set(db, key, &sketch.bytes(), dies_at);
    }

    fn pfadd(&mut self, now: u64, db: u8, words: &[&[u8]]) -> Result<Answer, Answer> {
        let found = self.sketch_at(now, db, words[1])?;
        let mut changed = found.is_none();
        let mut sketch = found.unwrap_or_else(Sketch::empty);
        for element in &words[2..] {
            let (index, to) = place(element);
            changed |= sketch.raise(index, to).ok_or_else(corrupt)?;
        }
        if changed {
            self.keep_sketch(now, db, words[1], sketch);
        }
        Ok(Answer::Int(i64::from(changed)))
    }

    fn union(&self, now: u64, db: u8, keys: &[&[u8]]) -> Result<(Vec<u8>, bool), Answer> {
        let (mut union, mut dense) = (vec![0; REGISTERS], false);
        for key in keys {
            let Some(sketch) = self.sketch_at(now, db, key)? else { continue };
            dense |= matches!(sketch.body, Body::Dense(_));
            let registers = sketch.registers().ok_or_else(corrupt)?;
            union = union.into_iter().zip(registers).map(|(a, b)| a.max(b)).collect();
        }
        Ok((union, dense))
    }

    fn pfcount(&self, now: u64, db: u8, keys: &[&[u8]]) -> Result<Answer, Answer> {
        if let [key] = keys
            && let Some(sketch) = self.sketch_at(now, db, key)?
            && sketch.head[15] < 128
        {
            let cached = u64::from_le_bytes(sketch.head[8..].try_into().expect("eight bytes"));
            return Ok(Answer::Int(cached.cast_signed()));
        }
        self.union(now, db, keys).map(|(registers, _)| Answer::Int(estimate(&registers)))
    }

    fn pfmerge(&mut self, now: u64, db: u8, words: &[&[u8]]) -> Result<Answer, Answer> {
        let (union, dense) = self.union(now, db, &words[1..])?;
        let mut merged = self.sketch_at(now, db, words[1])?.unwrap_or_else(Sketch::empty);
        if dense {
            merged.make_dense().ok_or_else(corrupt)?;
        }
        for (index, to) in union.into_iter().enumerate().filter(|(_, to)| *to > 0) {
            merged.raise(index, to).ok_or_else(corrupt)?;
        }
        self.keep_sketch(now, db, words[1], merged);
        Ok(Answer::ok())
    }
}
