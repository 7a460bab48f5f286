//! Commands written as a line of words, and what tests expect of their replies.

use super::{Client, Reply};
use std::time::{Duration, Instant};

/// The reply to a command whose words stand apart by blanks.
pub fn ask(client: &mut Client, words: &str) -> Reply {
    let reply = client.ask(&words.split(' ').collect::<Vec<_>>());
    reply.unwrap_or_else(|error| panic!("{words}: {error}"))
}

/// Sends such a command; its reply is for [`reply`].
pub fn send(client: &mut Client, words: &str) {
    client.send(&words.split(' ').collect::<Vec<_>>()).expect("a node takes commands");
}

/// The next reply.
pub fn reply(client: &mut Client) -> Reply {
    client.reply().expect("a node answers")
}

/// What a command is refused with.
pub fn error_of(client: &mut Client, words: &str) -> String {
    match ask(client, words) {
        Reply::Error(text) => text,
        other => panic!("{words}: {other:?}"),
    }
}

/// True for an error that begins so.
pub fn begins(reply: &Reply, with: &str) -> bool {
    matches!(reply, Reply::Error(text) if text.starts_with(with))
}

/// Token, fence and what is left of the lease.
pub fn granted(reply: Reply) -> (i64, i64, i64) {
    match reply {
        Reply::Array(parts) => match parts[..] {
            [Reply::Integer(token), Reply::Integer(fence), Reply::Integer(left)] => (token, fence, left),
            _ => panic!("no grant: {parts:?}"),
        },
        other => panic!("no grant: {other:?}"),
    }
}

/// Token and fence of a grant.
pub fn fenced(reply: Reply) -> (i64, i64) {
    let (token, fence, _) = granted(reply);
    (token, fence)
}

/// A number of INFO, which is some hundred milliseconds old at most.
pub fn number(client: &mut Client, section: &str, name: &str) -> u64 {
    let Reply::Bulk(text) = ask(client, &format!("INFO {section}")) else { panic!("INFO is text") };
    let text = String::from_utf8(text).expect("it is text");
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("{name} is told"))
}

/// Waits until such a number is as wanted.
pub fn await_number(client: &mut Client, section: &str, name: &str, wanted: impl Fn(u64) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let value = number(client, section, name);
        if wanted(value) {
            return;
        }
        assert!(Instant::now() < deadline, "{name} is {value}");
    }
}
