//! Histories as large as tests can bear. Configurations are counted, not seconds: they are the same on every machine.

use crate::sample::{Flaw, Sample};
use crate::{Verdict, check, configurations};

/// Five thousand operations of sixteen clients. Larger ones are for `--example sample` and `tidegate check`.
const LARGE: Sample =
    Sample { operations: 5_000, keys: 40, clients: 16, unknown_per_mille: 20, tied_per_mille: 5, flaw: None };

fn verdict(sample: Sample, seed: u64) -> Verdict {
    check(&sample.history(seed), configurations(200_000))
}

#[test]
fn what_a_right_store_did_has_an_order() {
    for seed in 0..3 {
        let verdict = verdict(LARGE, seed);
        assert!(matches!(verdict, Verdict::Linearizable(_)), "seed {seed}: {}", verdict.name());
    }
}

#[test]
fn one_flaw_among_thousands_is_found_and_made_small() {
    for (flaw, unknown_per_mille) in [(Flaw::StaleRead, 20), (Flaw::LostWrite, 20), (Flaw::UndoneWrite, 50)] {
        let mut found = 0;
        for seed in 0..5 {
            let sample = Sample { flaw: Some((flaw, LARGE.operations / 2)), unknown_per_mille, ..LARGE };
            let Verdict::Violation(violation, _) = verdict(sample, seed) else { continue };
            assert!(violation.operations.len() <= 12, "{flaw:?}: {} operations", violation.operations.len());
            found += 1;
        }
        // A flaw may have no occasion, or an explanation.
        assert!(found >= 2, "{flaw:?} was noticed in {found} of 5 histories");
    }
}
