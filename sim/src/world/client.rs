//! A simulated client: it pipelines commands over a connection of the real RESP session and checks every reply.

use super::fences::{can_be_judged, names_a_key, words};
use super::once::Promise;
use crate::answer::{Answer, Expected};
use crate::oracle::fences::{Fences, bare};
use crate::oracle::{Asked, Watch};
use base::ClientId;
use edge::{Session, SessionConfig};
use std::collections::{BTreeMap, VecDeque};

/// A command that was sent.
#[derive(Debug)]
struct Sent {
    text: String,
    /// What it must be answered, once it has taken effect.
    expected: Option<Expected>,
    /// Its number in the session, if it went to the core.
    seq: Option<u64>,
    /// What of it would be sent again.
    promise: Option<Promise>,
    /// The database and key for which it may be given a token.
    fills: Option<(u8, Vec<u8>)>,
}

/// One connection and its client.
#[derive(Debug)]
pub struct Client {
    pub id: ClientId,
    pub session: Session,
    /// Sent and not yet taken by the session.
    pub input: Vec<u8>,
    pub output: Vec<u8>,
    /// What the client has taken of it, and not yet understood.
    taken: Vec<u8>,
    asked: VecDeque<Asked>,
    sent: VecDeque<Sent>,
    pub db: u8,
    /// Commands queued by MULTI, as the session must have them.
    queued: Option<Vec<Asked>>,
    /// What WATCH has seen.
    pub watches: Vec<Watch>,
    /// The fences of its connection.
    fences: Fences,
    /// It will have some when it has got there.
    pub will_be_fenced: bool,
    pub answered: u64,
    /// Last replies, for messages.
    seen: VecDeque<String>,
    /// Answers to what went under an id.
    kept: Vec<(Promise, Answer)>,
    /// Tokens that it was given: database, key and token.
    pub given: Vec<(u8, Vec<u8>, i64)>,
    /// The call of which somebody has said that it be let go.
    pub let_go: Option<u64>,
}

impl Client {
    /// A fresh connection.
    #[must_use]
    pub fn new(id: ClientId) -> Self {
        Self {
            id,
            session: Session::new(id, SessionConfig::default()),
            input: Vec::new(),
            output: Vec::new(),
            taken: Vec::new(),
            asked: VecDeque::new(),
            sent: VecDeque::new(),
            db: 0,
            queued: None,
            watches: Vec::new(),
            fences: Fences::new(),
            will_be_fenced: false,
            answered: 0,
            seen: VecDeque::new(),
            kept: Vec::new(),
            given: Vec::new(),
            let_go: None,
        }
    }

    /// Sends one command.
    pub fn send(&mut self, asked: Asked) {
        self.input.extend_from_slice(format!("*{}\r\n", asked.words.len()).as_bytes());
        for word in &asked.words {
            self.input.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            self.input.extend_from_slice(word);
            self.input.extend_from_slice(b"\r\n");
        }
        self.asked.push_back(asked);
    }

    /// Commands sent and not yet answered.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.asked.len() + self.sent.len()
    }

    /// The session took a command for the core: it must be the next one that was sent.
    pub fn taken(&mut self, seq: u64, name: &str, db: u8, words: &[&[u8]]) -> Asked {
        let asked = self.asked.pop_front().expect("the session makes no commands up");
        let same = asked.name() == name && asked.words.iter().map(Vec::as_slice).eq(words.iter().copied());
        assert!(same && asked.db == db, "commands_arrive_as_they_were_sent: {asked} became {name} in database {db}");
        let promise = (name == "once").then(|| promise(&asked, vec![asked.clone()]));
        let fills = (name == "getfill").then(|| (db, asked.words[1].clone()));
        self.sent.push_back(Sent { text: asked.to_string(), expected: None, seq: Some(seq), promise, fills });
        asked
    }

    /// What the core must be asked for a command: it goes under the fences of its connection, if it can be judged by them.
    pub fn under_fences(&self, mut asked: Asked, told: Option<&[&[u8]]>) -> Asked {
        if can_be_judged(&asked) {
            asked.words.splice(0..0, words(&self.fences));
        }
        let told: Vec<Vec<u8>> = told.map_or_else(
            || asked.words.clone(),
            |told| told.iter().map(|word| if *word == b"FENCE" { b"fence".to_vec() } else { word.to_vec() }).collect(),
        );
        assert_eq!(told, asked.words, "all_of_a_connection_goes_under_its_fences");
        asked
    }

    /// The session took EXEC: what it queued and watched, and the fences it goes under.
    pub fn taken_exec(&mut self, seq: u64) -> (Vec<Watch>, Vec<Asked>, Fences) {
        let asked = self.asked.pop_front().expect("the session makes no commands up");
        assert!(matches!(asked.name().as_str(), "exec" | "once" | "fence"), "commands_arrive_as_they_were_sent");
        let mut fences = bare(&asked).fences;
        let queued = self.queued.take().expect("EXEC follows MULTI");
        let promise = (asked.name() == "once").then(|| {
            let multi = Asked { db: asked.db, words: vec![b"multi".to_vec()] };
            let frames = [multi].into_iter().chain(queued.iter().cloned()).chain([asked.clone()]);
            promise(&asked, frames.collect())
        });
        let text = format!("{asked} of {}", queued.len());
        self.sent.push_back(Sent { text, expected: None, seq: Some(seq), promise, fills: None });
        let mut commands = Vec::new();
        for one in &queued {
            let one = bare(one);
            fences.extend(one.fences);
            commands.push(one.asked);
        }
        if commands.iter().any(names_a_key) {
            fences.extend(self.fences.iter().cloned());
        }
        fences.sort();
        fences.dedup();
        (std::mem::take(&mut self.watches), commands, fences)
    }

    /// The session answered a command by itself.
    pub fn answered_here(&mut self) {
        let asked = self.asked.pop_front().expect("the session makes no commands up");
        let answer = match asked.name().as_str() {
            "multi" => {
                self.queued = Some(Vec::new());
                Answer::ok()
            }
            "discard" => {
                self.queued = None;
                self.watches.clear();
                Answer::ok()
            }
            "unwatch" if self.queued.is_none() => {
                self.watches.clear();
                Answer::ok()
            }
            "fence.set" => {
                let [_, lock, number] = asked.words.as_slice() else { panic!("{asked} was sent") };
                self.fences.retain(|one| one.0 != *lock);
                self.fences.push((lock.clone(), String::from_utf8_lossy(number).parse().expect("a number")));
                Answer::ok()
            }
            "fence.clear" => {
                let before = self.fences.len();
                self.fences.retain(|one| asked.words.get(1).is_some_and(|lock| one.0 != *lock));
                Answer::Int(i64::try_from(before - self.fences.len()).expect("few locks"))
            }
            "ping" if self.queued.is_none() => Answer::Simple("PONG".to_owned()),
            "select" if self.queued.is_none() => Answer::ok(),
            _ => {
                let text = asked.to_string();
                self.queued
                    .as_mut()
                    .unwrap_or_else(|| panic!("{text} was answered by the session"))
                    .push(asked.clone());
                Answer::Simple("QUEUED".to_owned())
            }
        };
        let expected = Some(Expected::Is(answer));
        self.sent.push_back(Sent { text: asked.to_string(), expected, seq: None, promise: None, fills: None });
    }

    /// What was answered under ids.
    pub fn take_kept_promises(&mut self) -> Vec<(Promise, Answer)> {
        std::mem::take(&mut self.kept)
    }

    /// What went under ids and was not answered.
    pub fn open_promises(&mut self) -> Vec<Promise> {
        self.sent.drain(..).filter_map(|sent| sent.promise).collect()
    }

    /// What the command `seq` must be answered.
    pub fn expect(&mut self, seq: u64, expected: Expected) {
        let sent =
            self.sent.iter_mut().find(|sent| sent.seq == Some(seq)).expect("a command that took effect was sent");
        let former = sent.expected.replace(expected);
        assert!(former.is_none(), "a_command_takes_effect_once: {}", sent.text);
    }

    /// Reads replies and compares them.
    pub fn replies_are_those_of_the_model(&mut self, counts: &mut BTreeMap<String, u64>) {
        while !self.output.is_empty() {
            self.taken.append(&mut self.output);
            self.session.go_on(&mut self.output);
        }
        let mut at = 0;
        while at < self.taken.len() {
            let Some((answer, used)) = Answer::read(&self.taken[at..]) else { break };
            at += used;
            let sent = self.sent.pop_front().expect("a reply has a command");
            let Some(expected) = &sent.expected else {
                panic!("only_what_took_effect_is_answered: {} got {answer:?}", sent.text)
            };
            assert!(
                expected.allows(&answer),
                "replies_are_those_of_the_model: client {} sent {} and got {answer:?}, not {expected:?}; before it: {:#?}",
                self.id,
                sent.text,
                self.seen
            );
            self.answered += 1;
            if let (Some((db, key)), Answer::Array(parts)) = (sent.fills, &answer)
                && let [Answer::Bulk(what), _, Answer::Int(number)] = parts.as_slice()
            {
                *counts.entry(format!("getfill: {}", String::from_utf8_lossy(what))).or_default() += 1;
                if what == b"FILL" {
                    self.given.push((db, key, *number));
                }
            }
            if matches!(&answer, Answer::Error(why) if why.starts_with("FENCED ")) {
                *counts.entry("refused by a fence".to_owned()).or_default() += 1;
            }
            if matches!(answer, Answer::NilArray) {
                *counts.entry("exec aborted".to_owned()).or_default() += 1;
            } else if matches!(answer, Answer::Error(_)) {
                *counts.entry("errors".to_owned()).or_default() += 1;
            }
            self.seen.push_back(format!("{} -> {answer:?}", sent.text));
            self.kept.extend(sent.promise.map(|promise| (promise, answer)));
            if self.seen.len() > 8 {
                self.seen.pop_front();
            }
        }
        self.taken.drain(..at);
    }
}

fn promise(asked: &Asked, frames: Vec<Asked>) -> Promise {
    Promise { id: String::from_utf8_lossy(&asked.words[1]).into_owned(), frames }
}
