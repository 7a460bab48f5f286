//! PFSELFTEST: whether registers hold what is put in, both encodings agree, and estimates are near.

use super::dense::{self, DENSE_BYTES, REGISTER_COUNT};
use super::sketch::{self, Encoding, Sketch};
use super::{estimate, hash};
use crate::command::Outcome;
use crate::{Context, Keyspace, Refused, Reply};
use base::rng::Rng;

/// Elements that are counted; the estimate is looked at whenever their number has doubled.
const ELEMENT_COUNT: u64 = 1 << 15;
/// Estimates are off by 0.81 percent as a rule, and by four times as much hardly ever.
const OFF_PERMILLE_MAX: u64 = 33;
const ROUNDS: u64 = 4;

pub fn pfselftest(_: &Keyspace, _: &Context, _: &[&[u8]]) -> Outcome {
    let failed = |what: &str| Err(Refused::Text(format!("TESTFAILED {what}")));
    if !registers_hold() {
        return failed("a register does not hold what was put in");
    }
    let (mut sparse, mut dense) = (sketch::empty(), sketch::to_dense(sketch::empty())?);
    for element in 0..ELEMENT_COUNT {
        let (index, count) = hash::place(&element.to_le_bytes());
        let raised = sketch::set(&mut sparse, index, count)?;
        if raised != sketch::set(&mut dense, index, count)? {
            return failed("a sparse sketch differs from a dense one");
        }
        let seen = element + 1;
        if seen.is_power_of_two() {
            let (a, b) = (Sketch::of(&sparse)?.histogram()?, Sketch::of(&dense)?.histogram()?);
            let estimate = estimate::count(&a);
            if a != b {
                return failed("a sparse sketch differs from a dense one");
            }
            if estimate.abs_diff(seen) * 1000 > seen * OFF_PERMILLE_MAX + 1000 {
                return failed("an estimate is far off");
            }
        }
    }
    let grown = Sketch::of(&sparse)?.encoding() == Encoding::Dense;
    if grown { Ok(Reply::Ok) } else { failed("a sparse sketch does not become dense") }
}

fn registers_hold() -> bool {
    let mut rng = Rng::new(ELEMENT_COUNT);
    let (mut bytes, mut model) = (vec![0; DENSE_BYTES], vec![0_u8; REGISTER_COUNT]);
    for _ in 0..ROUNDS {
        for (index, held) in model.iter_mut().enumerate() {
            let count = rng.next_u64().to_le_bytes()[0] & 0x3f;
            *held = count.max(*held);
            dense::set(&mut bytes, index, count);
        }
    }
    dense::registers(&bytes).eq(model.iter().copied())
        && (0..).zip(&model).all(|(at, held)| dense::get(&bytes, at) == *held)
}
