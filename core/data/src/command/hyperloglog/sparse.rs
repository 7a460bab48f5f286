//! Registers as runs, for sketches that have seen little.
//!
//! ```text
//! 00nnnnnn              n + 1 registers are zero
//! 01nnnnnn nnnnnnnn     n + 1 registers are zero
//! 1vvvvvnn              n + 1 registers are v + 1
//! ```
//!
//! How runs are split and joined when a register is raised is part of the representation: two stores that have seen the
//! same elements in the same order hold the same bytes.

use super::dense::REGISTER_COUNT;
use super::sketch::{HEADER_BYTES, corrupt};
use crate::Refused;
use smallvec::SmallVec;
use std::fmt::Write;

/// The largest register that a run can hold.
const VALUE_MAX: u8 = 32;
const RUN_OF_VALUE_MAX: usize = 4;
const RUN_OF_ZERO_MAX: usize = 64;
/// A sparse sketch that would grow beyond this becomes a dense one.
const SPARSE_BYTES_MAX: usize = 3000;
/// How many runs are looked at for joining after a change.
const JOINED_MAX: usize = 5;

/// A run of equal registers: how many, of what value, spelled in how many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    len: usize,
    value: u8,
    bytes: usize,
}

/// Up to three runs, spelled.
type Spelled = SmallVec<[u8; 8]>;

/// What became of a sparse sketch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raised {
    Yes,
    No,
    /// Nothing was done: the register has no place in a sparse sketch.
    TooLarge,
}

impl Run {
    /// The run at the front of `bytes`.
    fn read(bytes: &[u8]) -> Option<Self> {
        let first = *bytes.first()?;
        let low = usize::from(first & 0x3f);
        Some(match first >> 6 {
            0 => Self { len: low + 1, value: 0, bytes: 1 },
            1 => Self { len: (low << 8 | usize::from(*bytes.get(1)?)) + 1, value: 0, bytes: 2 },
            _ => Self { len: usize::from(first & 3) + 1, value: (first >> 2 & 0x1f) + 1, bytes: 1 },
        })
    }

    fn spell(len: usize, value: u8, out: &mut Spelled) {
        if len == 0 {
            return;
        }
        let [low, high, ..] = (len - 1).to_le_bytes();
        match value {
            0 if len <= RUN_OF_ZERO_MAX => out.push(low),
            0 => out.extend_from_slice(&[0x40 | high, low]),
            _ => out.push(0x80 | (value - 1) << 2 | low),
        }
    }
}

/// The runs of a sketch up to the first that makes no sense.
fn runs(bytes: &[u8]) -> impl Iterator<Item = Run> {
    let mut rest = &bytes[HEADER_BYTES..];
    std::iter::from_fn(move || {
        let run = Run::read(rest)?;
        rest = &rest[run.bytes..];
        Some(run)
    })
}

/// Lets every run be seen: how many registers, of what value.
pub fn each(bytes: &[u8], mut seen: impl FnMut(usize, u8)) -> Result<(), Refused> {
    let (mut registers, mut read) = (0, HEADER_BYTES);
    for run in runs(bytes) {
        registers += run.len;
        read += run.bytes;
        if registers > REGISTER_COUNT {
            break;
        }
        seen(run.len, run.value);
    }
    if registers == REGISTER_COUNT && read == bytes.len() { Ok(()) } else { Err(corrupt()) }
}

/// The runs as text: `z:` zeros of the short form, `Z:` of the long, `v:` value and how many.
pub fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for Run { len, value, bytes } in runs(bytes) {
        let blank = if text.is_empty() { "" } else { " " };
        let _ = match (value, bytes) {
            (0, 1) => write!(text, "{blank}z:{len}"),
            (0, _) => write!(text, "{blank}Z:{len}"),
            _ => write!(text, "{blank}v:{value},{len}"),
        };
    }
    text
}

/// Raises a register to `count`.
pub fn set(bytes: &mut Vec<u8>, index: usize, count: u8) -> Result<Raised, Refused> {
    if count > VALUE_MAX {
        return Ok(Raised::TooLarge);
    }
    let Some((at, before, first)) = seek(bytes, index) else { return Err(corrupt()) };
    let run = Run::read(&bytes[at..]).expect("the search has read it");
    if run.value >= count {
        return Ok(Raised::No);
    }
    let mut spelled = Spelled::new();
    Run::spell(index - first, run.value, &mut spelled);
    Run::spell(1, count, &mut spelled);
    Run::spell(first + run.len - 1 - index, run.value, &mut spelled);
    if spelled.len() > run.bytes && bytes.len() + spelled.len() - run.bytes > SPARSE_BYTES_MAX {
        return Ok(Raised::TooLarge);
    }
    bytes.splice(at..at + run.bytes, spelled);
    join(bytes, before.unwrap_or(HEADER_BYTES));
    Ok(Raised::Yes)
}

/// Where the run stands that holds a register, where the one before it, and the run's first register.
fn seek(bytes: &[u8], index: usize) -> Option<(usize, Option<usize>, usize)> {
    let (mut at, mut before, mut first) = (HEADER_BYTES, None, 0);
    loop {
        let run = Run::read(&bytes[at..])?;
        if index < first + run.len {
            return Some((at, before, first));
        }
        (before, first) = (Some(at), first + run.len);
        at += run.bytes;
    }
}

/// Joins runs of equal values from `at` on where one run can hold them.
fn join(bytes: &mut Vec<u8>, mut at: usize) {
    for _ in 0..JOINED_MAX {
        let Some(run) = Run::read(&bytes[at..]) else { return };
        let next = Run::read(&bytes[at + run.bytes..]);
        match next.filter(|next| next.value == run.value && run.value > 0) {
            Some(next) if run.len + next.len <= RUN_OF_VALUE_MAX => {
                let mut spelled = Spelled::new();
                Run::spell(run.len + next.len, run.value, &mut spelled);
                bytes.splice(at..at + 2, spelled);
            }
            _ => at += run.bytes,
        }
    }
}
