//! Outcomes in snapshots: as of the cut, in slices, with what is about to change written out first.
//!
//! An outcome never changes and only the oldest leaves, so one number says which of them are saved. A client is saved when
//! the walk over their names comes by, or before it changes; its epoch tells which. FORMAT.md draws the bytes.

use super::{Client, Id, Outcome, Outcomes, place};
use crate::Reply;
use base::Stamp;
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use base::limits::ONCE_REPLY_BYTES_MAX;
use base::mutation::{self, Mutation};
use bytes::Bytes;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::hash::Hasher;
use std::ops::Bound;
use std::sync::Arc;

/// Tags of a snapshot's items.
pub const TAG_CLIENT: u8 = 2;
pub const TAG_OUTCOME: u8 = 3;

/// Clients that one slice looks at.
const CLIENTS_PER_SLICE: usize = 1024;

/// Progress of the running cut.
#[derive(Debug, Default)]
pub(super) struct Cut {
    epoch: u64,
    walk: Option<Walk>,
    /// Written out before the walk came by, and not yet taken.
    saved: Vec<u8>,
}

/// What a cut has yet to save: outcomes from one number to another, then clients behind a name.
#[derive(Debug)]
struct Walk {
    outcome: u64,
    outcomes_end: u64,
    client: Option<Arc<[u8]>>,
}

impl Cut {
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }
}

impl Outcomes {
    /// Starts a cut: what is there now is what it will hold.
    pub fn begin_cut(&mut self) {
        self.cut.epoch += 1;
        let outcomes_end = self.first + self.kept.len() as u64;
        self.cut.walk = Some(Walk { outcome: self.first, outcomes_end, client: None });
        if mutation::on(Mutation::OnceNotInSnapshot) {
            self.cut.walk = None;
        }
        self.cut.saved = Vec::new();
    }

    /// Gives a cut up.
    pub fn abort_cut(&mut self) {
        self.cut.walk = None;
        self.cut.saved = Vec::new();
    }

    /// Takes what was written out ahead of the walk.
    pub fn cut_ahead(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.cut.saved);
    }

    /// Walks on until `out` has about `bytes_max` or the walk is done; true when it is done.
    pub fn cut_slice(&mut self, out: &mut Vec<u8>, bytes_max: usize) -> bool {
        self.cut_ahead(out);
        let Some(walk) = &mut self.cut.walk else { return true };
        while walk.outcome < walk.outcomes_end {
            if out.len() >= bytes_max {
                return false;
            }
            save_outcome(out, walk.outcome, &self.kept[place(walk.outcome - self.first)]);
            walk.outcome += 1;
        }
        let from = walk.client.take().map_or(Bound::Unbounded, Bound::Excluded);
        for (name, client) in self.clients.range_mut((from, Bound::Unbounded)).take(CLIENTS_PER_SLICE) {
            if client.epoch != self.cut.epoch {
                client.epoch = self.cut.epoch;
                save_client(out, name, client);
            }
            walk.client = Some(Arc::clone(name));
        }
        let done = walk.client.is_none();
        if done {
            self.cut.walk = None;
        }
        done
    }

    /// Call it before a client changes or goes.
    pub(super) fn save_client_first(&mut self, name: &Arc<[u8]>) {
        if self.cut.walk.is_none() {
            return;
        }
        let client = self.clients.get_mut(name).expect("the caller found it");
        if client.epoch != self.cut.epoch {
            client.epoch = self.cut.epoch;
            save_client(&mut self.cut.saved, name, client);
        }
    }

    /// Call it before the oldest outcome goes.
    pub(super) fn save_outcome_first(&mut self) {
        let Some(walk) = &mut self.cut.walk else { return };
        if walk.outcome == self.first && walk.outcome < walk.outcomes_end {
            save_outcome(&mut self.cut.saved, walk.outcome, &self.kept[0]);
            walk.outcome += 1;
        }
    }

    /// Adds it to a digest: what is kept, and who has been silent for how long. Numbers are left out: they count from where
    /// a replica began.
    pub fn digest(&self, hasher: &mut impl Hasher) {
        for Outcome { client, seq, until, fingerprint, reply } in &self.kept {
            digest_bytes(hasher, client);
            [*seq, until.0, *fingerprint].into_iter().for_each(|number| hasher.write_u64(number));
            digest_bytes(hasher, reply);
        }
        for name in self.silence.values() {
            let client = &self.clients[name];
            digest_bytes(hasher, name);
            [client.floor, client.until.0].into_iter().for_each(|number| hasher.write_u64(number));
        }
    }
}

fn digest_bytes(hasher: &mut impl Hasher, bytes: &[u8]) {
    hasher.write_usize(bytes.len());
    hasher.write(bytes);
}

fn save_client(out: &mut Vec<u8>, name: &[u8], client: &Client) {
    out.push(TAG_CLIENT);
    put_bytes(out, name);
    [client.floor, client.last, client.until.0].into_iter().for_each(|number| put_varint(out, number));
}

fn save_outcome(out: &mut Vec<u8>, number: u64, outcome: &Outcome) {
    out.push(TAG_OUTCOME);
    put_varint(out, number);
    Id { client: &outcome.client, seq: outcome.seq }.encode(out);
    put_varint(out, outcome.until.0);
    out.extend_from_slice(&outcome.fingerprint.to_le_bytes());
    put_bytes(out, &outcome.reply);
}

/// What a snapshot has said of outcomes so far; its items come in any order.
#[derive(Debug, Default)]
pub struct Loading {
    outcomes: Outcomes,
    /// With their numbers.
    kept: BTreeMap<u64, Outcome>,
}

impl Loading {
    /// A client, behind its tag.
    pub fn client(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let name: Arc<[u8]> = reader.bytes()?.into();
        let (floor, last, until) = (reader.varint()?, reader.varint()?, Stamp(reader.varint()?));
        let place = self.outcomes.clients.len() as u64;
        let client = Client { place, floor, last, until, epoch: 0 };
        let known = self.outcomes.silence.insert(last, Arc::clone(&name)).is_some();
        if self.outcomes.clients.insert(name, client).is_some() || known || last >= NUMBERS_END {
            return Err(DecodeError::Unknown(last));
        }
        Ok(())
    }

    /// An outcome, behind its tag.
    pub fn outcome(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let (number, id) = (reader.varint()?, Id::decode(reader)?);
        let (until, fingerprint) = (Stamp(reader.varint()?), reader.u64()?);
        let reply: SmallVec<[u8; 16]> = SmallVec::from_slice(reader.bytes()?);
        let bytes = Bytes::copy_from_slice(&reply);
        let mut rest = Reader::new(&bytes);
        if !bytes.is_empty() && (Reply::decode(&mut rest, &bytes).is_err() || !rest.is_empty()) {
            return Err(DecodeError::Unknown(number));
        }
        let outcome = Outcome { client: id.client.into(), seq: id.seq, until, fingerprint, reply };
        let large = outcome.reply.len() > ONCE_REPLY_BYTES_MAX;
        if large || number >= NUMBERS_END || self.kept.insert(number, outcome).is_some() {
            return Err(DecodeError::Unknown(number));
        }
        Ok(())
    }

    /// All is said.
    pub fn done(self) -> Result<Outcomes, DecodeError> {
        let Self { mut outcomes, kept } = self;
        outcomes.next_place = outcomes.clients.len() as u64;
        let after_clients = outcomes.silence.last_key_value().map_or(0, |(last, _)| last + 1);
        outcomes.first = kept.first_key_value().map_or(after_clients, |(number, _)| *number);
        for (number, mut outcome) in kept {
            let expected = outcomes.first + outcomes.kept.len() as u64;
            let Some((name, client)) = outcomes.clients.get_key_value(&outcome.client) else {
                return Err(DecodeError::Unknown(number));
            };
            let twice = outcomes.ids.insert((client.place, outcome.seq), number).is_some();
            if number != expected || client.last < number || twice {
                return Err(DecodeError::Unknown(number));
            }
            outcome.client = Arc::clone(name);
            outcomes.reply_bytes += outcome.reply.len();
            outcomes.kept.push_back(outcome);
        }
        let end = outcomes.first + outcomes.kept.len() as u64;
        if after_clients > end { Err(DecodeError::Unknown(after_clients)) } else { Ok(outcomes) }
    }
}

/// No shard comes to have so many outcomes.
const NUMBERS_END: u64 = 1 << 62;
