//! Outcomes: what became of commands that were sent under an id, so that one sent again is answered and not run again.
//!
//! An id is a client's name and a number that rises with each of its commands. Each outcome is kept for the time that its
//! log entry names; when a shard keeps too many, the oldest go first. What is forgotten leaves a trace: of each client the
//! highest number that was forgotten, its floor. A number up to the floor whose outcome isn't kept is refused, never run:
//! forgetting costs answers, not the promise. Floors go a day after their client's last outcome; sooner, but never before
//! that outcome's own time, where there is no room for new clients; and if there is none to be had, new clients are refused.
//!
//! All of it is replicated state: it changes by log entries alone, is part of snapshots ([`image`]) and of the digest.

mod foresight;
mod image;
#[cfg(test)]
mod tests;

use crate::{Refused, Reply};
use base::Stamp;
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use base::limits::{
    EXPIRED_PER_ENTRY_MAX, ONCE_CLIENT_BYTES_MAX, ONCE_CLIENT_COUNT_MAX, ONCE_FLOOR_MS, ONCE_OUTCOME_COUNT_MAX,
    ONCE_REPLIES_BYTES_MAX, ONCE_REPLY_BYTES_MAX,
};
use base::mutation::{self, Mutation};
use bytes::Bytes;
use smallvec::SmallVec;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub(crate) use foresight::{Foreseen, Foresight};
pub use image::{Loading, TAG_CLIENT, TAG_OUTCOME};

/// Whose command it is, and which of its commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id<'a> {
    pub client: &'a [u8],
    pub seq: u64,
}

/// An [`Id`] that travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedId {
    client: Box<[u8]>,
    seq: u64,
}

/// What a shard knows of an id.
#[derive(Debug, PartialEq)]
pub enum Known {
    /// Nothing: the command is to be run and recorded.
    No,
    /// What it was answered.
    Reply(Reply),
    /// It may not be run.
    Refused(Refused),
}

/// The outcomes that a shard keeps, and the floors of its clients.
#[derive(Debug)]
pub struct Outcomes {
    caps: Caps,
    clients: BTreeMap<Arc<[u8]>, Client>,
    /// Clients by the number of their last outcome: who has been silent for longest comes first.
    silence: BTreeMap<u64, Arc<[u8]>>,
    /// Oldest first; their numbers have no gaps.
    kept: VecDeque<Outcome>,
    /// The number of the oldest that is kept, or of the next one.
    first: u64,
    /// Numbers of those kept, by the place of their client and their seq.
    ids: BTreeMap<(u64, u64), u64>,
    reply_bytes: usize,
    next_place: u64,
    cut: image::Cut,
}

#[derive(Debug)]
struct Client {
    /// Names it in `ids`, on this replica alone.
    place: u64,
    /// The highest seq that was forgotten; 0 if none was.
    floor: u64,
    /// The number of its last outcome, and until when that is to be kept.
    last: u64,
    until: Stamp,
    /// The cut that has saved it, or that it is younger than.
    epoch: u64,
}

#[derive(Debug)]
struct Outcome {
    client: Arc<[u8]>,
    seq: u64,
    until: Stamp,
    fingerprint: u64,
    /// As FORMAT.md draws replies; empty if it was too large.
    reply: SmallVec<[u8; 16]>,
}

#[derive(Clone, Copy, Debug)]
struct Caps {
    outcomes: usize,
    reply_bytes: usize,
    clients: usize,
}

impl<'a> Id<'a> {
    /// Reads `<client>:<seq>`.
    pub fn parse(word: &'a [u8]) -> Result<Self, Refused> {
        let id = word.iter().rposition(|byte| *byte == b':').map(|at| (&word[..at], &word[at + 1..]));
        let id = id.and_then(|(client, seq)| Some(Self { client, seq: number(seq)? }));
        id.filter(|id| (1..=ONCE_CLIENT_BYTES_MAX).contains(&id.client.len())).ok_or_else(|| {
            let shown = String::from_utf8_lossy(&word[..word.len().min(100)]).into_owned();
            Refused::Text(format!(
                "ERR '{shown}' is no id for ONCE: it is <client>:<seq>, a name of 1 to {ONCE_CLIENT_BYTES_MAX} bytes and a \
                 number from 1 to {SEQ_MAX} that rises with each new command of that client"
            ))
        })
    }

    /// Appends it as log entries and peers carry it.
    pub fn encode(self, out: &mut Vec<u8>) {
        put_bytes(out, self.client);
        put_varint(out, self.seq);
    }

    /// What [`Id::encode`] wrote.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let (client, seq) = (reader.bytes()?, reader.varint()?);
        let good = (1..=ONCE_CLIENT_BYTES_MAX).contains(&client.len()) && (1..=SEQ_MAX).contains(&seq);
        if good { Ok(Self { client, seq }) } else { Err(DecodeError::Unknown(seq)) }
    }

    /// A copy of its own.
    #[must_use]
    pub fn to_owned(self) -> OwnedId {
        OwnedId { client: self.client.into(), seq: self.seq }
    }
}

impl OwnedId {
    /// To look at.
    #[must_use]
    pub fn as_id(&self) -> Id<'_> {
        Id { client: &self.client, seq: self.seq }
    }
}

impl std::fmt::Display for Id<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", String::from_utf8_lossy(self.client), self.seq)
    }
}

/// Numbers that a signed integer of 64 bits holds: every client's language has them.
const SEQ_MAX: u64 = u64::MAX >> 1;

/// A number in its one spelling.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    let plain =
        digits.first().is_some_and(|first| (b'1'..=b'9').contains(first)) && digits.iter().all(u8::is_ascii_digit);
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (plain && number <= SEQ_MAX).then_some(number)
}

impl Default for Outcomes {
    fn default() -> Self {
        Self::with_caps(Caps {
            outcomes: ONCE_OUTCOME_COUNT_MAX,
            reply_bytes: ONCE_REPLIES_BYTES_MAX,
            clients: ONCE_CLIENT_COUNT_MAX,
        })
    }
}

impl Outcomes {
    fn with_caps(caps: Caps) -> Self {
        Self {
            caps,
            clients: BTreeMap::new(),
            silence: BTreeMap::new(),
            kept: VecDeque::new(),
            first: 0,
            ids: BTreeMap::new(),
            reply_bytes: 0,
            next_place: 0,
            cut: image::Cut::default(),
        }
    }

    /// How many outcomes are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// True if no outcome is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// What is known of `id`, which comes with a command of this fingerprint at `now`.
    #[must_use]
    pub fn look(&self, id: Id<'_>, fingerprint: u64, now: Stamp) -> Known {
        let Some(client) = self.clients.get(id.client) else {
            let room = self.clients.len() < self.caps.clients || self.most_silent(now, 0).is_some();
            return if room { Known::No } else { Known::Refused(overloaded(self.caps.clients)) };
        };
        if let Some(number) = self.ids.get(&(client.place, id.seq)) {
            let outcome = &self.kept[place(number - self.first)];
            return if mutation::on(Mutation::OnceRunsAgain) { Known::No } else { outcome.known(id, fingerprint) };
        }
        if id.seq <= client.floor && !mutation::on(Mutation::OnceFloorIgnored) {
            return Known::Refused(forgotten(id, client.floor));
        }
        Known::No
    }

    /// Keeps what the command under `id` was answered at `now`, for so long. [`Outcomes::look`] must have known nothing.
    pub fn record(&mut self, id: Id<'_>, fingerprint: u64, reply: &Reply, now: Stamp, keep_ms: u64) {
        self.record_bytes(id, fingerprint, recorded(reply), now, keep_ms);
    }

    /// The same with the bytes of the reply; none stand for one that was too large.
    pub(crate) fn record_bytes(&mut self, id: Id<'_>, fingerprint: u64, reply: Recorded, now: Stamp, keep_ms: u64) {
        let until = Stamp(now.0.saturating_add(keep_ms));
        let number = self.first + self.kept.len() as u64;
        let name = self.note(id.client, number, until, now);
        let place = self.clients[&name].place;
        self.ids.insert((place, id.seq), number);
        self.reply_bytes += reply.len();
        self.kept.push_back(Outcome { client: name, seq: id.seq, until, fingerprint, reply });
        while self.kept.len() > self.caps.outcomes || self.reply_bytes > self.caps.reply_bytes {
            self.forget_first();
        }
    }

    /// Forgets what has been kept long enough at `now`: some of it, the rest with later entries.
    pub fn pass_time(&mut self, now: Stamp) {
        for _ in 0..EXPIRED_PER_ENTRY_MAX {
            if self.kept.front().is_none_or(|oldest| oldest.until > now) {
                break;
            }
            self.forget_first();
        }
        for _ in 0..EXPIRED_PER_ENTRY_MAX {
            let Some(number) = self.most_silent(now, ONCE_FLOOR_MS) else { break };
            self.let_go(number);
        }
    }

    /// The client's name, whose last outcome is to be `number`.
    fn note(&mut self, name: &[u8], number: u64, until: Stamp, now: Stamp) -> Arc<[u8]> {
        if let Some((name, client)) = self.clients.get_key_value(name) {
            let (name, former) = (Arc::clone(name), client.last);
            self.save_client_first(&name);
            self.silence.remove(&former);
            self.silence.insert(number, Arc::clone(&name));
            let client = self.clients.get_mut(&name).expect("it was just found");
            (client.last, client.until) = (number, until.max(client.until));
            return name;
        }
        if self.clients.len() >= self.caps.clients
            && let Some(silent) = self.most_silent(now, 0)
        {
            self.let_go(silent);
        }
        let name: Arc<[u8]> = name.into();
        let client = Client { place: self.next_place, floor: 0, last: number, until, epoch: self.cut.epoch() };
        self.next_place += 1;
        self.silence.insert(number, Arc::clone(&name));
        self.clients.insert(Arc::clone(&name), client);
        name
    }

    /// The last number of the client that has been silent for longest, if none of its outcomes is kept and the last one's
    /// time is over since `ms`.
    fn most_silent(&self, now: Stamp, ms: u64) -> Option<u64> {
        let (number, name) = self.silence.first_key_value()?;
        let over = self.clients[name].until.0.saturating_add(ms) <= now.0;
        (*number < self.first && over).then_some(*number)
    }

    fn let_go(&mut self, number: u64) {
        let name = self.silence.remove(&number).expect("the caller found it there");
        self.save_client_first(&name);
        self.clients.remove(&name);
    }

    fn forget_first(&mut self) {
        let name = Arc::clone(&self.kept.front().expect("the caller looked").client);
        self.save_client_first(&name);
        self.save_outcome_first();
        let gone = self.kept.pop_front().expect("the caller looked");
        self.first += 1;
        self.reply_bytes -= gone.reply.len();
        let client = self.clients.get_mut(&gone.client).expect("an outcome's client is known");
        client.floor = client.floor.max(gone.seq);
        self.ids.remove(&(client.place, gone.seq));
    }
}

impl Outcome {
    fn known(&self, id: Id<'_>, fingerprint: u64) -> Known {
        if self.fingerprint != fingerprint {
            return Known::Refused(mismatch(id));
        }
        if self.reply.is_empty() {
            return Known::Refused(too_large(id));
        }
        let bytes = Bytes::copy_from_slice(&self.reply);
        Known::Reply(Reply::decode(&mut Reader::new(&bytes), &bytes).expect("what was recorded can be read"))
    }
}

/// Bytes of a reply.
pub(crate) type Recorded = SmallVec<[u8; 16]>;

/// The bytes that are kept of a reply.
pub(crate) fn recorded(reply: &Reply) -> Recorded {
    let mut bytes = Vec::new();
    if least_bytes(reply, 0) <= ONCE_REPLY_BYTES_MAX {
        reply.encode(&mut bytes);
    }
    if bytes.len() > ONCE_REPLY_BYTES_MAX { SmallVec::new() } else { SmallVec::from_slice(&bytes) }
}

/// What a reply has at least, beside `sum`, without making its bytes: they may be gigabytes, shared with the keyspace.
fn least_bytes(reply: &Reply, sum: usize) -> usize {
    let all = |items: &[Reply]| items.iter().fold(sum, |sum, item| least_bytes(item, sum));
    match reply {
        Reply::Bulk(blob) => sum + blob.as_bytes().len(),
        Reply::Strings(strings) => sum + strings.bytes(),
        Reply::Verbatim(text) => sum + text.len(),
        Reply::Array(items) | Reply::Set(items) => all(items),
        Reply::Map(pairs) | Reply::Couples(pairs) | Reply::Pairs(pairs) => {
            pairs.iter().fold(sum, |sum, (key, value)| least_bytes(value, least_bytes(key, sum)))
        }
        _ => sum,
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("what is kept fits in memory")
}

fn mismatch(id: Id<'_>) -> Refused {
    Refused::Text(format!(
        "ONCEMISMATCH the id '{id}' stands for another command; nothing was changed; give each command a number of its own, \
         and send a command again just as it was"
    ))
}

fn forgotten(id: Id<'_>, floor: u64) -> Refused {
    Refused::Text(format!(
        "UNKNOWN the outcome of '{id}' is not kept any more, and this client's numbers up to {floor} can't be used; whether \
         the command took effect is not known; nothing was changed now; read to find out, and go on above {floor}"
    ))
}

fn too_large(id: Id<'_>) -> Refused {
    Refused::Text(format!(
        "ONCEDONE the command of '{id}' has taken effect; its reply was larger than the {ONCE_REPLY_BYTES_MAX} bytes that are \
         kept; nothing was changed now; read what you need of it"
    ))
}

fn overloaded(clients: usize) -> Refused {
    Refused::Text(format!(
        "OVERLOADED this shard knows the ids of {clients} clients and has no room for another yet; nothing was changed; use \
         fewer names, each with rising numbers, or try again later"
    ))
}
