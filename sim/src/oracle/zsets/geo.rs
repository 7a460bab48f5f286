//! Places in the model: every member is measured.

use super::*;

const LATITUDE_MAX: f64 = 85.051_128_78;
const CELLS: f64 = 67_108_864.0;

/// What a search asks for.
#[derive(Default)]
struct Search {
    from: Option<(f64, f64)>,
    /// Radius, or width and height, in meters.
    circle: Option<f64>,
    rectangle: Option<(f64, f64)>,
    /// The key of FROMMEMBER is not there.
    nowhere: bool,
    unit: f64,
    order: Option<bool>,
    count: Option<usize>,
    any: bool,
    with: Vec<&'static str>,
}

impl Model {
    /// A command of places; nothing if it is none.
    pub(super) fn geo(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Option<Told> {
        Some(match name {
            "geoadd" => self.geoadd(now, db, words),
            "geopos" | "geodist" | "geohash" => self.geolook(name, now, db, words),
            "geosearch" => self.geosearch(now, db, words, None),
            "geosearchstore" => self.geosearch(now, db, &words[1..], Some(words[1])),
            "georadius" | "georadius_ro" => {
                let head = [words[0], words[1], b"fromlonlat", words[2], words[3], b"byradius", words[4], words[5]];
                self.geosearch(now, db, &[&head, &words[6..]].concat(), None)
            }
            "georadiusbymember" | "georadiusbymember_ro" => {
                let head = [words[0], words[1], b"frommember", words[2], b"byradius", words[3], words[4]];
                self.geosearch(now, db, &[&head, &words[5..]].concat(), None)
            }
            _ => return None,
        })
    }

    fn geoadd(&mut self, now: u64, db: u8, words: &[&[u8]]) -> Told {
        let flag = |word: &&&[u8]| ["nx", "xx", "ch"].iter().any(|flag| word.eq_ignore_ascii_case(flag.as_bytes()));
        let flags: Vec<&[u8]> = words[2..].iter().take_while(flag).copied().collect();
        let has = |flag: &[u8]| flags.iter().any(|one| one.eq_ignore_ascii_case(flag));
        let places = &words[2 + flags.len()..];
        if !places.len().is_multiple_of(3) || places.is_empty() || (has(b"nx") && has(b"xx")) {
            return Err(error("ERR syntax error"));
        }
        let mut scores = Vec::new();
        for place in places.chunks(3) {
            scores.push(encode(place_of(place[0], place[1])?, LATITUDE_MAX).to_string().into_bytes());
        }
        let pairs = scores.iter().zip(places.chunks(3)).flat_map(|(score, place)| [score.as_slice(), place[2]]);
        let zadd: Vec<&[u8]> = words[..2].iter().copied().chain(flags).chain(pairs).collect();
        self.zadd(now, db, &zadd)
    }

    fn geolook(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Told {
        let unit = if name == "geodist" { words.get(4).map_or(Ok(1.0), |word| unit(word))? } else { 1.0 };
        let (zset, _) = self.zset_at(now, db, words[1])?;
        let place = |member: &&[u8]| zset.get(*member).map(|score| decode(*score));
        Ok(Expected::Is(match name {
            "geodist" => match (place(&words[2]), place(&words[3])) {
                (Some(one), Some(other)) => meters_shown(distance(one, other) / unit),
                _ => Answer::Nil,
            },
            "geopos" => {
                let shown = |member| place(member).map_or(Answer::NilArray, coordinates);
                Answer::Array(words[2..].iter().map(shown).collect())
            }
            _ => {
                let text = |member| place(member).map_or(Answer::Nil, |place| Answer::bulk(letters(place).as_bytes()));
                Answer::Array(words[2..].iter().map(text).collect())
            }
        }))
    }

    fn geosearch(&mut self, now: u64, db: u8, words: &[&[u8]], store: Option<&[u8]>) -> Told {
        let (zset, _) = self.zset_at(now, db, words[1])?;
        let asked = Search::read(&zset, &words[2..])?;
        let Some(from) = asked.from.filter(|_| !asked.nowhere) else {
            if let Some(key) = store {
                self.put(db, key, Content::Zset(Zset::new()), None);
            }
            return Ok(Expected::Is(if store.is_some() { Answer::Int(0) } else { Answer::Array(Vec::new()) }));
        };
        let places = zset.iter().filter(|(_, score)| (0.0..CELLS * CELLS).contains(*score));
        let mut found: Vec<(f64, &Vec<u8>, f64)> = places
            .filter(|(_, score)| asked.holds(from, decode(**score)))
            .map(|(member, score)| (distance(from, decode(*score)), member, *score))
            .collect();
        let most = asked.count.unwrap_or(usize::MAX).min(found.len());
        if asked.any {
            let rows = found.iter().map(|(_, member, _)| vec![(*member).clone()]).collect();
            return Ok(Expected::Rows(Rows { rows, wanted: Wanted::Different(most) }));
        }
        let order = asked.order.or(asked.count.map(|_| true));
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        if order == Some(false) {
            found.reverse();
        }
        found.truncate(most);
        if let Some(key) = store {
            let new: Zset = found.iter().map(|(_, member, score)| ((*member).clone(), *score)).collect();
            self.put(db, key, Content::Zset(new), None);
            return Ok(Expected::Is(count(most)));
        }
        if order.is_none() && asked.with.is_empty() {
            let rows = found.iter().map(|(_, member, _)| vec![(*member).clone()]).collect();
            return Ok(Expected::Rows(Rows { rows, wanted: Wanted::All }));
        }
        Ok(Expected::Is(Answer::Array(found.iter().map(|one| asked.shown(*one)).collect())))
    }
}

impl Search {
    fn read(zset: &Zset, words: &[&[u8]]) -> Result<Self, Answer> {
        let mut asked = Self::default();
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            let mut more = || words.next().ok_or_else(|| error("ERR syntax error"));
            match word.to_ascii_lowercase().as_slice() {
                b"frommember" => {
                    let member = more()?;
                    asked.nowhere = zset.is_empty();
                    asked.from = zset.get(member).map(|score| decode(*score));
                    if asked.from.is_none() && !asked.nowhere {
                        return Err(error("ERR could not decode requested zset member"));
                    }
                }
                b"fromlonlat" => asked.from = Some(place_of(more()?, more()?)?),
                b"byradius" => {
                    let radius = float(more()?).ok_or_else(|| error("ERR need numeric radius"))?;
                    asked.unit = unit(more()?)?;
                    asked.circle = Some(radius * asked.unit);
                }
                b"bybox" => {
                    let (width, height) = (float(more()?).expect("a number"), float(more()?).expect("a number"));
                    asked.unit = unit(more()?)?;
                    asked.rectangle = Some((width * asked.unit, height * asked.unit));
                }
                b"asc" => asked.order = Some(true),
                b"desc" => asked.order = Some(false),
                b"any" => asked.any = true,
                b"count" => {
                    let most = integer(more()?).ok_or_else(not_an_integer)?;
                    let most = usize::try_from(most).ok().filter(|most| *most > 0);
                    asked.count = Some(most.ok_or_else(|| error("ERR COUNT must be > 0"))?);
                }
                b"withdist" => asked.with.push("dist"),
                b"withhash" => asked.with.push("hash"),
                b"withcoord" => asked.with.push("coord"),
                _ => return Err(error("ERR syntax error")),
            }
        }
        Ok(asked)
    }

    fn holds(&self, from: (f64, f64), place: (f64, f64)) -> bool {
        match self.rectangle {
            Some((width, height)) => {
                distance(place, (from.0, place.1)) <= width / 2.0 && distance(place, (place.0, from.1)) <= height / 2.0
            }
            None => distance(from, place) <= self.circle.expect("the workload says where"),
        }
    }

    fn shown(&self, (meters, member, score): (f64, &Vec<u8>, f64)) -> Answer {
        if self.with.is_empty() {
            return Answer::bulk(member);
        }
        let mut parts = vec![Answer::bulk(member)];
        if self.with.contains(&"dist") {
            parts.push(meters_shown(meters / self.unit));
        }
        if self.with.contains(&"hash") {
            parts.push(Answer::Int(integer(format!("{score:.0}").as_bytes()).expect("a hash is an integer")));
        }
        if self.with.contains(&"coord") {
            parts.push(coordinates(decode(score)));
        }
        Answer::Array(parts)
    }
}

fn place_of(longitude: &[u8], latitude: &[u8]) -> Result<(f64, f64), Answer> {
    let number = |word| float(word).ok_or_else(|| error("ERR value is not a valid float"));
    let place = (number(longitude)?, number(latitude)?);
    if place.0.abs() > 180.0 || place.1.abs() > LATITUDE_MAX {
        return Err(error(&format!("ERR invalid longitude,latitude pair {:.6},{:.6}", place.0, place.1)));
    }
    Ok(place)
}

fn unit(word: &[u8]) -> Result<f64, Answer> {
    match word {
        b"m" => Ok(1.0),
        b"km" => Ok(1000.0),
        b"ft" => Ok(0.3048),
        b"mi" => Ok(1609.34),
        _ => Err(error("ERR unsupported unit provided. please use M, KM, FT, MI")),
    }
}

/// The hash of a place: the bits of both coordinates, one by one, that of the longitude first.
fn encode((longitude, latitude): (f64, f64), latitude_max: f64) -> u64 {
    let east = whole((longitude + 180.0) / 360.0 * CELLS);
    let north = whole((latitude + latitude_max) / (latitude_max * 2.0) * CELLS);
    (0..26).rev().fold(0, |bits, at| bits << 2 | (east >> at & 1) << 1 | north >> at & 1)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "that is what is wanted")]
fn whole(number: f64) -> u64 {
    number as u64
}

/// The middle of a cell. What is no hash is read as C reads it.
fn decode(score: f64) -> (f64, f64) {
    let bits = match score {
        f64::INFINITY => 0,
        f64::NEG_INFINITY => 1 << 63,
        _ if score < 0.0 => whole(-score).wrapping_neg(),
        _ => whole(score),
    };
    let every_second = |from: u32| {
        let number = (0..32).fold(0_u32, |number, at| number | u32::from(bits >> (from + 2 * at) & 1 == 1) << at);
        (f64::from(number), f64::from(number.wrapping_add(1)))
    };
    let middle = |(low, high): (f64, f64), least: f64, whole: f64, most: f64| {
        let (low, high) = (least + low / CELLS * whole, least + high / CELLS * whole);
        ((low + high) / 2.0).max(least).min(most)
    };
    (
        middle(every_second(1), -180.0, 360.0, 180.0),
        middle(every_second(0), -LATITUDE_MAX, LATITUDE_MAX * 2.0, LATITUDE_MAX),
    )
}

/// The way over a sphere in meters.
fn distance(one: (f64, f64), other: (f64, f64)) -> f64 {
    let [a, b, c, d] = [one.0, one.1, other.0, other.1].map(|degrees| degrees * (std::f64::consts::PI / 180.0));
    let (u, v) = (((d - b) / 2.0).sin(), ((c - a) / 2.0).sin());
    2.0 * 6_372_797.560_856 * (u * u + b.cos() * d.cos() * v * v).sqrt().asin()
}

fn meters_shown(meters: f64) -> Answer {
    Answer::bulk(format!("{meters:.4}").as_bytes())
}

fn coordinates(place: (f64, f64)) -> Answer {
    let shown = |degrees: f64| {
        let text = format!("{degrees:.17}");
        Answer::bulk(text.trim_end_matches('0').trim_end_matches('.').as_bytes())
    };
    Answer::Array(vec![shown(place.0), shown(place.1)])
}

/// The geohash that other systems know: its latitudes reach to the poles, and its last letter is always the first.
fn letters(place: (f64, f64)) -> String {
    let bits = encode(place, 90.0);
    let alphabet: Vec<char> = "0123456789bcdefghjkmnpqrstuvwxyz".chars().collect();
    let letter = |at: u32| alphabet[usize::try_from(bits >> (47 - 5 * at) & 31).expect("five bits")];
    (0..10).map(letter).chain(['0']).collect()
}
