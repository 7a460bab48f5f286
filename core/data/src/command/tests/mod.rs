//! Commands as people type them, their replies and their events as text.

mod events;
mod fill;
mod geo;
mod hashes;
mod lcs;
mod lists;
mod sets;
mod sort;
mod types;
mod zsets;

use super::{all, by_id, find, keyless};
use crate::keyspace::{Class, Listening};
use crate::{Context, Keyspace, Refused, Reply, Run};
use base::{Index, Stamp};

/// A keyspace and its time.
pub(super) struct Bench {
    keyspace: Keyspace,
    now_ms: u64,
    entries: u64,
}

impl Bench {
    pub(super) fn new() -> Self {
        let mut keyspace = Keyspace::new((1, 2));
        keyspace.listen(Listening { events: true, ..Listening::default() });
        let mut bench = Self { keyspace, now_ms: 1_000_000, entries: 0 };
        bench.wait(0);
        bench
    }

    /// Time passes, and nothing that is dead is removed.
    pub(super) fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        self.entries += 1;
        self.keyspace.advance(Stamp(self.now_ms), Index(self.entries));
    }

    /// Runs a command whose words are separated by blanks; `""` is the empty word.
    pub(super) fn run(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().map(|word| if word == "\"\"" { "" } else { word }).collect();
        let args: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let command = find(args[0]).unwrap_or_else(|| panic!("no command {}", words[0]));
        if !command.accepts(args.len()) {
            return shown(&Reply::Error(Refused::Arity(command.name.to_owned())));
        }
        let cx = Context::new(0, Stamp(self.now_ms));
        shown(&Reply::from(match command.run {
            Run::Read(run) => run(&self.keyspace, &cx, &args),
            Run::Write(run) => run(&mut self.keyspace, &cx, &args),
            Run::Scatter(scatter) => keyless::run(scatter, &mut self.keyspace, &cx, &args),
            other => panic!("{other:?} is not run by a shard"),
        }))
    }

    /// The events since the last call, as `event:key`, with the database before it if it is not 0.
    pub(super) fn events(&mut self) -> String {
        let shown = |one: crate::keyspace::Notice| {
            let db = if one.db == 0 { String::new() } else { format!("{}/", one.db) };
            format!("{db}{}:{}", one.event, String::from_utf8_lossy(&one.key))
        };
        self.keyspace.take_notices().into_iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    /// Runs lines of `command => reply`.
    pub(super) fn play(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (command, wanted) = line.split_once("=>").unwrap_or_else(|| panic!("{line} has no reply"));
            assert_eq!(self.run(command.trim()), wanted.trim(), "{command}");
        }
    }

    /// Runs lines of `command => events`.
    pub(super) fn play_events(&mut self, script: &str) {
        for line in script.lines().filter(|line| !line.is_empty()) {
            let (command, wanted) = line.split_once("=>").expect("each line has its events");
            self.run(command.trim());
            assert_eq!(self.events(), wanted.trim(), "{command}");
        }
    }
}

/// A reply on one line.
fn shown(reply: &Reply) -> String {
    let many = |parts: &[Reply]| format!("[{}]", parts.iter().map(shown).collect::<Vec<_>>().join(" "));
    match reply {
        Reply::Ok => "OK".to_owned(),
        Reply::Simple(text) => (*text).to_owned(),
        Reply::Nil => "nil".to_owned(),
        Reply::NilArray => "nil-array".to_owned(),
        Reply::Int(n) => n.to_string(),
        Reply::Double(n) => Reply::digits(*n),
        Reply::Decimal(n) => format!("{n:.17}").trim_end_matches('0').trim_end_matches('.').to_owned(),
        Reply::Bulk(blob) if blob.as_bytes().is_empty() => "\"\"".to_owned(),
        Reply::Bulk(blob) => String::from_utf8_lossy(blob.as_bytes()).into_owned(),
        Reply::Array(parts) | Reply::Set(parts) => many(parts),
        Reply::Strings(strings) => many(&strings.iter().map(Reply::bulk).collect::<Vec<_>>()),
        Reply::Map(pairs) => {
            let pairs: Vec<String> =
                pairs.iter().map(|(key, value)| format!("{}: {}", shown(key), shown(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Reply::Couples(pairs) => many(&pairs.iter().flat_map(|(a, b)| [a.clone(), b.clone()]).collect::<Vec<_>>()),
        Reply::Error(why) => format!("!{why}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn every_row_is_found_by_its_name_in_any_case_and_by_its_id() {
    for row in all() {
        let (upper, own) = (row.name.to_uppercase(), Some(row.id).filter(|_| !row.is_sub()));
        assert_eq!(find(upper.as_bytes()).map(|found| found.id), own, "{}", row.name);
        assert_eq!(by_id(u64::from(row.id)).map(|found| found.name), Some(row.name));
        assert_eq!(row.name, row.name.to_lowercase());
    }
    assert!(find(b"no-such-command").is_none() && find(&[b'x'; 100]).is_none() && by_id(9999).is_none());
}
