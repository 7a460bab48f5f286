//! What is sent: command templates with weights, rendered into frames.
//!
//! A key's number always has twelve digits and a value always the same length, so a template is a finished frame with
//! holes at known places: a request costs one copy and a few patches, and the generator measures the target, not itself.

use super::chance::{Keys, unit, whole};
use super::options::Options;
use base::rng::Rng;

/// The commands of a run, with their weights.
#[derive(Clone, Debug)]
pub struct Load {
    templates: Vec<Template>,
    keys: Keys,
    /// Random printable bytes; a value is a window of it.
    pool: Vec<u8>,
    value_bytes: usize,
}

/// One command, ready but for its holes.
#[derive(Clone, Debug)]
struct Template {
    name: String,
    weight: u32,
    frame: Vec<u8>,
    holes: Vec<Hole>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hole {
    /// Twelve digits from here.
    Key(usize),
    /// A value from here.
    Value(usize),
}

impl Load {
    /// The load that the options ask for.
    pub fn new(options: &Options) -> Result<Self, String> {
        let value_bytes = usize::try_from(options.value_bytes).map_err(|_| "--value-bytes is too large here")?;
        let mut rng = Rng::new(options.seed);
        let pool = (0..value_bytes + POOL_SLACK_BYTES).map(|_| printable(&mut rng)).collect();
        let templates = match &options.command {
            Some(text) => vec![Template::new(text, 1, value_bytes)?],
            None => parse_mix(&options.mix, value_bytes)?,
        };
        Ok(Self { templates, keys: Keys::new(options.key_distribution, options.keys), pool, value_bytes })
    }

    /// The names of the commands; `push` answers with an index into it.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.templates.iter().map(|template| template.name.clone()).collect()
    }

    /// Appends one request by chance; says which command it is.
    pub fn push(&self, rng: &mut Rng, out: &mut Vec<u8>) -> usize {
        let op = self.choose(rng);
        let template = &self.templates[op];
        let start = out.len();
        out.extend_from_slice(&template.frame);
        for hole in &template.holes {
            match hole {
                Hole::Key(at) => digits(self.keys.draw(rng), &mut out[start + at..start + at + KEY_DIGITS]),
                Hole::Value(at) => {
                    let from = whole(unit(rng) * POOL_SLACK_BYTES as f64);
                    let from = usize::try_from(from).expect("it is below the slack");
                    let value = &self.pool[from..from + self.value_bytes];
                    out[start + at..start + at + self.value_bytes].copy_from_slice(value);
                }
            }
        }
        op
    }

    fn choose(&self, rng: &mut Rng) -> usize {
        if self.templates.len() == 1 {
            return 0;
        }
        let mut ticket = rng.below(self.templates.iter().map(|one| u64::from(one.weight)).sum());
        let hit = self.templates.iter().position(|one| {
            let won = ticket < u64::from(one.weight);
            ticket = ticket.saturating_sub(u64::from(one.weight));
            won
        });
        hit.expect("the ticket is below the sum of the weights")
    }
}

impl Template {
    /// A command in words; `{}` glued to text is a key's number, `{}` alone a value.
    fn new(text: &str, weight: u32, value_bytes: usize) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let name = words.first().ok_or("--command holds no command, such as 'SET key:{} {}'")?.to_lowercase();
        let mut frame = format!("*{}\r\n", words.len()).into_bytes();
        let mut holes = Vec::new();
        for word in words {
            push_word(word, value_bytes, &mut frame, &mut holes);
        }
        Ok(Self { name, weight, frame, holes })
    }
}

fn push_word(word: &str, value_bytes: usize, frame: &mut Vec<u8>, holes: &mut Vec<Hole>) {
    if word == "{}" {
        frame.extend_from_slice(format!("${value_bytes}\r\n").as_bytes());
        holes.push(Hole::Value(frame.len()));
        frame.resize(frame.len() + value_bytes, b'x');
    } else {
        let pieces: Vec<&str> = word.split("{}").collect();
        let length = word.len() + (pieces.len() - 1) * (KEY_DIGITS - "{}".len());
        frame.extend_from_slice(format!("${length}\r\n").as_bytes());
        for (number, piece) in pieces.iter().enumerate() {
            if number > 0 {
                holes.push(Hole::Key(frame.len()));
                frame.resize(frame.len() + KEY_DIGITS, b'0');
            }
            frame.extend_from_slice(piece.as_bytes());
        }
    }
    frame.extend_from_slice(b"\r\n");
}

/// `get=90,set=10`: names of the table below, with weights.
fn parse_mix(text: &str, value_bytes: usize) -> Result<Vec<Template>, String> {
    let mut templates: Vec<Template> = Vec::new();
    for part in text.split(',') {
        let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
        let name = name.trim().to_lowercase();
        let Some((_, command)) = NAMED.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = NAMED.iter().map(|(known, _)| *known).collect();
            return Err(format!("--mix: '{name}' is none of {}; others go by --command", known.join(", ")));
        };
        let weight = weight.trim().parse().ok().filter(|weight| *weight <= WEIGHT_MAX);
        let weight = weight.ok_or_else(|| format!("--mix: the weight of {name} is a number up to {WEIGHT_MAX}"))?;
        if templates.iter().any(|one| one.name == name) {
            return Err(format!("--mix names {name} twice"));
        }
        if weight > 0 {
            templates.push(Template::new(command, weight, value_bytes)?);
        }
    }
    if templates.is_empty() { Err("--mix: every weight is 0".into()) } else { Ok(templates) }
}

fn digits(mut number: u64, out: &mut [u8]) {
    for place in out.iter_mut().rev() {
        *place = b'0' + u8::try_from(number % 10).expect("a digit");
        number /= 10;
    }
}

fn printable(rng: &mut Rng) -> u8 {
    b'!' + u8::try_from(rng.below(94)).expect("below 94")
}

const KEY_DIGITS: usize = 12;
/// Places where a value may begin in the pool.
const POOL_SLACK_BYTES: usize = 4096;
const WEIGHT_MAX: u32 = 1_000_000;

/// The names of a mix.
const NAMED: &[(&str, &str)] = &[
    ("get", "GET key:{}"),
    ("set", "SET key:{} {}"),
    ("incr", "INCR counter:{}"),
    ("del", "DEL key:{}"),
    ("exists", "EXISTS key:{}"),
    ("ping", "PING"),
    ("mget", "MGET key:{} key:{} key:{} key:{} key:{} key:{} key:{} key:{} key:{} key:{}"),
    (
        "mset",
        "MSET key:{} {} key:{} {} key:{} {} key:{} {} key:{} {} key:{} {} key:{} {} key:{} {} key:{} {} key:{} {}",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::options::KeyLaw;

    fn load(templates: Vec<Template>) -> Load {
        let pool = vec![b'v'; 5 + POOL_SLACK_BYTES];
        Load { templates, keys: Keys::new(KeyLaw::Uniform, 1000), pool, value_bytes: 5 }
    }

    #[test]
    fn a_mix_keeps_its_weights() {
        let load = load(parse_mix("get=90, SET=10,ping=0", 5).unwrap());
        assert_eq!(load.names(), ["get", "set"]);
        let (mut rng, mut out) = (Rng::new(1), Vec::new());
        let gets = (0..10_000).filter(|_| load.push(&mut rng, &mut out) == 0).count();
        assert!((8800..9200).contains(&gets), "{gets}");
    }

    #[test]
    fn a_mix_that_makes_no_sense_is_refused_by_name() {
        for (text, says) in [
            ("", "'' is none of"),
            ("get=90,hset=10", "'hset' is none of get, set"),
            ("get=x", "weight of get"),
            ("get=-1", "weight of get"),
            ("get=9999999", "weight of get"),
            ("get=1,get=2", "get twice"),
            ("get=0", "every weight is 0"),
        ] {
            let error = parse_mix(text, 5).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn holes_are_filled_in_place_and_the_frame_stays_whole() {
        let load = load(vec![Template::new("SET a:{}:{} {}", 1, 5).unwrap()]);
        let (mut rng, mut out) = (Rng::new(1), b"before".to_vec());
        load.push(&mut rng, &mut out);
        let text = String::from_utf8(out).unwrap();
        let words: Vec<&str> = text.strip_prefix("before").unwrap().split("\r\n").collect();
        assert_eq!([words[0], words[1], words[2], words[3]], ["*3", "$3", "SET", "$27"]);
        assert_eq!([words[5], words[6], words[7]], ["$5", "vvvvv", ""]);
        let key: Vec<&str> = words[4].split(':').collect();
        assert_eq!((key[0], key[1].len(), key[2].len(), words[4].len()), ("a", 12, 12, 27));
        assert!(key[1].parse::<u64>().unwrap() < 1000 && key[1] != key[2]);
    }
}
