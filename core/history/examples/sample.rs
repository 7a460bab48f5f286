//! Writes a history made from a seed as JSON lines, to measure the checker and to try it:
//! `cargo run --release -p history --example sample -- OPERATIONS KEYS CLIENTS UNKNOWN_PER_MILLE TIED_PER_MILLE SEED [FLAW]`.

use history::lines;
use history::sample::{Flaw, Sample};
use std::io::{BufWriter, Write};

#[allow(clippy::disallowed_methods, reason = "an example is a program, not core")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [operations, keys, clients, unknown, tied, seed, flaw @ ..] = words.as_slice() else {
        return Err(
            "OPERATIONS KEYS CLIENTS UNKNOWN_PER_MILLE TIED_PER_MILLE SEED [stale-read | lost-write | undone-write]"
                .into(),
        );
    };
    let operations = operations.parse()?;
    let flaw = match flaw.first().map(String::as_str) {
        None => None,
        Some("stale-read") => Some(Flaw::StaleRead),
        Some("lost-write") => Some(Flaw::LostWrite),
        Some("undone-write") => Some(Flaw::UndoneWrite),
        Some(other) => return Err(format!("no flaw is called {other}").into()),
    };
    let sample = Sample {
        operations,
        keys: keys.parse()?,
        clients: clients.parse()?,
        unknown_per_mille: unknown.parse()?,
        tied_per_mille: tied.parse()?,
        flaw: flaw.map(|flaw| (flaw, operations / 2)),
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    for operation in sample.history(seed.parse()?).operations() {
        writeln!(out, "{}", lines::write(operation))?;
    }
    Ok(out.flush()?)
}
