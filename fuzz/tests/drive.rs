//! The seeded driver over every target: `FUZZ_COUNT` inputs each (2,000), from `FUZZ_SEED` (1).

use fuzz::{TARGETS, drive};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn no_target_panics() {
    for target in &TARGETS {
        drive(target, number("FUZZ_SEED", 1), number("FUZZ_COUNT", 2000));
        println!("{}: clean", target.name);
    }
}
