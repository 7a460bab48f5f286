//! Histories as large as recorded ones. Configurations are counted, not seconds: they are the same on every machine.

use crate::sample::{Flaw, Sample};
use crate::{Verdict, check, configurations};

/// A hundred thousand operations of sixteen clients.
pub(super) const LARGE: Sample =
    Sample { operations: 100_000, keys: 100, clients: 16, unknown_per_mille: 10, tied_per_mille: 0, flaw: None };

fn probe(name: &str, sample: Sample, seed: u64) {
    let history = sample.history(seed);
    let begun = std::time::Instant::now();
    let verdict = check(&history, configurations(40_000_000));
    let size = if let Verdict::Violation(v, _) = &verdict { v.operations.len() } else { 0 };
    let hard = if let Verdict::Undecided(h, _) = &verdict { format!("{h:?}") } else { String::new() };
    println!(
        "{name} {seed}: {} {:?} {size} {:.2}s {}",
        verdict.name(),
        verdict.counts(),
        begun.elapsed().as_secs_f64(),
        hard.chars().take(300).collect::<String>()
    );
}

#[test]
fn probes() {
    for seed in 0..3 {
        probe("large", LARGE, seed);
        probe("unknown 10%", Sample { unknown_per_mille: 100, ..LARGE }, seed);
        probe("64 clients", Sample { clients: 64, ..LARGE }, seed);
        probe("tied 1%", Sample { tied_per_mille: 10, ..LARGE }, seed);
        probe("tied 10%", Sample { tied_per_mille: 100, ..LARGE }, seed);
        probe("10 keys", Sample { keys: 10, ..LARGE }, seed);
        probe("4 keys", Sample { keys: 4, operations: 20_000, ..LARGE }, seed);
        probe("1 key", Sample { keys: 1, unknown_per_mille: 0, ..LARGE }, seed);
        probe("1 key", Sample { keys: 1, unknown_per_mille: 1, ..LARGE }, seed);
        for flaw in [Flaw::StaleRead, Flaw::LostWrite, Flaw::UndoneWrite] {
            probe(&format!("{flaw:?}"), Sample { flaw: Some((flaw, 50_000)), ..LARGE }, seed);
            probe(&format!("tied {flaw:?}"), Sample { tied_per_mille: 10, flaw: Some((flaw, 50_000)), ..LARGE }, seed);
            probe(
                &format!("4 keys {flaw:?}"),
                Sample { keys: 4, operations: 20_000, flaw: Some((flaw, 10_000)), ..LARGE },
                seed,
            );
        }
    }
}
