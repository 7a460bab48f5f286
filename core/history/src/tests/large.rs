//! Histories as large as recorded ones. Configurations are counted, not seconds: they are the same on every machine.

use crate::sample::{Flaw, Sample};
use crate::{Verdict, check, configurations};

/// A hundred thousand operations of sixteen clients.
pub(super) const LARGE: Sample = Sample {
    operations: 100_000,
    keys: 100,
    clients: 16,
    unknown_per_mille: 10,
    tied_per_mille: 0,
    flaw: None,
};

fn probe(name: &str, sample: Sample, seed: u64) {
    let history = sample.history(seed);
    let begun = std::time::Instant::now();
    let verdict = check(&history, configurations(10_000_000));
    let size = if let Verdict::Violation(v, _) = &verdict { v.operations.len() } else { 0 };
    let hard = if let Verdict::Undecided(h, _) = &verdict { format!("{h:?}") } else { String::new() };
    println!("{name} {seed}: {} {:?} {size} {:.2}s {}", verdict.name(), verdict.counts(), begun.elapsed().as_secs_f64(), hard.chars().take(300).collect::<String>());
}

#[test]
fn probes() {
    for seed in 0..2 {
        for keys in [1, 2] {
            for clients in [16, 64] {
                for unknown in [0, 10] {
                    let s = Sample { keys, clients, unknown_per_mille: unknown, ..LARGE };
                    probe(&format!("{keys} {clients} {unknown}"), s, seed);
                    for flaw in [Flaw::StaleRead, Flaw::LostWrite, Flaw::UndoneWrite] {
                        probe(&format!("{keys} {clients} {unknown} {flaw:?}"), Sample { flaw: Some((flaw, 50_000)), ..s }, seed);
                    }
                }
            }
        }
    }
}

#[test]
fn one() {
    let history = Sample { keys: 2, clients: 16, unknown_per_mille: 0, ..LARGE }.history(0);
    if let Verdict::Violation(v, _) = check(&history, configurations(10_000_000)) {
        for e in &v.operations {
            println!("{:?} {}", e, crate::lines::write(&history.operations()[e.op.0]));
        }
        for o in history.operations() { if o.command.to_string().contains("99891") { println!("{}", crate::lines::write(o)); } }
        println!("{:?} {:?} {} {:?}", v.start, v.order, v.stuck, v.extent);
    }
}
