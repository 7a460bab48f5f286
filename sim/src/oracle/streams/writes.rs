//! XADD, XDEL, XTRIM, XSETID, XCFGSET.

use super::producers::Name;
use super::{Counts, Id, Stream, after, bad_id, exact, id_answer, lower, number};
use crate::answer::Answer;
use crate::oracle::{Model, count, error};

/// The options of XADD and XTRIM.
#[derive(Default)]
struct Options {
    nomkstream: bool,
    len: Option<usize>,
    from: Option<Id>,
    approximate: bool,
    limit: Option<i64>,
    name: Option<(Vec<u8>, Option<Vec<u8>>)>,
    /// Where the ID stands.
    at: usize,
}

impl Options {
    fn read(words: &[&[u8]], adding: bool) -> Result<Self, Answer> {
        let mut options = Self { at: 2, ..Self::default() };
        while options.at < words.len() {
            let more = &words[options.at + 1..];
            let option = lower(words[options.at]);
            options.at += match option.as_str() {
                "*" if adding => break,
                "maxlen" | "minid" if !more.is_empty() => options.read_keep(&option, more)?,
                "limit" if !more.is_empty() => {
                    let limit = number(more[0])?;
                    if limit < 0 {
                        return Err(error("ERR The LIMIT argument must be >= 0."));
                    }
                    options.limit = Some(limit);
                    2
                }
                "nomkstream" if adding => {
                    options.nomkstream = true;
                    1
                }
                "idmp" if adding && more.len() > 1 => {
                    options.set_name("IDMP", more[0], Some(more[1]))?;
                    3
                }
                "idmpauto" if adding && !more.is_empty() => {
                    options.set_name("IDMPAUTO", more[0], None)?;
                    2
                }
                _ if adding => {
                    wanted(words[options.at])?;
                    break;
                }
                _ => return Err(error("ERR syntax error")),
            };
        }
        options.check(words, adding)?;
        Ok(options)
    }

    fn read_keep(&mut self, option: &str, more: &[&[u8]]) -> Result<usize, Answer> {
        if self.len.is_some() || self.from.is_some() {
            let text = "ERR syntax error, MAXLEN and MINID options at the same time are not compatible";
            return Err(error(text));
        }
        let sign = more.len() > 1 && matches!(more[0], b"~" | b"=");
        self.approximate = sign && more[0] == b"~";
        let threshold = more[usize::from(sign)];
        if option == "minid" {
            self.from = Some(exact(threshold, 0)?);
        } else {
            let len = number(threshold)?;
            self.len = Some(usize::try_from(len).map_err(|_| error("ERR The MAXLEN argument must be >= 0."))?);
        }
        Ok(if sign { 3 } else { 2 })
    }

    fn set_name(&mut self, option: &str, producer: &[u8], name: Option<&[u8]>) -> Result<(), Answer> {
        if self.name.is_some() {
            return Err(error("ERR IDMP/IDMPAUTO specified multiple times"));
        }
        if producer.is_empty() {
            return Err(error(&format!("ERR {option} requires a non-empty producer ID")));
        }
        if name == Some(b"") {
            return Err(error("ERR IDMP requires a non-empty idempotent ID"));
        }
        self.name = Some((producer.to_vec(), name.map(<[u8]>::to_vec)));
        Ok(())
    }

    fn check(&self, words: &[&[u8]], adding: bool) -> Result<(), Answer> {
        let trims = self.len.is_some() || self.from.is_some();
        if self.limit.is_some_and(|limit| limit > 0) && !trims {
            let text = "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy";
            return Err(error(text));
        }
        if self.limit.is_some() && !self.approximate {
            return Err(error("ERR syntax error, LIMIT cannot be used without the special ~ option"));
        }
        if !adding && !trims {
            return Err(error("ERR syntax error, XTRIM must be called with a trimming strategy"));
        }
        if self.name.is_some() && words.get(self.at).is_some_and(|id| *id != b"*") {
            return Err(error("ERR IDMP/IDMPAUTO can be used only with auto-generated IDs"));
        }
        Ok(())
    }

    fn trim(&self, stream: &mut Stream) -> usize {
        if self.len.is_none() && self.from.is_none() {
            return 0;
        }
        let limit = usize::try_from(self.limit.unwrap_or(10_000)).expect("not negative");
        stream.trim(self.len, self.from.unwrap_or_default(), self.approximate, if self.approximate { limit } else { 0 })
    }
}

/// The ID that XADD is to give; without its second number, the next one.
fn wanted(text: &[u8]) -> Result<(u64, Option<u64>), Answer> {
    if let Some(ms) = text.strip_suffix(b"-*") {
        let (ms, _) = if ms.contains(&b'-') { Err(bad_id()) } else { exact(ms, 0) }?;
        return Ok((ms, None));
    }
    let (ms, seq) = exact(text, 0)?;
    Ok((ms, Some(seq)))
}

fn next_id(stream: &Stream, now: u64, text: &[u8]) -> Result<Id, Answer> {
    let Some(next) = after(stream.last) else {
        return Err(error("ERR The stream has exhausted the last possible ID, unable to add more items"));
    };
    if text == b"*" {
        return Ok(if now > stream.last.0 { (now, 0) } else { next });
    }
    let id = match wanted(text)? {
        (ms, Some(seq)) => (ms, seq),
        (ms, None) if ms == stream.last.0 && stream.last.1 == u64::MAX => {
            return Err(error("ERR Elements are too large to be stored"));
        }
        (ms, None) if ms == stream.last.0 => next,
        (ms, None) => (ms, 0),
    };
    if id <= stream.last {
        return Err(error("ERR The ID specified in XADD is equal or smaller than the target stream top item"));
    }
    Ok(id)
}

impl Model {
    pub(super) fn xadd(&mut self, at: (u64, u8), words: &[&[u8]]) -> Result<Answer, Answer> {
        let options = Options::read(words, true)?;
        let fields = words.get(options.at + 1..).unwrap_or_default();
        if fields.is_empty() || fields.len() % 2 == 1 {
            return Err(error("ERR wrong number of arguments for 'xadd' command"));
        }
        let text = words[options.at];
        if text != b"*" && wanted(text)? == (0, Some(0)) {
            return Err(error("ERR The ID specified in XADD must be greater than 0-0"));
        }
        let stream = self.stream_at(at, words[1])?;
        if stream.is_none() && options.nomkstream {
            return Ok(Answer::Nil);
        }
        let mut stream = stream.unwrap_or_default();
        let fields: Vec<_> = fields.chunks(2).map(|pair| (pair[0].to_vec(), pair[1].to_vec())).collect();
        let name = options.name.clone().map(|(producer, name)| {
            let mut sorted = fields.clone();
            sorted.sort();
            (producer, name.map_or(Name::Fields(sorted), Name::Given))
        });
        if let Some((producer, name)) = &name
            && let Some(producers) = &mut stream.producers
            && let Some(id) = producers.look(producer, name, at.0)
        {
            producers.duplicates += 1;
            self.keep_stream(at, words[1], stream, Counts::No);
            return Ok(id_answer(id));
        }
        let id = next_id(&stream, at.0, text)?;
        stream.push(id, fields);
        if let Some((producer, name)) = name {
            stream.producers.get_or_insert_default().record(&producer, name, id, at.0);
        }
        options.trim(&mut stream);
        self.keep_stream(at, words[1], stream, Counts::Yes);
        Ok(id_answer(id))
    }

    pub(super) fn xdel(&mut self, at: (u64, u8), words: &[&[u8]]) -> Result<Answer, Answer> {
        let Some(mut stream) = self.stream_at(at, words[1])? else { return Ok(Answer::Int(0)) };
        let ids = words[2..].iter().map(|id| exact(id, 0)).collect::<Result<Vec<_>, _>>()?;
        let gone = ids.into_iter().filter(|id| stream.delete(*id)).count();
        if gone > 0 {
            self.keep_stream(at, words[1], stream, Counts::Yes);
        }
        Ok(count(gone))
    }

    pub(super) fn xtrim(&mut self, at: (u64, u8), words: &[&[u8]]) -> Result<Answer, Answer> {
        let options = Options::read(words, false)?;
        let Some(mut stream) = self.stream_at(at, words[1])? else { return Ok(Answer::Int(0)) };
        let gone = options.trim(&mut stream);
        if gone > 0 {
            self.keep_stream(at, words[1], stream, Counts::Yes);
        }
        Ok(count(gone))
    }

    pub(super) fn xsetid(&mut self, at: (u64, u8), words: &[&[u8]]) -> Result<Answer, Answer> {
        let last = exact(words[2], 0)?;
        let (mut added, mut deleted_max) = (None, None);
        for pair in words[3..].chunks(2) {
            match (lower(pair[0]).as_str(), pair.get(1)) {
                ("entriesadded", Some(n)) => {
                    let n = u64::try_from(number(n)?);
                    added = Some(n.map_err(|_| error("ERR entries_added must be positive"))?);
                }
                ("maxdeletedid", Some(id)) => {
                    let id = exact(id, 0)?;
                    if last < id {
                        let text = "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id";
                        return Err(error(text));
                    }
                    deleted_max = Some(id).filter(|id| *id != (0, 0));
                }
                _ => return Err(error("ERR syntax error")),
            }
        }
        let Some(mut stream) = self.stream_at(at, words[1])? else { return Err(error("ERR no such key")) };
        if stream.entries().next_back().is_some_and(|top| last < top.id) {
            return Err(error("ERR The ID specified in XSETID is smaller than the target stream top item"));
        }
        if added.is_some_and(|added| added < stream.len() as u64) {
            let text = "ERR The entries_added specified in XSETID is smaller than the target stream length";
            return Err(error(text));
        }
        stream.last = last;
        stream.added = added.unwrap_or(stream.added);
        stream.deleted_max = deleted_max.unwrap_or(stream.deleted_max);
        self.keep_stream(at, words[1], stream, Counts::No);
        Ok(Answer::ok())
    }

    pub(super) fn xcfgset(&mut self, at: (u64, u8), words: &[&[u8]]) -> Result<Answer, Answer> {
        let (mut duration, mut size) = (None, None);
        for pair in words[2..].chunks(2) {
            let within = |name: &str, most: u64, unit: &str| {
                let n = u64::try_from(number(pair[1])?).ok().filter(|n| *n >= 1 && *n <= most);
                n.ok_or_else(|| error(&format!("ERR {name} must be between 1 and {most} {unit}")))
            };
            match (lower(pair[0]).as_str(), pair.len()) {
                ("idmp-duration", 2) => duration = Some(within("IDMP-DURATION", 86_400, "seconds")?),
                ("idmp-maxsize", 2) => size = Some(within("IDMP-MAXSIZE", 10_000, "entries")?),
                _ => return Err(error("ERR syntax error")),
            }
        }
        if duration.is_none() && size.is_none() {
            return Err(error("ERR At least one parameter must be specified"));
        }
        let Some(mut stream) = self.stream_at(at, words[1])? else { return Err(error("ERR no such key")) };
        let size = size.map(|size| usize::try_from(size).expect("small"));
        stream.producers.get_or_insert_default().set(duration, size);
        self.keep_stream(at, words[1], stream, Counts::Yes);
        Ok(Answer::ok())
    }
}
