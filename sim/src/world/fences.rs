//! Commands under fences: holders of a few locks come and go, and those who were late go on as if nothing had happened.
//!
//! Who holds a lock is decided nowhere here: a number is drawn, most often the last one, now and then the next, and often one of
//! before. The model says which of them a shard lets in.

use super::World;
use crate::oracle::Asked;
use crate::oracle::fences::{Fences, bare};
use base::ClientId;
use base::rng::Rng;

/// Locks, and the last number of each that was given out.
#[derive(Debug, Default)]
pub struct Holders {
    last: [u64; LOCKS],
}

const LOCKS: usize = 4;

impl Holders {
    /// A lock but the first, and a number of its.
    fn draw(&mut self, rng: &mut Rng) -> (Vec<u8>, u64) {
        let lock = 1 + usize::try_from(rng.below(LOCKS as u64 - 1)).expect("few locks");
        self.of(rng, lock)
    }

    fn of(&mut self, rng: &mut Rng, lock: usize) -> (Vec<u8>, u64) {
        let last = &mut self.last[lock];
        *last += u64::from(*last == 0 || rng.one_in(8));
        let late = if rng.one_in(3) { 1 + rng.below(2) } else { 0 };
        (format!("lock {lock}").into_bytes(), last.saturating_sub(late).max(1))
    }

    /// The same command under a fence, or two, if it may stand there.
    pub(super) fn put_before(&mut self, rng: &mut Rng, mut asked: Asked) -> Asked {
        if !can_be_judged(&asked) {
            return asked;
        }
        let at = if asked.name() == "once" { 2 } else { 0 };
        let mut fences = vec![self.draw(rng)];
        fences.extend(rng.one_in(6).then(|| self.draw(rng)).filter(|(lock, _)| *lock != fences[0].0));
        asked.words.splice(at..at, words(&fences));
        asked
    }

    /// A fence for a whole transaction.
    pub(super) fn of_transaction(&mut self, rng: &mut Rng) -> Fences {
        vec![self.draw(rng)]
    }
}

/// The words that say so.
pub(super) fn words(fences: &[(Vec<u8>, u64)]) -> Vec<Vec<u8>> {
    let each = |(lock, number): &(Vec<u8>, u64)| [b"fence".to_vec(), lock.clone(), number.to_string().into_bytes()];
    fences.iter().flat_map(each).collect()
}

/// True for a command that has keys in one shard, and doesn't speak of the connection.
pub(super) fn can_be_judged(asked: &Asked) -> bool {
    let asked = bare(asked).asked;
    let words: Vec<&[u8]> = asked.words.iter().map(Vec::as_slice).collect();
    let Some(row) = data::command::find(words[0]) else { return false };
    let keyed = matches!(row.run, data::Run::Read(_) | data::Run::Write(_)) && !row.keys.is_none();
    (keyed || matches!(row.run, data::Run::Script(_))) && row.name != "watch"
}

/// True for a command by which a transaction can be judged.
pub(super) fn names_a_key(asked: &Asked) -> bool {
    let words: Vec<&[u8]> = asked.words.iter().map(Vec::as_slice).collect();
    let row = data::command::find(words[0]).expect("the workload knows the table");
    matches!(row.run, data::Run::Script(_)) || row.keys.positions(&words).next().is_some()
}

impl World {
    /// A client puts its connection under a fence, or takes fences away; or somebody resets a lock.
    pub(super) fn ask_about_fences(&mut self, id: ClientId) {
        let Self { rng, clients, holders, .. } = self;
        let client = clients.get_mut(&id).expect("it was just chosen");
        let words = match rng.below(8) {
            0..=2 => {
                let (lock, number) = holders.of(rng, 0);
                vec![b"fence.set".to_vec(), lock, number.to_string().into_bytes()]
            }
            3 => vec![b"fence.clear".to_vec(), b"lock 0".to_vec()],
            4..=6 => vec![b"fence.clear".to_vec()],
            _ => {
                let (lock, number) = holders.draw(rng);
                let floor =
                    if rng.one_in(2) { vec![number.saturating_sub(1).to_string().into_bytes()] } else { Vec::new() };
                [b"fence.reset".to_vec(), lock].into_iter().chain(floor).collect()
            }
        };
        client.will_be_fenced = (client.will_be_fenced && words[0] != b"fence.clear") || words[0] == b"fence.set";
        client.send(Asked { db: client.db, words });
    }
}
