//! What callers were answered last.
//!
//! A connection with a call that may wait asks for nothing else before it is answered. So one answer per caller is enough to know
//! a call that is asked again, and the next call of the same caller takes its place. Those of callers that are gone leave with time.
//! That is the log's time, but for its leaps: a new leader whose wall clock is wrong by an hour must not make a call forgotten that
//! was answered a second ago and is asked again.

use crate::{Refused, Reply};
use base::Stamp;
use base::codec::{DecodeError, Reader, put_varint};
use base::limits::{EXPIRED_PER_ENTRY_MAX, WAIT_ANSWER_BYTES_MAX, WAIT_ANSWER_KEPT_MS, WAIT_ANSWERS_BYTES_MAX};
use base::mutation::{self, Mutation};
use bytes::Bytes;
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};

/// Who asks: a connection, and which of its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Drawn by each lane of each node at its start.
    pub life: u64,
    /// The connection in that life.
    pub client: u64,
    pub seq: u64,
}

/// The last answers of callers; see the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    kept: BTreeMap<(u64, u64), Answer>,
    by_time: BTreeSet<(Stamp, (u64, u64))>,
    /// Those whose bytes are kept.
    told: BTreeSet<(Stamp, (u64, u64))>,
    bytes: usize,
    /// What the log's time has leapt in all: times in here lie so far behind it.
    pub(crate) leapt_ms: u64,
}

/// What passes in one entry; more is a leap.
const STEP_MS_MAX: u64 = 10_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) seq: u64,
    /// Less what the log's time has leapt.
    pub(super) until: Stamp,
    /// As FORMAT.md draws replies; empty if it was too large.
    pub(super) reply: SmallVec<[u8; 32]>,
}

impl Caller {
    pub(crate) fn who(self) -> (u64, u64) {
        (self.life, self.client)
    }

    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.life.to_le_bytes());
        put_varint(out, self.client);
        put_varint(out, self.seq);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { life: reader.u64()?, client: reader.varint()?, seq: reader.varint()? })
    }
}

impl Answers {
    /// What a call was answered, if it or a later one of its caller was.
    pub(crate) fn of(&self, caller: Caller) -> Option<Reply> {
        let answer = self.kept.get(&caller.who()).filter(|answer| caller.seq <= answer.seq)?;
        if mutation::on(Mutation::WaitAnswersForgotten) {
            return None;
        }
        let known = caller.seq == answer.seq && !answer.reply.is_empty();
        Some(if known { answer.reply() } else { Reply::Error(Refused::Text(GONE.to_owned())) })
    }

    /// Keeps what a call was answered at `now`; what its caller was answered before is let go. A refusal changed nothing and may
    /// come again.
    pub(crate) fn keep(&mut self, caller: Caller, reply: &Reply, now: Stamp) {
        if matches!(reply, Reply::Error(_)) {
            return;
        }
        let mut bytes = Vec::new();
        reply.encode(&mut bytes);
        let bytes = if bytes.len() > WAIT_ANSWER_BYTES_MAX { SmallVec::new() } else { SmallVec::from_slice(&bytes) };
        let until = Stamp(self.inner(now).0.saturating_add(WAIT_ANSWER_KEPT_MS));
        self.put(caller.who(), Answer { seq: caller.seq, until, reply: bytes });
        while self.bytes > WAIT_ANSWERS_BYTES_MAX {
            self.silence_oldest();
        }
    }

    /// The log goes on from one stamp to another.
    pub(crate) fn go_on(&mut self, from: Stamp, to: Stamp) {
        self.leapt_ms = self.leapt_ms.saturating_add(to.0.saturating_sub(from.0).saturating_sub(STEP_MS_MAX));
    }

    fn inner(&self, now: Stamp) -> Stamp {
        Stamp(now.0.saturating_sub(self.leapt_ms))
    }

    /// True if an answer's time is over.
    pub(crate) fn is_due(&self, now: Stamp) -> bool {
        let now = self.inner(now);
        self.by_time.first().is_some_and(|(until, _)| *until <= now)
    }

    /// Lets answers go whose time is over: some of them, the rest with later entries.
    pub(crate) fn pass_time(&mut self, now: Stamp) {
        let now = self.inner(now);
        for _ in 0..EXPIRED_PER_ENTRY_MAX {
            let Some((_, who)) = self.by_time.first().filter(|(until, _)| *until <= now).copied() else { return };
            self.forget(who);
        }
    }

    pub(super) fn put(&mut self, who: (u64, u64), answer: Answer) {
        self.forget(who);
        self.bytes += answer.reply.len();
        self.by_time.insert((answer.until, who));
        if !answer.reply.is_empty() {
            self.told.insert((answer.until, who));
        }
        self.kept.insert(who, answer);
    }

    pub(super) fn knows(&self, caller: Caller) -> bool {
        self.kept.contains_key(&caller.who())
    }

    /// Who was answered, what, and until when that is kept by the log's time if it leaps no more.
    pub(super) fn all(&self) -> impl Iterator<Item = (&(u64, u64), &Answer, Stamp)> {
        let until = |answer: &Answer| Stamp(answer.until.0.saturating_add(self.leapt_ms));
        self.kept.iter().map(move |(who, answer)| (who, answer, until(answer)))
    }

    fn forget(&mut self, who: (u64, u64)) {
        let Some(answer) = self.kept.remove(&who) else { return };
        self.bytes -= answer.reply.len();
        self.by_time.remove(&(answer.until, who));
        self.told.remove(&(answer.until, who));
    }

    /// The oldest answer whose bytes are kept loses them: that there was one is still known.
    fn silence_oldest(&mut self) {
        let (_, who) = self.told.pop_first().expect("bytes are somebody's");
        let answer = self.kept.get_mut(&who).expect("it is in the list");
        self.bytes -= answer.reply.len();
        answer.reply = SmallVec::new();
    }
}

impl Answer {
    fn reply(&self) -> Reply {
        let bytes = Bytes::copy_from_slice(&self.reply);
        Reply::decode(&mut Reader::new(&bytes), &bytes).expect("what was kept can be read")
    }
}

const GONE: &str = "INDOUBT the leader of this shard was lost after this call took effect, and its reply is not kept any more; \
                    nothing was changed now; read to find out";
