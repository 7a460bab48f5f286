//! Commands under an id: drawn, sent again when a crash or a full disk took their answer, and now and then for no reason.
//!
//! Whoever sends them outlives connections and machines, as a service does that keeps its numbers.

use super::World;
use super::client::Client;
use crate::answer::Answer;
use crate::oracle::Asked;
use crate::workload::Workload;
use base::ClientId;
use base::rng::Rng;
use std::collections::{BTreeMap, VecDeque};

/// What was sent under an id: one command, or MULTI to EXEC.
#[derive(Clone, Debug)]
pub struct Promise {
    pub id: String,
    pub frames: Vec<Asked>,
}

/// What became of ids.
#[derive(Debug, Default)]
pub struct Promises {
    /// The last number of each sender.
    last: [u64; SENDERS],
    /// No answer has come.
    unsettled: VecDeque<Promise>,
    /// Some of those that were answered.
    settled: VecDeque<Promise>,
    answers: BTreeMap<String, Answer>,
}

const SENDERS: usize = 3;
const SETTLED_KEPT: usize = 48;

impl Promises {
    /// Their connection was lost.
    pub fn lost(&mut self, promises: impl IntoIterator<Item = Promise>) {
        self.unsettled.extend(promises);
    }

    /// An answer has come: to one id there is one, whenever and wherever it is given.
    pub fn an_id_has_one_answer(&mut self, promise: Promise, answer: Answer) -> &'static str {
        if let Answer::Error(text) = &answer {
            match text.split(' ').next() {
                Some("MISCONF") => {
                    self.unsettled.push_back(promise);
                    return "once: refused before the log";
                }
                Some("UNKNOWN") => return "once: forgotten",
                Some("ONCEMISMATCH") => return "once: mismatch",
                Some("ONCEDONE") => return "once: too large to keep",
                // It may be sent again under the same id, by who holds the lock by then.
                Some("FENCED") => return "once: refused by a fence",
                Some("CROSSSHARD") => return "once: refused before the log",
                _ => {}
            }
        }
        self.settled.push_back(promise.clone());
        if self.settled.len() > SETTLED_KEPT {
            self.settled.pop_front();
        }
        match self.answers.insert(promise.id.clone(), answer.clone()) {
            None => "once: answered",
            Some(former) => {
                assert_eq!(former, answer, "an_id_has_one_answer: {}", promise.id);
                "once: answered again"
            }
        }
    }

    fn fresh(&mut self, rng: &mut Rng) -> String {
        let sender = usize::try_from(rng.below(SENDERS as u64)).expect("few senders");
        self.last[sender] += 1;
        format!("sender:{sender}:{}", self.last[sender])
    }

    /// One that was sent before, to be sent again as it was or, by mistake, with another command.
    fn again(&mut self, rng: &mut Rng) -> Option<Promise> {
        if let Some(promise) = self.unsettled.pop_front() {
            return Some(promise);
        }
        let at = usize::try_from(rng.below(self.settled.len().max(1) as u64)).expect("few are kept");
        let mut promise = self.settled.get(at)?.clone();
        if rng.one_in(6)
            && let [single] = promise.frames.as_mut_slice()
        {
            let key = key_of(&single.words[2..])?;
            single.words.truncate(2);
            single.words.extend([b"append".to_vec(), key, b"another".to_vec()]);
        }
        Some(promise)
    }
}

impl World {
    /// A client sends a command or a transaction under an id.
    pub(crate) fn ask_once(&mut self, id: ClientId) {
        let Self { rng, workload, clients, promises, holders, .. } = self;
        let client = clients.get_mut(&id).expect("it was just chosen");
        let again = if rng.one_in(2) { promises.again(rng) } else { None };
        let frames = match again {
            Some(promise) => promise.frames,
            None if rng.one_in(4) => transaction(promises.fresh(rng), rng, workload, client.db),
            None => {
                let asked = command(&promises.fresh(rng), rng, workload, client.db);
                vec![if rng.one_in(3) { holders.put_before(rng, asked) } else { asked }]
            }
        };
        let db = frames[0].db;
        if db != client.db {
            client.send(plain(client.db, &format!("select {db}")));
            client.db = db;
        }
        frames.into_iter().for_each(|frame| client.send(frame));
    }

    /// What clients were answered under ids.
    pub(crate) fn settle_promises(&mut self) {
        for client in self.clients.values_mut() {
            for (promise, answer) in client.take_kept_promises() {
                let what = self.promises.an_id_has_one_answer(promise, answer);
                self.tally.event(what);
            }
        }
    }

    /// Clients are gone: what they have no answer for will be sent again.
    pub(crate) fn lose_promises(&mut self) {
        self.settle_promises();
        for client in self.clients.values_mut() {
            let open = Client::open_promises(client);
            self.tally.events_by("once: to be sent again", open.len() as u64);
            self.promises.lost(open);
        }
    }
}

fn command(id: &str, rng: &mut Rng, workload: &mut Workload, db: u8) -> Asked {
    let mut asked = loop {
        let asked = workload.draw(rng, db, None, false);
        let row = data::command::find(&asked.words[0]).expect("the workload knows the table");
        if matches!(row.run, data::Run::Write(_)) && key_of(&asked.words).is_some() {
            break asked;
        }
    };
    asked.words.splice(0..0, [b"ONCE".to_vec(), id.as_bytes().to_vec()]);
    asked
}

fn transaction(id: String, rng: &mut Rng, workload: &mut Workload, db: u8) -> Vec<Asked> {
    let group = rng.below(crate::workload::GROUPS);
    let mut frames = vec![plain(db, "multi")];
    for _ in 0..1 + rng.below(4) {
        frames.push(workload.draw(rng, db, Some(group), false));
    }
    if frames[1..].iter().all(|asked| key_of(&asked.words).is_none()) {
        // What counts its keys wrong names none, and an id needs one.
        return transaction(id, rng, workload, db);
    }
    frames.push(plain(db, &format!("once {id} exec")));
    frames
}

/// The first key of a command, if it names one.
fn key_of(words: &[Vec<u8>]) -> Option<Vec<u8>> {
    let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let at = data::command::find(args[0])?.keys.positions(&args).next()?;
    Some(words[at].clone())
}

fn plain(db: u8, text: &str) -> Asked {
    Asked { db, words: text.split(' ').map(|word| word.as_bytes().to_vec()).collect() }
}
