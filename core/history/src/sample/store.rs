//! A store that is right, spelled out as slowly and obviously as it can be; it shares no code with the model.

use crate::command::Word;
use crate::reply::Reply;
use std::collections::BTreeMap;

/// The keys of a right store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store {
    keys: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Store {
    /// Carries out an operation of Redis' dialect, which must be well formed.
    pub fn run(&mut self, words: &[Word]) -> Reply {
        let name = name(words);
        if name == "MULTI" {
            let one = |word: &Word| match word {
                Word::List(words) => self.run(words),
                Word::Text(_) | Word::Nil => panic!("a transaction has commands"),
            };
            return Reply::List(words[1..].iter().map(one).collect());
        }
        let word = |at: usize| -> Vec<u8> { text(&words[at]).expect("only CAS takes nil") };
        let key = word(1);
        let held = self.keys.get(&key).cloned();
        match name.as_str() {
            "GET" => bulk(held),
            "EXISTS" | "MGET" | "DEL" | "MSET" | "MSETNX" => self.run_many(&name, &words[1..]),
            "STRLEN" => count(held.unwrap_or_default().len()),
            "SET" if words.len() == 4 && word(3) == b"NX" && held.is_some() => Reply::Nil,
            "SET" => {
                self.keys.insert(key, word(2));
                Reply::ok()
            }
            "SETNX" => {
                self.keys.entry(key).or_insert(word(2));
                Reply::Int(i64::from(held.is_none()))
            }
            "GETSET" => {
                self.keys.insert(key, word(2));
                bulk(held)
            }
            "GETDEL" => {
                self.keys.remove(&key);
                bulk(held)
            }
            "CAS" if held == text(&words[2]) => {
                self.keys.insert(key, word(3));
                Reply::Int(1)
            }
            "CAS" => Reply::Int(0),
            "APPEND" => {
                let whole = [held.unwrap_or_default(), word(2)].concat();
                self.keys.insert(key, whole.clone());
                count(whole.len())
            }
            "INCR" => self.add(key, 1),
            "DECR" => self.add(key, -1),
            "INCRBY" => self.add(key, number(&word(2)).expect("it is well formed")),
            _ => panic!("no operation of samples: {name}"),
        }
    }

    /// What GET would answer.
    #[must_use]
    pub fn value(&self, key: &[u8]) -> Reply {
        bulk(self.keys.get(key).cloned())
    }

    /// Makes the key hold what GET answered.
    pub fn put_back(&mut self, key: &[u8], value: &Reply) {
        match value {
            Reply::Text(text) => drop(self.keys.insert(key.to_vec(), text.to_vec())),
            _ => drop(self.keys.remove(key)),
        }
    }

    fn run_many(&mut self, name: &str, words: &[Word]) -> Reply {
        let words: Vec<Vec<u8>> = words.iter().map(|word| text(word).expect("only CAS takes nil")).collect();
        match name {
            "EXISTS" => count(words.iter().filter(|key| self.keys.contains_key(*key)).count()),
            "MGET" => Reply::List(words.iter().map(|key| bulk(self.keys.get(key).cloned())).collect()),
            "DEL" => {
                let mut gone = 0;
                for key in &words {
                    gone += usize::from(self.keys.remove(key).is_some());
                }
                count(gone)
            }
            "MSETNX" if words.chunks(2).any(|pair| self.keys.contains_key(&pair[0])) => Reply::Int(0),
            _ => {
                for pair in words.chunks(2) {
                    self.keys.insert(pair[0].clone(), pair[1].clone());
                }
                if name == "MSETNX" { Reply::Int(1) } else { Reply::ok() }
            }
        }
    }

    fn add(&mut self, key: Vec<u8>, by: i64) -> Reply {
        let held = self.keys.get(&key).cloned().unwrap_or_else(|| b"0".to_vec());
        let Some(old) = number(&held) else {
            return Reply::Error("ERR value is not an integer or out of range".to_owned());
        };
        let Some(new) = old.checked_add(by) else {
            return Reply::Error("ERR increment or decrement would overflow".to_owned());
        };
        self.keys.insert(key, new.to_string().into_bytes());
        Reply::Int(new)
    }
}

/// The name of an operation, in upper case.
fn name(words: &[Word]) -> String {
    text(&words[0]).map(|name| String::from_utf8_lossy(&name).to_ascii_uppercase()).unwrap_or_default()
}

fn text(word: &Word) -> Option<Vec<u8>> {
    match word {
        Word::Text(text) => Some(text.to_vec()),
        Word::Nil => None,
        Word::List(_) => panic!("a list stands in transactions alone"),
    }
}

fn number(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn bulk(value: Option<Vec<u8>>) -> Reply {
    value.map_or(Reply::Nil, Reply::text)
}

fn count(n: usize) -> Reply {
    Reply::Int(i64::try_from(n).expect("samples are small"))
}
