//! What a client gets without having asked for it: messages, invalidations, the lines of MONITOR.
//!
//! One push may be for thousands of clients. It is encoded once for each version of the protocol, and its bytes are shared.

use super::encode::{Proto, encode};
use super::session::Session;
use bytes::Bytes;
use data::command::pubsub::{Message, Topic};
use data::{Blob, Reply};
use std::cell::OnceCell;

/// Something for any number of clients.
#[derive(Debug)]
pub struct Push {
    what: What,
    two: OnceCell<Bytes>,
    three: OnceCell<Bytes>,
}

#[derive(Debug)]
enum What {
    /// An array in RESP2.
    Items(Vec<Reply>),
    /// Keys to be forgotten; all of them if none is named. In RESP2 it looks like a message of a channel.
    Invalidation(Option<Vec<Reply>>),
    /// The same in both.
    Line(Bytes),
}

/// The channel that shows invalidations to clients of RESP2.
const INVALIDATIONS: &[u8] = b"__redis__:invalidate";

impl Push {
    /// A message, for those who listen to its channel, or to a pattern that matches it.
    #[must_use]
    pub fn message(message: &Message, pattern: Option<&Bytes>) -> Self {
        let shared = |bytes: &Bytes| Reply::Bulk(Blob::Shared(bytes.clone()));
        let (channel, payload) = (shared(&message.channel), shared(&message.payload));
        Self::new(What::Items(match (pattern, message.topic) {
            (Some(pattern), _) => vec![Reply::bulk(b"pmessage"), shared(pattern), channel, payload],
            (None, Topic::Shard) => vec![Reply::bulk(b"smessage"), channel, payload],
            (None, _) => vec![Reply::bulk(b"message"), channel, payload],
        }))
    }

    /// Keys that a client's cache must let go; everything if no keys are named.
    #[must_use]
    pub fn invalidation<'a>(keys: Option<impl Iterator<Item = &'a [u8]>>) -> Self {
        Self::new(What::Invalidation(keys.map(|keys| keys.map(Reply::bulk).collect())))
    }

    /// The client to whom invalidations should go is not there any more.
    #[must_use]
    pub fn broken_redirect(to: u64) -> Self {
        let to = Reply::Int(i64::try_from(to).unwrap_or(i64::MAX));
        Self::new(What::Items(vec![Reply::bulk(b"tracking-redir-broken"), to]))
    }

    /// A line of MONITOR, which ends as lines of the protocol do.
    #[must_use]
    pub fn line(line: Bytes) -> Self {
        Self::new(What::Line(line))
    }

    fn new(what: What) -> Self {
        Self { what, two: OnceCell::new(), three: OnceCell::new() }
    }

    fn bytes(&self, proto: Proto) -> &Bytes {
        let made = if proto == Proto::Two { &self.two } else { &self.three };
        made.get_or_init(|| self.encode(proto))
    }

    fn encode(&self, proto: Proto) -> Bytes {
        let mut out = Vec::new();
        match (&self.what, proto) {
            (What::Items(items), _) => encode_push(items, proto, &mut out),
            (What::Line(line), _) => return line.clone(),
            (What::Invalidation(keys), _) => {
                let keys = keys.clone().map_or(Reply::Nil, Reply::Array);
                if proto == Proto::Two {
                    encode_push(&[Reply::bulk(b"message"), Reply::bulk(INVALIDATIONS), keys], proto, &mut out);
                } else {
                    encode_push(&[Reply::bulk(b"invalidate"), keys], proto, &mut out);
                }
            }
        }
        Bytes::from(out)
    }
}

impl Session {
    /// Gives the client a push. Its bytes are for the caller to put behind what is there for the client already; nothing
    /// if it isn't for a client in this state, or must wait for the end of a reply.
    pub fn push(&mut self, push: &Push) -> Option<Bytes> {
        let silent = match push.what {
            // What RESP2 shows as a message is for those alone who await messages.
            What::Invalidation(_) => self.proto == Proto::Two && !self.is_subscribed(),
            What::Items(_) | What::Line(_) => false,
        };
        if silent {
            return None;
        }
        let bytes = push.bytes(self.proto).clone();
        if self.is_between_replies() {
            return Some(bytes);
        }
        self.unsent_bytes += bytes.len();
        self.unsent.push_back(bytes);
        None
    }

    /// Bytes of pushes that wait for the end of a reply.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.unsent_bytes
    }

    /// A reply has ended.
    pub(super) fn release_unsent(&mut self, out: &mut Vec<u8>) {
        for bytes in self.unsent.drain(..) {
            out.extend_from_slice(&bytes);
        }
        self.unsent_bytes = 0;
    }
}

/// Appends items that were not asked for.
pub(super) fn encode_push(items: &[Reply], proto: Proto, out: &mut Vec<u8>) {
    let kind = if proto == Proto::Two { '*' } else { '>' };
    out.extend_from_slice(format!("{kind}{}\r\n", items.len()).as_bytes());
    items.iter().for_each(|item| encode(item, proto, out));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(push: &Push) -> (String, String) {
        let text = |proto| String::from_utf8(push.bytes(proto).to_vec()).unwrap();
        (text(Proto::Two), text(Proto::Three))
    }

    #[test]
    fn pushes_look_as_each_protocol_wants_and_are_made_once() {
        let message = Message { topic: Topic::Channel, channel: "c".into(), payload: "hi".into() };
        let push = Push::message(&message, None);
        let body = "3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n";
        assert_eq!(both(&push), (format!("*{body}"), format!(">{body}")));
        assert_eq!(push.bytes(Proto::Two).as_ptr(), push.bytes(Proto::Two).as_ptr());
        let (two, _) = both(&Push::message(&message, Some(&"c*".into())));
        assert_eq!(two, "*4\r\n$8\r\npmessage\r\n$2\r\nc*\r\n$1\r\nc\r\n$2\r\nhi\r\n");
        let shard = Message { topic: Topic::Shard, ..message };
        assert!(both(&Push::message(&shard, None)).0.contains("smessage"));
        let (two, three) = both(&Push::invalidation(Some([&b"k"[..]].into_iter())));
        assert_eq!(two, "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\nk\r\n");
        assert_eq!(three, ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
        let (two, three) = both(&Push::invalidation(None::<std::iter::Empty<&[u8]>>));
        assert_eq!(two, "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n$-1\r\n");
        assert_eq!(three, ">2\r\n$10\r\ninvalidate\r\n_\r\n");
        assert_eq!(both(&Push::broken_redirect(7)).1, ">2\r\n$21\r\ntracking-redir-broken\r\n:7\r\n");
        assert_eq!(both(&Push::line("+x\r\n".into())), ("+x\r\n".into(), "+x\r\n".into()));
    }
}
