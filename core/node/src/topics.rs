//! Which clients of a lane listen to which channels.
//!
//! The session of each client has its own list, for what it must tell it; this one is turned round, for messages to find
//! whom they are for. A client that listens to a channel by its name and by patterns gets a message for each.

use base::ClientId;
use bytes::Bytes;
use data::Reply;
use data::command::glob::glob;
use data::command::pubsub::{Everywhere, Message, Topic};
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
#[derive(Debug, Default)]
pub struct Topics {
    channels: Names,
    patterns: Names,
    shard_channels: Names,
}

type Names = BTreeMap<Bytes, BTreeSet<ClientId>>;

impl Topics {
    /// A client listens from now on; it may do so already.
    pub fn listen(&mut self, client: ClientId, topic: Topic, name: &[u8]) {
        let names = self.names_mut(topic);
        match names.get_mut(name) {
            Some(clients) => drop(clients.insert(client)),
            None => drop(names.insert(Bytes::copy_from_slice(name), BTreeSet::from([client]))),
        }
    }

    /// A client listens no more.
    pub fn unlisten(&mut self, client: ClientId, topic: Topic, name: &[u8]) {
        let names = self.names_mut(topic);
        let Some(clients) = names.get_mut(name) else { return };
        clients.remove(&client);
        if clients.is_empty() {
            names.remove(name);
        }
    }

    /// Those who get a message: first by the channel's name, then by each pattern that matches it.
    pub fn listeners<'a>(
        &'a self,
        message: &'a Message,
    ) -> impl Iterator<Item = (Option<&'a Bytes>, &'a BTreeSet<ClientId>)> {
        let direct = self.names(message.topic).get(&message.channel[..]).map(|clients| (None, clients));
        let patterns = (message.topic == Topic::Channel).then_some(&self.patterns).into_iter().flatten();
        let matching = patterns.filter(|(pattern, _)| glob(pattern, &message.channel));
        direct.into_iter().chain(matching.map(|(pattern, clients)| (Some(pattern), clients)))
    }

    /// How many clients, by any name, listen to something of a kind: channels, patterns or shard channels.
    #[must_use]
    pub fn count(&self, topic: Topic) -> usize {
        self.names(topic).len()
    }

    /// True if nobody listens to a message of any channel.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty()
    }

    /// This lane's part of an answer.
    pub(crate) fn answer(&self, what: &Everywhere) -> Reply {
        match what {
            Everywhere::Publish(message) => Reply::count(self.listeners(message).map(|(_, who)| who.len()).sum()),
            Everywhere::Channels { topic, pattern } => {
                let wanted = |name: &&Bytes| pattern.as_ref().is_none_or(|pattern| glob(pattern, name));
                Reply::Array(self.names(*topic).keys().filter(wanted).map(|name| Reply::bulk(name)).collect())
            }
            Everywhere::Listeners { topic, channels } => {
                let names = self.names(*topic);
                let count = |name: &Bytes| Reply::count(names.get(name).map_or(0, BTreeSet::len));
                Reply::Array(channels.iter().map(count).collect())
            }
            Everywhere::Patterns => Reply::Array(self.patterns.keys().map(|name| Reply::bulk(name)).collect()),
        }
    }

    fn names(&self, topic: Topic) -> &Names {
        match topic {
            Topic::Channel => &self.channels,
            Topic::Pattern => &self.patterns,
            Topic::Shard => &self.shard_channels,
        }
    }

    fn names_mut(&mut self, topic: Topic) -> &mut Names {
        match topic {
            Topic::Channel => &mut self.channels,
            Topic::Pattern => &mut self.patterns,
            Topic::Shard => &mut self.shard_channels,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: Topic, channel: &'static str) -> Message {
        Message { topic, channel: channel.into(), payload: "m".into() }
    }

    fn who(topics: &Topics, message: &Message) -> Vec<(Option<String>, Vec<u64>)> {
        let text = |name: &Bytes| String::from_utf8(name.to_vec()).unwrap();
        let ids = |clients: &BTreeSet<ClientId>| clients.iter().map(|client| client.0).collect();
        topics.listeners(message).map(|(pattern, clients)| (pattern.map(text), ids(clients))).collect()
    }

    #[test]
    fn messages_find_those_who_listen_by_name_and_by_pattern() {
        let mut topics = Topics::default();
        assert!(topics.is_silent());
        for (client, topic, name) in [
            (1, Topic::Channel, "news"),
            (2, Topic::Channel, "news"),
            (2, Topic::Channel, "news"),
            (2, Topic::Pattern, "n*"),
            (3, Topic::Pattern, "x*"),
            (4, Topic::Shard, "news"),
        ] {
            topics.listen(ClientId(client), topic, name.as_bytes());
        }
        let news = message(Topic::Channel, "news");
        assert_eq!(who(&topics, &news), [(None, vec![1, 2]), (Some("n*".into()), vec![2])]);
        assert_eq!(topics.answer(&Everywhere::Publish(news.clone())), Reply::Int(3));
        assert_eq!(who(&topics, &message(Topic::Shard, "news")), [(None, vec![4])]);
        assert!(who(&topics, &message(Topic::Channel, "other")).is_empty());
        topics.unlisten(ClientId(1), Topic::Channel, b"news");
        topics.unlisten(ClientId(2), Topic::Channel, b"news");
        topics.unlisten(ClientId(9), Topic::Channel, b"nosuch");
        assert_eq!(topics.count(Topic::Channel), 0, "nothing is kept of a name that nobody listens to");
        assert_eq!(who(&topics, &news), [(Some("n*".into()), vec![2])]);
    }
}
