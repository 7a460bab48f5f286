//! Messages to all who listen, and questions about them: to every lane of every node, and the answers put together.
//!
//! A message goes to each lane and each linked node once, outside of any log, in the order in which it was published; what a
//! link loses is not sent again. Every lane counts those of its own clients who get it, so the reply to PUBLISH counts the
//! whole cluster's. Each node answers for all of its lanes.
//!
//! A node whose link breaks counts for nothing. One that is linked and silent is waited for once, and not again before it
//! has answered something: a process that was stopped doesn't slow all publishers down.

use crate::lane::Lane;
use crate::outbox::{LaneMessage, Now, Outbox};
use crate::peer::PeerMessage;
use crate::topics::Topics;
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use base::limits::ARGS_COUNT_MAX;
use base::{ClientId, Instant, LaneId, NodeId};
use bytes::Bytes;
use data::Reply;
use data::command::pubsub::{Everywhere, Message, Topic};
use std::collections::{BTreeMap, BTreeSet};

/// Questions that wait for answers.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    /// The number of the last one.
    last: u64,
    running: BTreeMap<u64, Question>,
    /// Nodes that have left a question unanswered.
    silent: BTreeSet<NodeId>,
}

#[derive(Debug)]
struct Question {
    what: Everywhere,
    asker: Asker,
    answers: Vec<Reply>,
    /// Lanes of this node, and nodes, whose answers are awaited.
    lanes: usize,
    nodes: Vec<NodeId>,
    since: Instant,
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All lanes of all nodes.
    Cluster,
    /// All lanes of this node.
    Node,
}

/// Whom a lane passes a question on to.
#[derive(Clone, Copy)]
struct Onward {
    /// The other lanes of its node.
    lanes: bool,
    /// The nodes that it is linked to: on most lanes there are none.
    nodes: bool,
}

/// Who wants the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    Client(ClientId, u64),
    /// Another lane of this node, under its own number.
    Lane(LaneId, u64),
    Node(NodeId, u64),
    Nobody,
}

/// The number of a question whose answer nobody wants.
const NOBODYS: u64 = 0;
/// Answers are waited for so long: a heartbeat's time many times over.
const PATIENCE_MS: u64 = 500;

impl Lane {
    /// What clients of this lane listen to.
    #[must_use]
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// The same, for a client to listen or to stop.
    pub fn topics_mut(&mut self) -> &mut Topics {
        &mut self.topics
    }

    /// PUBLISH and its like, of a client of this lane; its earlier commands are answered.
    pub fn on_everywhere(
        &mut self,
        now: Now,
        (client, seq): (ClientId, u64),
        what: Everywhere,
        reach: Reach,
        out: &mut Outbox,
    ) {
        let onward = Onward { lanes: true, nodes: reach == Reach::Cluster };
        self.ask(now, Asker::Client(client, seq), what, onward, out);
    }

    /// Sends a message to all who listen, in the whole cluster, when nobody waits to hear how many those are: so a script's
    /// messages leave when it is committed.
    pub fn publish(&mut self, now: Now, message: Message, out: &mut Outbox) {
        self.ask(now, Asker::Nobody, Everywhere::Publish(message), Onward { lanes: true, nodes: true }, out);
    }

    /// The same question, or message, from another lane of this node.
    pub(crate) fn on_lane_asks(
        &mut self,
        now: Now,
        (from, number): (LaneId, u64),
        what: Everywhere,
        reach: Reach,
        out: &mut Outbox,
    ) {
        let asker = if number == NOBODYS { Asker::Nobody } else { Asker::Lane(from, number) };
        self.ask(now, asker, what, Onward { lanes: false, nodes: reach == Reach::Cluster }, out);
    }

    /// The same from another node.
    pub(crate) fn on_node_asks(&mut self, now: Now, from: NodeId, number: u64, what: Everywhere, out: &mut Outbox) {
        let asker = if number == NOBODYS { Asker::Nobody } else { Asker::Node(from, number) };
        self.ask(now, asker, what, Onward { lanes: true, nodes: false }, out);
    }

    /// Another lane has answered.
    pub(crate) fn on_lane_answers(&mut self, number: u64, answer: Reply, out: &mut Outbox) {
        if let Some(question) = self.questions.running.get_mut(&number) {
            question.answers.push(answer);
            question.lanes -= 1;
            self.end_question(number, out);
        }
    }

    /// Another node has answered.
    pub(crate) fn on_node_answers(&mut self, from: NodeId, number: u64, answer: Reply, out: &mut Outbox) {
        self.questions.silent.remove(&from);
        let Some(question) = self.questions.running.get_mut(&number) else { return };
        if let Some(at) = question.nodes.iter().position(|node| *node == from) {
            question.nodes.swap_remove(at);
            question.answers.push(answer);
            self.end_question(number, out);
        }
    }

    /// A question could not be sent to a node.
    pub fn on_unasked(&mut self, node: NodeId, number: u64, out: &mut Outbox) {
        if let Some(question) = self.questions.running.get_mut(&number) {
            question.nodes.retain(|one| *one != node);
            self.end_question(number, out);
        }
    }

    /// The link to a node broke: it will not answer.
    pub(crate) fn expect_no_answers(&mut self, from: NodeId, out: &mut Outbox) {
        self.questions.silent.remove(&from);
        for number in self.questions.running.keys().copied().collect::<Vec<_>>() {
            let question = self.questions.running.get_mut(&number).expect("it was just there");
            question.nodes.retain(|node| *node != from);
            self.end_question(number, out);
        }
    }

    /// Answers that take too long are not waited for any more.
    pub(crate) fn give_up_questions(&mut self, now: Now, out: &mut Outbox) {
        // Numbers rise with time.
        while let Some((number, question)) = self.questions.running.first_key_value()
            && now.boot >= question.since.plus_ms(PATIENCE_MS)
        {
            let number = *number;
            let question = self.questions.running.get_mut(&number).expect("it was just there");
            self.questions.silent.extend(question.nodes.drain(..));
            question.lanes = 0;
            self.end_question(number, out);
        }
    }

    fn ask(&mut self, now: Now, asker: Asker, what: Everywhere, onward: Onward, out: &mut Outbox) {
        let me = self.config.lane;
        let own = self.topics.answer(&what);
        if let Everywhere::Publish(message) = &what
            && own != Reply::Int(0)
        {
            out.messages.push(message.clone());
        }
        let number = if asker == Asker::Nobody { NOBODYS } else { self.questions.last + 1 };
        let reach = if onward.nodes { Reach::Cluster } else { Reach::Node };
        let mut lanes = 0;
        // A lane without links leaves the other nodes to the one that has them: what comes from a lane goes on from there.
        for lane in self.config.routing.lanes().filter(|lane| onward.lanes && *lane != me) {
            out.sends.push((lane, LaneMessage::Everywhere { from: me, number, what: what.clone(), reach }));
            lanes += 1;
        }
        let mut nodes = Vec::new();
        for node in self.spread.linked().filter(|_| onward.nodes) {
            out.peers.push((node, PeerMessage::Everywhere { number, what: what.clone() }));
            nodes.extend(Some(node).filter(|node| !self.questions.silent.contains(node)));
        }
        if asker != Asker::Nobody {
            let question = Question { what, asker, answers: vec![own], lanes, nodes, since: now.boot };
            self.questions.last = number;
            self.questions.running.insert(number, question);
            self.end_question(number, out);
        }
    }

    /// Tells the asker, if nothing more is awaited.
    fn end_question(&mut self, number: u64, out: &mut Outbox) {
        let done = |question: &Question| question.lanes == 0 && question.nodes.is_empty();
        if !self.questions.running.get(&number).is_some_and(done) {
            return;
        }
        let Some(Question { what, asker, answers, .. }) = self.questions.running.remove(&number) else { return };
        let all = what.combine(answers);
        match asker {
            Asker::Client(client, seq) => out.replies.push((client, seq, what.reply(all))),
            Asker::Lane(lane, number) => out.sends.push((lane, LaneMessage::EverywhereAnswer { number, answer: all })),
            Asker::Node(node, number) => out.peers.push((node, PeerMessage::EverywhereAnswer { number, answer: all })),
            Asker::Nobody => {}
        }
    }
}

const PUBLISH: u8 = 1;
const CHANNELS: u8 = 2;
const CHANNELS_LIKE: u8 = 3;
const LISTENERS: u8 = 4;
const PATTERNS: u8 = 5;

/// Appends what is for every lane.
pub(crate) fn put(out: &mut Vec<u8>, what: &Everywhere) {
    match what {
        Everywhere::Publish(Message { topic, channel, payload }) => {
            out.extend_from_slice(&[PUBLISH, topic_code(*topic)]);
            put_bytes(out, channel);
            put_bytes(out, payload);
        }
        Everywhere::Channels { topic, pattern: None } => out.extend_from_slice(&[CHANNELS, topic_code(*topic)]),
        Everywhere::Channels { topic, pattern: Some(pattern) } => {
            out.extend_from_slice(&[CHANNELS_LIKE, topic_code(*topic)]);
            put_bytes(out, pattern);
        }
        Everywhere::Listeners { topic, channels } => {
            out.extend_from_slice(&[LISTENERS, topic_code(*topic)]);
            put_varint(out, channels.len() as u64);
            channels.iter().for_each(|name| put_bytes(out, name));
        }
        Everywhere::Patterns => out.push(PATTERNS),
    }
}

/// Takes it off the front of `reader`, which reads in `frame`.
pub(crate) fn read(reader: &mut Reader<'_>, frame: &Bytes) -> Result<Everywhere, DecodeError> {
    let bytes = |reader: &mut Reader<'_>| reader.bytes().map(|bytes| frame.slice_ref(bytes));
    Ok(match reader.u8()? {
        PUBLISH => {
            let topic = read_topic(reader)?;
            Everywhere::Publish(Message { topic, channel: bytes(reader)?, payload: bytes(reader)? })
        }
        CHANNELS => Everywhere::Channels { topic: read_topic(reader)?, pattern: None },
        CHANNELS_LIKE => Everywhere::Channels { topic: read_topic(reader)?, pattern: Some(bytes(reader)?) },
        LISTENERS => {
            let (topic, count) = (read_topic(reader)?, reader.varint()?);
            if count > ARGS_COUNT_MAX as u64 {
                return Err(DecodeError::Overlong);
            }
            let channels = (0..count).map(|_| bytes(reader)).collect::<Result<Vec<_>, _>>()?;
            Everywhere::Listeners { topic, channels }
        }
        PATTERNS => Everywhere::Patterns,
        other => return Err(DecodeError::Unknown(u64::from(other))),
    })
}

fn topic_code(topic: Topic) -> u8 {
    match topic {
        Topic::Channel => 0,
        Topic::Pattern => 1,
        Topic::Shard => 2,
    }
}

fn read_topic(reader: &mut Reader<'_>) -> Result<Topic, DecodeError> {
    match reader.u8()? {
        0 => Ok(Topic::Channel),
        1 => Ok(Topic::Pattern),
        2 => Ok(Topic::Shard),
        other => Err(DecodeError::Unknown(u64::from(other))),
    }
}
