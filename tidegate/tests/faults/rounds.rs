//! A round: load, a fault, its end, service without help, and a verdict. And the table of all rounds.

use crate::kinds::Kind;
use crate::load::{Outcome, under_load};
use crate::nodes::Nodes;
use base::rng::Rng;
use history::{Verdict, check, lines, report};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the checker may search a round.
const CHECK_TIME_MAX: Duration = Duration::from_secs(60);

/// All rounds of a kind.
#[derive(Debug, Default)]
struct Row {
    rounds: u64,
    operations: usize,
    acknowledged: usize,
    unknown: usize,
    refused: BTreeMap<String, u64>,
    lost: usize,
    gap_of_shard: Duration,
    gap_of_writer: Duration,
    /// From the end of the fault to service on every node.
    back: Duration,
    /// Rounds whose history has no order, or none that was found in time.
    broken: Vec<PathBuf>,
}

/// What came of it all.
#[derive(Debug, Default)]
pub struct Table(BTreeMap<Kind, Row>);

impl Table {
    /// Runs a round and writes it down. On failure its history stays in `evidence`.
    pub fn round(&mut self, nodes: &mut Nodes, kind: Kind, seed: u64, evidence: &Path) {
        let mut rng = Rng::new(seed);
        let mut back = Duration::ZERO;
        let prefix = format!("{kind:?}-{seed}");
        let outcome = under_load(&prefix, seed, |pace| {
            pace.wait(Duration::from_millis(700));
            kind.happen(nodes, &mut rng, pace);
            back = nodes.await_service();
            pace.wait(Duration::from_millis(300));
        });
        println!(
            "{}, round {seed}: {} operations, {} writes acknowledged, {} lost, longest gap {:?}, back in {back:?}",
            kind.name(),
            outcome.history.len(),
            outcome.acknowledged(),
            outcome.lost.len(),
            outcome.gap_of_shard
        );
        let row = self.0.entry(kind).or_default();
        row.rounds += 1;
        row.back = row.back.max(back);
        row.add(&outcome);
        let history = outcome.history();
        let until = Instant::now() + CHECK_TIME_MAX;
        let verdict = check(&history, || Instant::now() < until);
        if matches!(verdict, Verdict::Linearizable(_)) && outcome.lost.is_empty() {
            return;
        }
        let path = evidence.join(format!("{prefix}.jsonl"));
        let text: String = history.operations().iter().map(|one| lines::write(one) + "\n").collect();
        std::fs::write(&path, text).expect("a history can be written");
        let replay = format!("tidegate check {}", path.display());
        println!("{prefix}: lost {:?}\n{}again by: {replay}", outcome.lost, report::text(&history, &verdict));
        if !matches!(verdict, Verdict::Linearizable(_)) {
            row.broken.push(path);
        }
    }

    /// Prints the table, and fails if anything in it is wrong.
    pub fn conclude(&self) {
        println!(
            "| fault | rounds | operations | acknowledged writes | unknown | refused | lost | longest gap of a shard | of a client | serves again within | linearizable |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|---|");
        for (kind, row) in &self.0 {
            println!("| {} | {} |", kind.name(), row.cells());
        }
        for (kind, row) in &self.0 {
            assert_eq!(row.lost, 0, "{}: acknowledged writes are lost", kind.name());
            assert!(row.broken.is_empty(), "{}: {:?}", kind.name(), row.broken);
            assert!(row.acknowledged > 100, "{}: a round in which nothing happens doesn't count", kind.name());
        }
    }
}

impl Row {
    fn add(&mut self, outcome: &Outcome) {
        self.operations += outcome.history.len();
        self.acknowledged += outcome.acknowledged();
        self.unknown += outcome.unknown();
        self.lost += outcome.lost.len();
        self.gap_of_shard = self.gap_of_shard.max(outcome.gap_of_shard);
        self.gap_of_writer = self.gap_of_writer.max(outcome.gap_of_writer);
        for (code, count) in &outcome.refused {
            *self.refused.entry(code.clone()).or_default() += count;
        }
    }

    fn cells(&self) -> String {
        let refused: Vec<String> = self.refused.iter().map(|(code, count)| format!("{code} {count}")).collect();
        format!(
            "{} | {} | {} | {} | {} | {} | {:.2} s | {:.2} s | {:.2} s | {}",
            self.rounds,
            self.operations,
            self.acknowledged,
            self.unknown,
            if refused.is_empty() { "0".to_owned() } else { refused.join(", ") },
            self.lost,
            self.gap_of_shard.as_secs_f64(),
            self.gap_of_writer.as_secs_f64(),
            self.back.as_secs_f64(),
            if self.broken.is_empty() { "yes" } else { "no" },
        )
    }
}
