//! Which command is tried by what: docs/commands.md, held true. Run it with `UPDATE=1` to write the file anew.

use base::rng::Rng;
use data::command::{self, Command};
use data::{Run, command::scripts::Kind};
use sim::workload::{DATABASES, Habits, Workload};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Commands that redis-py's own tests call, by name.
const CONFORMANCE: &str = include_str!("coverage/redis-py.txt");
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/commands.md");
const DRAWS: usize = 60_000;

/// What simulated clients ask: each answer is compared with the model's, and so is the state behind it.
fn drawn() -> BTreeSet<String> {
    let mut rng = Rng::new(1);
    let habits = Habits {
        cross_one_in: 10,
        large_one_in: 1_000_000,
        large_bytes_max: 2,
        flush_one_in: 50,
        ttl_ms_max: 1_000,
        multi_one_in: 10,
    };
    let mut workload = Workload::new(habits);
    let mut names: BTreeSet<String> = ["multi", "exec", "watch", "once", "fence"].map(str::to_owned).into();
    for _ in 0..DRAWS {
        let db = u8::try_from(rng.below(u64::from(DATABASES))).expect("few databases");
        let asked = [
            workload.draw(&mut rng, db, None, true),
            workload.wait(&mut rng, db, None),
            workload.serve(&mut rng, db, None),
            workload.fill(&mut rng, db, None),
        ];
        names.extend(asked.iter().map(sim::oracle::Asked::name));
    }
    names
}

/// Where a command is run, for people.
fn place(command: &Command) -> &'static str {
    match command.run {
        Run::Read(_) | Run::Write(_) => "shard",
        Run::Scatter(_) => "every shard",
        Run::Script(script) if script.kind == Kind::Function => "shard, as a function",
        Run::Script(_) => "shard, as a script",
        Run::Session => "connection",
        Run::Node => "node",
        Run::Everywhere => "every node",
        Run::Lock => "voters of locks",
        Run::Prefix(_) => "shard, before another command",
    }
}

fn table() -> String {
    let (drawn, conformance) = (drawn(), CONFORMANCE.lines().collect::<BTreeSet<_>>());
    let mut rows: Vec<&Command> =
        command::all().filter(|row| !row.name.contains(['|', '.']) || row.group == "locks").collect();
    rows.sort_by_key(|row| (row.group, row.name));
    let mut text = String::from(
        "# Commands, and what tries them\n\n\
         `sim/tests/coverage.rs` keeps this file true. *Model*: simulated clients draw it, through crashes and changes of leaders, and each answer and the \
         state behind it are compared with a slow, obvious model (PROOF.md). *redis-py*: that library's own tests call it. Commands of the connection and of the \
         node are no state of a shard; tests of processes and sessions are about them.\n\n\
         | command | group | runs in | model | redis-py |\n|---|---|---|---|---|\n",
    );
    let tick = |yes: bool| if yes { "yes" } else { "" };
    for row in rows {
        let (model, called) = (tick(drawn.contains(row.name)), tick(conformance.contains(row.name)));
        let _ = writeln!(text, "| {} | {} | {} | {model} | {called} |", row.name.to_uppercase(), row.group, place(row));
    }
    text
}

#[test]
fn the_table_of_commands_says_what_tries_them() {
    let (table, kept) = (table(), std::fs::read_to_string(FILE).unwrap_or_default());
    if std::env::var_os("UPDATE").is_some() {
        return std::fs::write(FILE, table).unwrap();
    }
    assert!(table == kept, "docs/commands.md is not true any more: UPDATE=1 cargo test -p sim --test coverage");
}

/// Commands of a shard that the model doesn't know, each for a reason.
const UNDRAWN: &[(&str, &str)] = &[
    ("cluster", "a map, not a key"),
    ("object", "what a node notes of keys' uses, and names of encodings: tables of core/data"),
    ("pfdebug", "how a sketch is drawn: tables of core/data"),
    ("pfselftest", "no state"),
    ("restore-asking", "RESTORE"),
    ("time", "the clock"),
];

#[test]
fn every_command_of_a_shard_is_compared_with_the_model() {
    let drawn = drawn();
    let missing: Vec<&str> = command::all()
        .filter(|row| matches!(row.run, Run::Read(_) | Run::Write(_)) && !row.name.contains(['|', '.']))
        .map(|row| row.name)
        .filter(|name| !drawn.contains(*name))
        .collect();
    let excused: Vec<&str> = UNDRAWN.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        missing.into_iter().collect::<BTreeSet<_>>(),
        excused.into_iter().collect(),
        "tried by no simulated client"
    );
}
