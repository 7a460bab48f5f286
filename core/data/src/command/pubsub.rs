//! Publish and subscribe: the rows, and what a call of them means.
//!
//! Nothing of it is state of a shard. SUBSCRIBE and its kin change what a connection listens to, which the edge does; PUBLISH,
//! SPUBLISH and PUBSUB are for every lane of every node ([`Everywhere`]), and their answers are put together.

use super::{Command, Keys, Run, containers, find};
use crate::{Refused, Reply};
use bytes::Bytes;

/// The rows of this family; ids 770 to 789.
pub static COMMANDS: &[Command] = &[
    listening("subscribe", 770, -2, Keys::NONE, "Listens for messages of channels.", "2.0.0"),
    listening("unsubscribe", 771, -1, Keys::NONE, "Stops listening to channels.", "2.0.0"),
    listening("psubscribe", 772, -2, Keys::NONE, "Listens for messages of all channels that match patterns.", "2.0.0"),
    listening("punsubscribe", 773, -1, Keys::NONE, "Stops listening to patterns.", "2.0.0"),
    listening("ssubscribe", 774, -2, Keys::ALL, "Listens for messages of shard channels.", "7.0.0"),
    listening("sunsubscribe", 775, -1, Keys::ALL, "Stops listening to shard channels.", "7.0.0"),
    Command {
        name: "publish",
        id: 776,
        arity: 3,
        flags: "pubsub loading stale fast",
        keys: Keys::NONE,
        run: Run::Everywhere,
        summary: "Sends a message to all who listen to a channel, and counts them.",
        group: GROUP,
        since: "2.0.0",
    },
    Command {
        name: "spublish",
        id: 777,
        arity: 3,
        flags: "pubsub loading stale fast",
        keys: Keys::ONE,
        run: Run::Everywhere,
        summary: "Sends a message to all who listen to a shard channel, and counts them.",
        group: GROUP,
        since: "7.0.0",
    },
    Command {
        name: "pubsub",
        id: PUBSUB_ID,
        arity: -2,
        flags: "pubsub loading stale",
        keys: Keys::NONE,
        run: Run::Everywhere,
        summary: "Tells which channels are listened to.",
        group: GROUP,
        since: "2.8.0",
    },
    Command {
        name: "monitor",
        id: 779,
        arity: 1,
        flags: "admin noscript loading stale",
        keys: Keys::NONE,
        run: Run::Node,
        summary: "Shows every command that clients of this node run.",
        group: "server",
        since: "1.0.0",
    },
];

pub(super) const GROUP: &str = "pubsub";
/// The row that asks and tells nothing to others.
pub const PUBSUB_ID: u16 = 778;

/// How channels are listened to: each kind has its own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    Channel,
    /// All channels that match a pattern.
    Pattern,
    /// A shard channel, which no pattern reaches.
    Shard,
}

/// A message on its way to those who listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// [`Topic::Channel`] or [`Topic::Shard`].
    pub topic: Topic,
    pub channel: Bytes,
    pub payload: Bytes,
}

/// What is for every lane of every node. Each answers for the clients that are connected to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Everywhere {
    /// Answer: how many clients got it.
    Publish(Message),
    /// Answer: the channels, or shard channels, that somebody listens to, of those that match.
    Channels { topic: Topic, pattern: Option<Bytes> },
    /// Answer: each channel with the number of those who listen to it.
    Listeners { topic: Topic, channels: Vec<Bytes> },
    /// Answer: the patterns that somebody listens to.
    Patterns,
}

impl Everywhere {
    /// What a call of a row of [`Run::Everywhere`] means; the reply of one that can be answered at once is the error.
    /// `args` with the name; the table has checked their number.
    pub fn parse(command: &Command, args: &[&[u8]]) -> Result<Self, Reply> {
        let copied = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        let message = |topic| Message { topic, channel: copied(args[1]), payload: copied(args[2]) };
        let sub = args[1].to_ascii_lowercase();
        let names = || args[2..].iter().map(|name| copied(name)).collect();
        Ok(match (command.name, sub.as_slice()) {
            ("publish", _) => Self::Publish(message(Topic::Channel)),
            ("spublish", _) => Self::Publish(message(Topic::Shard)),
            (_, b"channels" | b"shardchannels") if args.len() > 3 => {
                let word = String::from_utf8_lossy(args[1]);
                return Err(Reply::Error(Refused::Text(format!(
                    "ERR unknown subcommand or wrong number of arguments for '{word}'. Try PUBSUB HELP."
                ))));
            }
            (_, b"channels") => Self::Channels { topic: Topic::Channel, pattern: args.get(2).map(|text| copied(text)) },
            (_, b"shardchannels") => {
                Self::Channels { topic: Topic::Shard, pattern: args.get(2).map(|text| copied(text)) }
            }
            (_, b"numsub") => Self::Listeners { topic: Topic::Channel, channels: names() },
            (_, b"shardnumsub") => Self::Listeners { topic: Topic::Shard, channels: names() },
            (_, b"numpat") => Self::Patterns,
            _ => return Err(containers::help(command)),
        })
    }

    /// One answer of several; those of nodes that make no sense count for nothing.
    #[must_use]
    pub fn combine(&self, answers: Vec<Reply>) -> Reply {
        match self {
            Self::Publish(_) => Reply::Int(answers.iter().map(count).fold(0, i64::saturating_add)),
            Self::Channels { .. } | Self::Patterns => Reply::Array(union(answers)),
            Self::Listeners { channels, .. } => {
                let mut sums = vec![0i64; channels.len()];
                for answer in answers {
                    let Reply::Array(counts) = answer else { continue };
                    sums.iter_mut().zip(&counts).for_each(|(sum, one)| *sum = sum.saturating_add(count(one)));
                }
                Reply::Array(sums.into_iter().map(Reply::Int).collect())
            }
        }
    }

    /// The reply to the client, of the answer of all.
    #[must_use]
    pub fn reply(&self, all: Reply) -> Reply {
        match (self, all) {
            (Self::Patterns, Reply::Array(names)) => Reply::count(names.len()),
            (Self::Listeners { channels, .. }, Reply::Array(counts)) => {
                let pairs = channels.iter().zip(counts);
                Reply::Array(pairs.flat_map(|(name, count)| [Reply::bulk(name), count]).collect())
            }
            (_, all) => all,
        }
    }
}

/// The topic that a row of the SUBSCRIBE kind is about, and whether the connection listens from then on.
#[must_use]
pub fn listens(command: &Command) -> Option<(Topic, bool)> {
    Some(match command.name {
        "subscribe" => (Topic::Channel, true),
        "unsubscribe" => (Topic::Channel, false),
        "psubscribe" => (Topic::Pattern, true),
        "punsubscribe" => (Topic::Pattern, false),
        "ssubscribe" => (Topic::Shard, true),
        "sunsubscribe" => (Topic::Shard, false),
        _ => return None,
    })
}

/// PUBLISH as a script calls it.
pub fn message(args: &[&[u8]]) -> Result<Message, Refused> {
    let command = args.first().and_then(|name| find(name)).filter(|row| matches!(row.name, "publish" | "spublish"));
    let command = command.filter(|row| row.accepts(args.len()));
    let command = command.ok_or_else(|| Refused::Arity("publish".to_owned()))?;
    match Everywhere::parse(command, args) {
        Ok(Everywhere::Publish(message)) => Ok(message),
        _ => Err(Refused::Syntax),
    }
}

const fn listening(
    name: &'static str,
    id: u16,
    arity: i16,
    keys: Keys,
    summary: &'static str,
    since: &'static str,
) -> Command {
    let flags = "pubsub noscript loading stale";
    Command { name, id, arity, flags, keys, run: Run::Session, summary, group: GROUP, since }
}

fn count(reply: &Reply) -> i64 {
    if let Reply::Int(n) = reply { *n } else { 0 }
}

/// Every name once, in order.
fn union(answers: Vec<Reply>) -> Vec<Reply> {
    let names =
        answers.into_iter().flat_map(|answer| if let Reply::Array(names) = answer { names } else { Vec::new() });
    let mut names: Vec<Reply> = names.filter(|name| matches!(name, Reply::Bulk(_))).collect();
    let bytes = |name: &Reply| if let Reply::Bulk(blob) = name { blob.as_bytes().to_vec() } else { Vec::new() };
    names.sort_by_cached_key(bytes);
    names.dedup_by_key(|name| bytes(name));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &str) -> Result<Everywhere, Reply> {
        let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        Everywhere::parse(find(args[0]).expect("a command"), &args)
    }

    #[test]
    fn answers_of_several_lanes_are_put_together() {
        let names = |words: &[&str]| Reply::Array(words.iter().map(|word| Reply::bulk(word.as_bytes())).collect());
        let all = |words: &str, answers: Vec<Reply>| {
            let what = parsed(words).expect("it is for all");
            what.reply(what.combine(answers))
        };
        assert_eq!(all("publish a b", vec![Reply::Int(2), Reply::Nil, Reply::Int(3)]), Reply::Int(5));
        assert_eq!(all("pubsub channels", vec![names(&["b", "a"]), names(&["b"])]), names(&["a", "b"]));
        assert_eq!(all("pubsub numpat", vec![names(&["x*"]), names(&["x*", "y*"])]), Reply::Int(2));
        let counts = |a, b| Reply::Array(vec![Reply::Int(a), Reply::Int(b)]);
        let wanted = [Reply::bulk(b"a"), Reply::Int(4), Reply::bulk(b"b"), Reply::Int(2)];
        assert_eq!(all("pubsub numsub a b", vec![counts(1, 2), counts(3, 0)]), Reply::Array(wanted.into()));
    }

    #[test]
    fn calls_mean_what_redis_means() {
        let shard = Message { topic: Topic::Shard, channel: "c".into(), payload: "m".into() };
        assert_eq!(parsed("SPUBLISH c m"), Ok(Everywhere::Publish(shard.clone())));
        assert_eq!(message(&[b"spublish", b"c", b"m"]), Ok(shard));
        assert!(message(&[b"publish", b"c"]).is_err() && message(&[b"get", b"c", b"d"]).is_err());
        assert_eq!(
            parsed("pubsub SHARDNUMSUB"),
            Ok(Everywhere::Listeners { topic: Topic::Shard, channels: Vec::new() })
        );
        let Err(Reply::Error(refused)) = parsed("pubsub channels a b") else { panic!("one pattern at most") };
        let text = "ERR unknown subcommand or wrong number of arguments for 'channels'. Try PUBSUB HELP.";
        assert_eq!(refused.to_string(), text);
        assert!(matches!(parsed("pubsub help"), Err(Reply::Array(_))));
    }
}
