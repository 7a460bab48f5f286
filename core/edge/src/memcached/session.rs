//! One connection of a memcached client: its requests in, their answers out in the same order.
//!
//! A request for many keys is many commands for the core; what is there of its answer leaves as it comes, key by key.

use super::ask::{Asked, How, Part, ask};
use super::parse::{BAD_LINE, Parsed, parse};
use super::tell;
use base::limits::OUT_BYTES_SOFT;
use data::Reply;
use smallvec::SmallVec;
use std::collections::VecDeque;

/// What the driver must do next.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one, and lives for a call")]
pub enum Step<'a> {
    /// For the core, in this order: their replies come back by [`Session::on_reply`].
    Requests(SmallVec<[Call<'a>; 1]>),
    /// How the node stands: to be given to [`Session::on_stats`].
    Stats { seq: u64 },
    /// Done already.
    Answered,
    /// Call again when at least so many bytes are there.
    NeedMore { need_at_least: usize },
    /// Write what is there and close.
    Close,
}

/// A command of this client.
#[derive(Debug)]
pub struct Call<'a> {
    pub seq: u64,
    /// True if a write of this client is unanswered.
    pub joins: bool,
    pub part: Part<'a>,
}

/// A connection; see the module.
#[derive(Debug, Default)]
pub struct Session {
    pending: VecDeque<Slot>,
    next_seq: u64,
    writes_pending: usize,
    /// Bytes of a block that is passed over.
    passing: u64,
}

/// A request whose answer has not left yet.
#[derive(Debug)]
struct Slot {
    /// The number of its first part.
    first: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// What the core says, part by part; `told` of them have left.
    Core { how: How, writes: bool, replies: Vec<Option<Reply>>, told: usize, failed: bool },
    /// What is said here.
    Here(Option<Vec<u8>>),
}

impl Session {
    /// Takes one frame off the front of `buf`, whose length goes to `used`; what can be answered at once goes to `out`.
    pub fn step<'a>(&mut self, buf: &'a [u8], used: &mut usize, out: &mut Vec<u8>) -> Step<'a> {
        if self.passing > 0 {
            let bytes = usize::try_from(self.passing).unwrap_or(usize::MAX).min(buf.len());
            self.passing -= bytes as u64;
            *used = bytes;
            return if bytes == 0 { Step::NeedMore { need_at_least: 1 } } else { Step::Answered };
        }
        match parse(buf) {
            Parsed::Frame { words, data, used: bytes } => {
                *used = bytes;
                match ask(&words, data) {
                    Ok(asked) => self.take(asked, out),
                    Err(why) => self.fail(why, out),
                }
            }
            Parsed::Bad { why, used: bytes } => {
                *used = bytes;
                self.fail(why, out)
            }
            Parsed::BadSet { why, used: bytes, data_bytes } => {
                const END_BYTES: u64 = 2;
                *used = bytes;
                self.passing = data_bytes + END_BYTES;
                self.fail(why, out)
            }
            Parsed::TooLong => {
                *used = buf.len();
                self.fail(BAD_LINE, out);
                Step::Close
            }
            Parsed::Partial { need_at_least } => Step::NeedMore { need_at_least },
        }
    }

    /// The answer to the command `seq`. What may leave now goes to `out`, unless that holds too much already.
    pub fn on_reply(&mut self, seq: u64, reply: Reply, out: &mut Vec<u8>) {
        let at = self.pending.partition_point(|slot| slot.first <= seq);
        let Some(slot) = at.checked_sub(1).and_then(|at| self.pending.get_mut(at)) else { return };
        let State::Core { replies, writes, .. } = &mut slot.state else { return };
        let part = usize::try_from(seq - slot.first).ok().and_then(|part| replies.get_mut(part));
        let Some(empty) = part.filter(|part| part.is_none()) else { return };
        *empty = Some(reply);
        self.writes_pending -= usize::from(*writes);
        self.go_on(out);
    }

    /// The answer to [`Step::Stats`].
    pub fn on_stats(&mut self, seq: u64, stats: &[(&str, String)], out: &mut Vec<u8>) {
        let Some(slot) = self.pending.iter_mut().find(|slot| slot.first == seq) else { return };
        let mut text = Vec::new();
        for (name, value) in stats {
            tell::line(&format!("STAT {name} {value}"), &mut text);
        }
        tell::line("END", &mut text);
        slot.state = State::Here(Some(text));
        self.go_on(out);
    }

    /// Makes more of the answers that were kept: the client has taken some.
    pub fn go_on(&mut self, out: &mut Vec<u8>) {
        while out.len() <= OUT_BYTES_SOFT {
            let Some(slot) = self.pending.front_mut() else { return };
            match &mut slot.state {
                State::Here(None) => return,
                State::Here(Some(text)) => out.append(text),
                State::Core { how, replies, told, failed, .. } => {
                    let Some(part) = replies.get_mut(*told) else {
                        tell::end(how, *failed, out);
                        self.pending.pop_front();
                        continue;
                    };
                    let Some(reply) = part.take() else { return };
                    // One error ends a request: what it says is the last line of the answer.
                    if !*failed {
                        tell::tell(how, *told, &reply, out);
                    }
                    *failed |= matches!(reply, Reply::Error(_));
                    *told += 1;
                    continue;
                }
            }
            self.pending.pop_front();
        }
    }

    /// True if answers are kept because the client hasn't taken those before them.
    #[must_use]
    pub fn holds(&self) -> bool {
        match self.pending.front().map(|slot| &slot.state) {
            None | Some(State::Here(None)) => false,
            Some(State::Here(Some(_))) => true,
            Some(State::Core { replies, told, .. }) => replies.get(*told).is_none_or(Option::is_some),
        }
    }

    /// Requests whose answers have not left.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    fn take<'a>(&mut self, asked: Asked<'a>, out: &mut Vec<u8>) -> Step<'a> {
        let first = self.next_seq;
        match asked {
            Asked::Core { parts, how } => {
                let (joins, count) = (self.writes_pending > 0, parts.len());
                let writes = parts.iter().any(|part| part.command.is_write());
                self.writes_pending += if writes { count } else { 0 };
                let state = State::Core { how, writes, replies: vec![None; count], told: 0, failed: false };
                self.pending.push_back(Slot { first, state });
                self.next_seq += count as u64;
                let calls = parts.into_iter().zip(first..).map(|(part, seq)| Call { seq, joins, part });
                Step::Requests(calls.collect())
            }
            Asked::Here(text) => {
                let mut answer = Vec::new();
                if let Some(text) = text {
                    tell::line(&text, &mut answer);
                }
                self.say(answer, out)
            }
            Asked::Stats => {
                self.pending.push_back(Slot { first, state: State::Here(None) });
                self.next_seq += 1;
                Step::Stats { seq: first }
            }
            Asked::Quit => Step::Close,
        }
    }

    fn fail<'a>(&mut self, why: &str, out: &mut Vec<u8>) -> Step<'a> {
        let mut text = Vec::new();
        tell::error(why, &mut text);
        self.say(text, out)
    }

    fn say<'a>(&mut self, text: Vec<u8>, out: &mut Vec<u8>) -> Step<'a> {
        self.pending.push_back(Slot { first: self.next_seq, state: State::Here(Some(text)) });
        self.next_seq += 1;
        self.go_on(out);
        Step::Answered
    }
}
