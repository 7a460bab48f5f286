//! Raft told as a play: a text of commands, each answered by what the replicas then say and write.
//!
//! Nothing happens by chance or by itself: time moves, disks sync and messages arrive when the script says so. The
//! scripts stand in `tests/scripts`; each block is a command and, behind `----`, what came of it.

use base::record::{Payload, Record, RecoveredEntry, RecoveredShard};
use base::rng::Rng;
use base::{Index, Instant, NodeId, ShardId, Term};
use bytes::Bytes;
use consensus::raft::{Answer, Change, Group, Membership, Message, Position, Turned};
use consensus::{Effects, Envelope, Write};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

/// The stage; see the module.
#[derive(Debug, Default)]
pub struct Stage {
    now_ms: u64,
    actors: BTreeMap<NodeId, Actor>,
    wire: VecDeque<Envelope>,
    cut: BTreeSet<(NodeId, NodeId)>,
    said: String,
}

#[derive(Debug)]
struct Actor {
    group: Option<Group>,
    voters: Vec<NodeId>,
    durable: Vec<Record>,
    unsynced: VecDeque<Write>,
}

/// Runs a script and gives it back with what came of each command.
#[must_use]
pub fn play(script: &str) -> String {
    let mut stage = Stage::default();
    let mut out = String::new();
    for block in script.split("\n\n").map(str::trim).filter(|block| !block.is_empty()) {
        let command: String =
            block.lines().take_while(|line| *line != "----").fold(String::new(), |sum, line| sum + line + "\n");
        stage.said.clear();
        for line in command.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let Err(why) = stage.perform(&words) {
                let _ = writeln!(stage.said, "can't: {why}");
            }
        }
        let separator = if command.lines().all(|line| line.starts_with('#')) { "" } else { "----\n" };
        let _ = writeln!(out, "{command}{separator}{}", stage.said);
    }
    out
}

impl Stage {
    fn perform(&mut self, words: &[&str]) -> Result<(), String> {
        match words {
            ["nodes", ids @ ..] => {
                let voters = ids.iter().map(|id| node(id)).collect::<Result<Vec<_>, _>>()?;
                voters.iter().for_each(|id| self.enter(*id, &voters));
            }
            ["join", id] => {
                let voters: Vec<NodeId> = self.actors.keys().copied().collect();
                self.enter(node(id)?, &voters);
            }
            ["time", ms] => self.now_ms += number(ms.trim_start_matches('+'))?,
            ["timer", id] => self.act(node(id)?, |group, now, out| group.on_timer(now, out))?,
            ["propose", id, text] => {
                let entry = Bytes::copy_from_slice(text.as_bytes());
                let mut index = None;
                self.act(node(id)?, |group, now, out| {
                    index = group.propose(now, entry, out);
                    Turned::default()
                })?;
                index.ok_or("it doesn't lead, or steps back")?;
            }
            ["sync", id] => self.sync(node(id)?, usize::MAX)?,
            ["sync", id, count] => self.sync(node(id)?, usize::try_from(number(count)?).map_err(|e| e.to_string())?)?,
            ["deliver", from, to] => self.deliver(node(from)?, node(to)?)?,
            ["drop", from, to] => {
                let (from, to) = (node(from)?, node(to)?);
                self.wire.retain(|one| (one.from, one.to) != (from, to));
            }
            ["cut", a, b] => {
                self.cut.extend([(node(a)?, node(b)?), (node(b)?, node(a)?)]);
            }
            ["mend"] => self.cut.clear(),
            ["settle"] => self.settle()?,
            ["crash", id] => self.crash(node(id)?)?,
            ["start", id] => self.start(node(id)?)?,
            ["read", id] => self.read(node(id)?)?,
            ["transfer", from, to] => {
                let to = node(to)?;
                self.act(node(from)?, |group, now, out| {
                    group.transfer(now, to, out);
                    Turned::default()
                })?;
            }
            ["change", id, changes @ ..] => self.change(node(id)?, changes)?,
            ["show"] => self.show(),
            other => return Err(format!("there is no command {other:?}")),
        }
        Ok(())
    }

    fn enter(&mut self, id: NodeId, voters: &[NodeId]) {
        let actor = Actor { group: None, voters: voters.to_vec(), durable: Vec::new(), unsynced: VecDeque::new() };
        self.actors.insert(id, actor);
        self.start(id).expect("it is there");
    }

    fn actor(&mut self, id: NodeId) -> Result<&mut Actor, String> {
        self.actors.get_mut(&id).ok_or(format!("there is no node {id}"))
    }

    fn start(&mut self, id: NodeId) -> Result<(), String> {
        let actor = self.actor(id)?;
        let members = Membership::of_voters(actor.voters.iter().copied());
        actor.group = Some(Group::new(id, ShardId(0), members, recover(&actor.durable), Rng::new(id.0)));
        self.act(id, |group, now, out| {
            group.start(now, out);
            Turned::default()
        })
    }

    fn crash(&mut self, id: NodeId) -> Result<(), String> {
        let actor = self.actor(id)?;
        actor.group = None;
        actor.unsynced.clear();
        Ok(())
    }

    /// One input to one replica, and what it says to that.
    fn act(
        &mut self,
        id: NodeId,
        input: impl FnOnce(&mut Group, Instant, &mut Effects) -> Turned,
    ) -> Result<(), String> {
        let now = Instant(0).plus_ms(self.now_ms);
        let mut group = self.actor(id)?.group.take().ok_or(format!("{id} is down"))?;
        let mut out = Effects::default();
        let turned = input(&mut group, now, &mut out);
        if turned.elected {
            let _ = writeln!(self.said, "{id} leads in {}", group.term());
            group.propose(now, Bytes::from_static(b"first"), &mut out);
        }
        if turned.deposed {
            let _ = writeln!(self.said, "{id} leads no more");
        }
        while let Some((index, entry)) = group.next_committed() {
            let _ = writeln!(self.said, "{id} applies {index} {}", String::from_utf8_lossy(&entry));
        }
        self.actor(id)?.group = Some(group);
        for write in out.writes {
            let _ = writeln!(self.said, "{id} writes {}", told_record(&write.record));
            self.actor(id)?.unsynced.push_back(write);
        }
        out.messages.into_iter().for_each(|envelope| self.send(envelope));
        Ok(())
    }

    fn send(&mut self, envelope: Envelope) {
        let Envelope { from, to, message, .. } = &envelope;
        let lost = if self.cut.contains(&(*from, *to)) { " (cut)" } else { "" };
        let _ = writeln!(self.said, "{from}->{to} {}{lost}", told(message));
        if lost.is_empty() {
            self.wire.push_back(envelope);
        }
    }

    fn sync(&mut self, id: NodeId, count: usize) -> Result<(), String> {
        let actor = self.actor(id)?;
        let count = count.min(actor.unsynced.len());
        let synced: Vec<Write> = actor.unsynced.drain(..count).collect();
        actor.durable.extend(synced.iter().map(|write| write.record.clone()));
        for envelope in synced.into_iter().flat_map(|write| write.then) {
            if envelope.to == id {
                self.act(id, |group, now, out| group.on_message(now, id, envelope.message, out))?;
            } else {
                self.send(envelope);
            }
        }
        Ok(())
    }

    fn deliver(&mut self, from: NodeId, to: NodeId) -> Result<(), String> {
        let (arrived, left): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.wire).into_iter().partition(|one| (one.from, one.to) == (from, to));
        self.wire = left;
        for envelope in arrived {
            self.act(to, |group, now, out| group.on_message(now, from, envelope.message, out))?;
        }
        Ok(())
    }

    /// All syncs and messages, until nothing is left to do.
    fn settle(&mut self) -> Result<(), String> {
        for _ in 0..1000 {
            let ids: Vec<NodeId> = self.actors.keys().copied().collect();
            for id in &ids {
                if self.actors[id].group.is_some() {
                    self.sync(*id, usize::MAX)?;
                }
            }
            let Some(envelope) = self.wire.pop_front() else {
                if self.actors.values().all(|actor| actor.unsynced.is_empty()) {
                    return Ok(());
                }
                continue;
            };
            let Envelope { from, to, message, .. } = envelope;
            if self.actors[&to].group.is_some() {
                self.act(to, |group, now, out| group.on_message(now, from, message, out))?;
            }
        }
        Err("it never settles".to_owned())
    }

    fn read(&mut self, id: NodeId) -> Result<(), String> {
        let now = Instant(0).plus_ms(self.now_ms);
        let group = self.actor(id)?.group.as_mut().ok_or("it is down")?;
        if group.may_read(now) {
            let _ = writeln!(self.said, "{id} reads at once");
            return Ok(());
        }
        let mut ticket = None;
        self.act(id, |group, now, out| {
            ticket = group.begin_read(now, out);
            Turned::default()
        })?;
        let answer = if ticket.is_some() { "asks a quorum" } else { "may not read" };
        let _ = writeln!(self.said, "{id} {answer}");
        Ok(())
    }

    fn change(&mut self, id: NodeId, words: &[&str]) -> Result<(), String> {
        let change = |pair: &[&str]| match pair {
            ["add", who] => Ok(Change::AddLearner(node(who)?)),
            ["promote", who] => Ok(Change::Promote(node(who)?)),
            ["remove", who] => Ok(Change::Remove(node(who)?)),
            other => Err(format!("there is no change {other:?}")),
        };
        let changes = words.chunks(2).map(change).collect::<Result<Vec<_>, String>>()?;
        let mut refused = None;
        self.act(id, |group, now, out| {
            refused = group.change(now, &changes, out).err();
            Turned::default()
        })?;
        if let Some(refused) = refused {
            let _ = writeln!(self.said, "refused: {refused:?}");
        }
        Ok(())
    }

    fn show(&mut self) {
        for (id, actor) in &self.actors {
            let _ = match &actor.group {
                None => writeln!(self.said, "{id}: down"),
                Some(group) => {
                    let role = if group.leads() { "leads" } else { "follows" };
                    let (last, commit) = (told_position(group.last()), group.commit());
                    writeln!(self.said, "{id}: {role} in {}, log ends at {last}, committed {commit}", group.term())
                }
            };
        }
    }
}

fn node(word: &str) -> Result<NodeId, String> {
    number(word).map(NodeId)
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("'{word}' is no number"))
}

fn told(message: &Message) -> String {
    let answer = |answer: &Answer| if *answer == Answer::Granted { "yes" } else { "no" };
    match message {
        Message::PreVote { term, last } => format!("PreVote in {term}, log ends at {}", told_position(*last)),
        Message::PreVoteReply { term, answer: one } => format!("PreVoteReply {} in {term}", answer(one)),
        Message::Vote { term, last, why } => format!("Vote in {term}, log ends at {}, {why:?}", told_position(*last)),
        Message::VoteReply { term, answer: one } => format!("VoteReply {} in {term}", answer(one)),
        Message::Append { term, prev, entries, commit } => {
            let first = prev.index.0 + 1;
            let entries: Vec<String> = (first..)
                .zip(entries)
                .map(|(index, entry)| format!("{index}.{}={}", entry.term, told_payload(&entry.payload)))
                .collect();
            format!("Append in {term} behind {} [{}] commit {commit}", told_position(*prev), entries.join(" "))
        }
        Message::AppendReply { term, matched } => format!("AppendReply in {term} up to {matched}"),
        Message::AppendRejected { term, asked, hint } => {
            format!("AppendRejected in {term} at {asked}, try {}", told_position(*hint))
        }
        Message::Heartbeat { term, probe, commit, .. } => format!("Heartbeat {probe} in {term} commit {commit}"),
        Message::HeartbeatReply { term, probe, matched } => {
            format!("HeartbeatReply {probe} in {term} up to {matched}")
        }
        other => format!("{other:?}"),
    }
}

fn told_record(record: &Record) -> String {
    match record {
        Record::Append { term, index, payload, .. } => format!("{index}.{term}={}", told_payload(payload)),
        Record::HardState { term, vote, .. } => {
            format!("term {term}, vote {}", vote.map_or("none".to_owned(), |vote| vote.to_string()))
        }
        other => format!("{other:?}"),
    }
}

fn told_payload(payload: &Payload) -> String {
    match payload {
        Payload::Data(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Payload::Members(bytes) => {
            let members = Membership::decode(bytes).expect("a leader wrote it");
            let list = |nodes: Vec<NodeId>| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let joint = if members.is_joint() { " joint" } else { "" };
            format!("voters {} learners {}{joint}", list(members.voters().collect()), list(members.learners().to_vec()))
        }
    }
}

fn told_position(position: Position) -> String {
    format!("{}.{}", position.index, position.term)
}

fn recover(durable: &[Record]) -> RecoveredShard {
    let mut found = RecoveredShard::default();
    for record in durable {
        match record {
            Record::Append { term, index, payload, .. } => {
                found.entries.retain(|entry| entry.index < *index);
                found.entries.push(RecoveredEntry { term: *term, index: *index, payload: payload.clone() });
            }
            Record::HardState { term, vote, .. } => (found.term, found.vote) = (*term, *vote),
            Record::SnapMark { mark, .. } => {
                found.entries.retain(|entry| entry.index > mark.index);
                found.snapshot = Some(mark.clone());
            }
            Record::Register { .. } | Record::RegisterMark { .. } | Record::Start { .. } | Record::Seal => {}
        }
    }
    let first = found.entries.first().map_or(Index(1), |entry| entry.index);
    assert!(found.snapshot.is_some() || first == Index(1) && found.term >= Term(0), "a log begins at its beginning");
    found
}
