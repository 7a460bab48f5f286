//! The model's scripts: what each text means, spelled out.

use super::{Asked, Model};
use crate::answer::{Answer, Expected};
use crate::workload::scripts::{Meaning, meaning, text_of};

/// A script that is ended by force has done nothing.
const ENDED: &str = "ERR Script stopped: ";

/// How a script comes to its end before its last line.
type Raised = Expected;

impl Model {
    /// EVAL and its kin; nothing if it is none.
    pub(super) fn script(&mut self, name: &str, now: u64, asked: &Asked) -> Option<Expected> {
        let text = match name {
            "eval" | "eval_ro" => String::from_utf8_lossy(&asked.words[1]).into_owned(),
            "evalsha" | "evalsha_ro" => match text_of(&asked.words[1]).filter(|text| self.loaded.contains(text)) {
                Some(text) => text,
                None => return Some(Expected::ErrorWith("NOSCRIPT ")),
            },
            "script" => return Some(Expected::Is(self.load(asked))),
            _ => return None,
        };
        let meaning = meaning(&text).expect("the workload has no other script");
        Some(self.means(meaning, now, asked.db, &asked.words[3..]).unwrap_or_else(|raised| raised))
    }

    fn load(&mut self, asked: &Asked) -> Answer {
        if asked.words[1] == b"flush" {
            self.loaded.clear();
            return Answer::ok();
        }
        let text = String::from_utf8_lossy(&asked.words[2]).into_owned();
        self.loaded.insert(text);
        Answer::bulk(data::scripts::sha_text(&data::scripts::sha_of(&asked.words[2])).as_bytes())
    }

    fn means(&mut self, meaning: Meaning, now: u64, db: u8, words: &[Vec<u8>]) -> Result<Expected, Raised> {
        let (one, two, first) = (&words[0][..], &words[1][..], &words[2][..]);
        let answer = match meaning {
            Meaning::Count => {
                let counts = [self.call(now, db, &[b"incr", one])?, self.call(now, db, &[b"incr", two])?];
                Answer::Array(counts.to_vec())
            }
            Meaning::Swap => {
                let same = self.call(now, db, &[b"get", one])? == Answer::bulk(first);
                if same {
                    self.call(now, db, &[b"set", one, &words[3]])?;
                }
                Answer::Int(i64::from(same))
            }
            Meaning::Take => {
                let value = self.call(now, db, &[b"getdel", one])?;
                if let Answer::Bulk(value) = &value {
                    self.call(now, db, &[b"set", two, value])?;
                }
                value
            }
            Meaning::Repeat => {
                let times: u64 = String::from_utf8_lossy(first).parse().expect("the workload sends numbers");
                for _ in 0..times {
                    self.call(now, db, &[b"append", one, b"x"])?;
                }
                self.call(now, db, &[b"strlen", one])?
            }
            Meaning::Look => self.call(now, db, &[b"mget", one, two])?,
            Meaning::Half => {
                self.call(now, db, &[b"set", one, first])?;
                return Err(Expected::ErrorWith("ERR Unknown Redis command called from script"));
            }
            Meaning::Safe => match self.call(now, db, &[b"incr", one]) {
                Ok(count) => count,
                Err(raised) => {
                    self.call(now, db, &[b"set", one, b"5"])?;
                    let Expected::ErrorOf(why) = raised else { unreachable!("a command fails by its text") };
                    Answer::bulk(why.as_bytes())
                }
            },
            Meaning::Spin | Meaning::Bomb => return Err(Expected::ErrorWith(ENDED)),
            Meaning::Long => self.call(now, db, &[b"append", one, first])?,
            Meaning::Brief => {
                self.call(now, db, &[b"set", one, first, b"px", &words[3]])?;
                self.call(now, db, &[b"pttl", one])?
            }
        };
        Ok(Expected::Is(answer))
    }

    fn call(&mut self, now: u64, db: u8, words: &[&[u8]]) -> Result<Answer, Raised> {
        let asked = Asked { db, words: words.iter().map(|word| word.to_vec()).collect() };
        match self.run(now, &asked) {
            Expected::Is(Answer::Error(why)) => Err(Expected::ErrorOf(why)),
            Expected::Is(answer) => Ok(answer),
            other => unreachable!("scripts call what has one answer, not {other:?}"),
        }
    }
}
