//! XLEN, XRANGE, XREVRANGE, XREAD.

use super::{ID_MAX, Id, after, counted, exact, lower, range};
use crate::answer::Answer;
use crate::oracle::{Model, count, error};

/// What XREAD or XREADGROUP asks for.
pub(super) struct Call<'a> {
    pub(super) group: Option<(&'a [u8], &'a [u8])>,
    pub(super) no_ack: bool,
    pub(super) count: usize,
    pub(super) streams: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Call<'a> {
    pub(super) fn read(words: &[&'a [u8]]) -> Result<Self, Answer> {
        let mut call = Self { group: None, no_ack: false, count: usize::MAX, streams: Vec::new() };
        let mut at = 1;
        while at < words.len() {
            let rest = &words[at + 1..];
            at += match lower(words[at]).as_str() {
                "count" if !rest.is_empty() => {
                    call.count = counted(rest[0])?;
                    if call.count == 0 {
                        call.count = usize::MAX;
                    }
                    2
                }
                // How long it waits is told elsewhere.
                "block" if !rest.is_empty() => 2,
                "group" if rest.len() > 1 => {
                    call.group = Some((rest[0], rest[1]));
                    3
                }
                "noack" => {
                    call.no_ack = true;
                    1
                }
                "streams" if !rest.is_empty() => {
                    if rest.len() % 2 == 1 {
                        let text =
                            "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.";
                        return Err(error(text));
                    }
                    let (keys, ids) = rest.split_at(rest.len() / 2);
                    call.streams = keys.iter().copied().zip(ids.iter().copied()).collect();
                    return Ok(call);
                }
                _ => break,
            };
        }
        Err(error("ERR syntax error"))
    }
}

/// What was found, by key; nothing is a nil array.
pub(super) fn found(all: Vec<(&[u8], Vec<Answer>)>) -> Answer {
    if all.is_empty() {
        return Answer::NilArray;
    }
    let one = |(key, entries): (&[u8], Vec<Answer>)| Answer::Array(vec![Answer::bulk(key), Answer::Array(entries)]);
    Answer::Array(all.into_iter().map(one).collect())
}

impl Model {
    pub(super) fn xlen(&self, at: (u64, u8), words: &[&[u8]]) -> Result<Answer, Answer> {
        Ok(count(self.stream_at(at, words[1])?.map_or(0, |stream| stream.len())))
    }

    pub(super) fn xrange(&self, at: (u64, u8), words: &[&[u8]], from: &[u8], to: &[u8]) -> Result<Answer, Answer> {
        let (from, to) = range(from, to)?;
        let mut most = None;
        for pair in words[4..].chunks(2) {
            match (lower(pair[0]).as_str(), pair.get(1)) {
                ("count", Some(n)) => most = Some(counted(n)?),
                _ => return Err(error("ERR syntax error")),
            }
        }
        let Some(stream) = self.stream_at(at, words[1])? else { return Ok(Answer::Array(Vec::new())) };
        if most == Some(0) {
            return Ok(Answer::NilArray);
        }
        let mut all: Vec<Answer> = stream.between(from, to).map(super::Entry::answer).collect();
        if lower(words[0]) == "xrevrange" {
            all.reverse();
        }
        all.truncate(most.unwrap_or(usize::MAX));
        Ok(Answer::Array(all))
    }

    pub(super) fn xread(&self, at: (u64, u8), words: &[&[u8]]) -> Result<Answer, Answer> {
        let call = Call::read(words)?;
        let mut wanted = Vec::new();
        for (key, id) in &call.streams {
            let stream = self.stream_at(at, key)?;
            let behind: Id = match *id {
                b"$" => stream.as_ref().map_or((0, 0), |stream| stream.last),
                b">" => {
                    let text = "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> \
                                <consumer> option.";
                    return Err(error(text));
                }
                id => exact(id, 0)?,
            };
            wanted.push((*key, stream, behind));
        }
        let mut all = Vec::new();
        for (key, stream, behind) in wanted {
            let (Some(stream), Some(from)) = (stream, after(behind)) else { continue };
            let entries: Vec<Answer> =
                stream.between(from, ID_MAX).take(call.count).map(super::Entry::answer).collect();
            if !entries.is_empty() {
                all.push((key, entries));
            }
        }
        Ok(found(all))
    }
}
