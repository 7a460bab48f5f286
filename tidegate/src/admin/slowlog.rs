//! SLOWLOG: commands that took long, the newest first.
//!
//! As in Redis the time is that of running, the wait for the disk and the network apart. A read is timed by itself if
//! it is of a kind that can be slow; a write runs when its batch is durable, and its time is that of its batch's run,
//! which is what it made others wait, or others made it. The threshold 0 times everything.

use super::error;
use crate::shared::{Shared, lock};
use data::{Refused, Reply};
use std::collections::VecDeque;

/// The log itself.
#[derive(Debug, Default)]
pub struct Slowlog {
    entries: VecDeque<Entry>,
    next_id: i64,
}

/// A command that took long.
#[derive(Debug)]
struct Entry {
    id: i64,
    at_s: u64,
    took_us: u64,
    args: Vec<Vec<u8>>,
    addr: String,
    name: Vec<u8>,
}

/// Arguments kept, and bytes of each: what is cut off is counted in its place.
pub const ARGS_MAX: usize = 32;
pub const ARG_BYTES_MAX: usize = 128;

/// Notes that a command of the client `number` took so long; `args` as [`shortened`] leaves them.
pub fn note(shared: &Shared, number: u64, args: Vec<Vec<u8>>, took_ns: u64) {
    let most = usize::try_from(shared.settings.slow_entries_max()).unwrap_or(usize::MAX);
    let (addr, name) =
        lock(&shared.clients).get(&number).map(|card| (card.addr.to_string(), card.name.clone())).unwrap_or_default();
    let mut log = lock(&shared.slowlog);
    let id = log.next_id;
    log.next_id += 1;
    let at_s = crate::clock::wall_ms() / 1000;
    log.entries.push_front(Entry { id, at_s, took_us: took_ns / 1000, args, addr, name });
    log.entries.truncate(most);
}

/// The arguments as the log keeps them.
pub fn shortened<'a>(args: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let count = args.len();
    let kept = if count > ARGS_MAX { ARGS_MAX - 1 } else { count };
    let mut short: Vec<Vec<u8>> = args.take(kept).map(|arg| shortened_arg(arg, arg.len())).collect();
    if count > kept {
        short.push(format!("... ({} more arguments)", count - kept).into_bytes());
    }
    short
}

/// An argument of `len` bytes of which the first are known.
pub fn shortened_arg(known: &[u8], len: usize) -> Vec<u8> {
    let mut short = known[..known.len().min(ARG_BYTES_MAX)].to_vec();
    if len > short.len() {
        short.extend_from_slice(format!("... ({} more bytes)", len - short.len()).as_bytes());
    }
    short
}

/// SLOWLOG; `sub` in lower case, its arguments behind it.
pub fn slowlog(shared: &Shared, sub: &[u8], args: &[&[u8]]) -> Reply {
    let mut log = lock(&shared.slowlog);
    match (sub, args) {
        (b"len", _) => Reply::count(log.entries.len()),
        (b"reset", _) => {
            log.entries.clear();
            Reply::Ok
        }
        (_, []) => log.newest(10),
        (_, [count]) => match std::str::from_utf8(count).ok().and_then(|text| text.parse::<i64>().ok()) {
            Some(-1) => log.newest(usize::MAX),
            Some(count) => usize::try_from(count)
                .map_or_else(|_| error("ERR count should be greater than or equal to -1"), |count| log.newest(count)),
            None => error("ERR count should be greater than or equal to -1"),
        },
        _ => Reply::Error(Refused::Arity("slowlog|get".to_owned())),
    }
}

impl Slowlog {
    fn newest(&self, count: usize) -> Reply {
        Reply::Array(self.entries.iter().take(count).map(Entry::reply).collect())
    }
}

impl Entry {
    fn reply(&self) -> Reply {
        let number = |value: u64| Reply::Int(i64::try_from(value).unwrap_or(i64::MAX));
        Reply::Array(vec![
            Reply::Int(self.id),
            number(self.at_s),
            number(self.took_us),
            Reply::Array(self.args.iter().map(|arg| Reply::bulk(arg)).collect()),
            Reply::text(&self.addr),
            Reply::bulk(&self.name),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_arguments_and_many_are_cut_and_counted() {
        let long = [b'x'; 130];
        let args: Vec<&[u8]> = (0..40).map(|at| if at == 0 { &long[..] } else { b"y" }).collect();
        let short = shortened(args.into_iter());
        assert_eq!(short.len(), ARGS_MAX);
        assert!(short[0].ends_with(b"... (2 more bytes)") && short[0].len() == 128 + 18);
        assert_eq!(short[31], b"... (9 more arguments)");
        assert_eq!(shortened([&b"a"[..]].into_iter()), vec![b"a".to_vec()]);
    }
}
