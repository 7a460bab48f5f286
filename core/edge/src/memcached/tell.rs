//! Answers of the core, as memcached spells them.

use super::ask::{Flag, How, Kind, Meta, Told};
use data::Reply;

/// Appends what is told of a part of a request; `at` is its number among them.
pub(super) fn tell(how: &How, at: usize, reply: &Reply, out: &mut Vec<u8>) {
    if let Reply::Error(refused) = reply {
        return if hears(how) == Told::Yes {
            error(&refused.to_string(), out)
        };
    }
    match how {
        How::Values { keys, cas } => value(&keys[at], *cas, reply, out),
        How::Touched(_) => say(how, if is_there(reply) { "TOUCHED" } else { "NOT_FOUND" }, out),
        How::Stored(_) => {
            let words = [("HD", "STORED"), ("NS", "NOT_STORED"), ("EX", "EXISTS"), ("NF", "NOT_FOUND")];
            say(how, spelled(reply, &words), out);
        }
        How::Deleted(_) => say(how, spelled(reply, &[("HD", "DELETED"), ("NF", "NOT_FOUND")]), out),
        How::Number(_) => match (letters(reply), bytes(reply, NUMBER)) {
            ("HD", number) => say(how, &String::from_utf8_lossy(number), out),
            _ => say(how, "NOT_FOUND", out),
        },
        How::Flushed(_) => say(how, "OK", out),
        How::Meta(meta) => tell_meta(meta, reply, out),
        How::Debug(key) => debug(key, reply, out),
    }
}

/// What ends the answer, behind all parts.
pub(super) fn end(how: &How, failed: bool, out: &mut Vec<u8>) {
    if matches!(how, How::Values { .. }) && !failed {
        line("END", out);
    }
}

/// An error that a client knows for one.
pub(super) fn error(text: &str, out: &mut Vec<u8>) {
    let known = ["CLIENT_ERROR ", "SERVER_ERROR "].iter().any(|word| text.starts_with(word)) || text == "ERROR";
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line(&if known { text } else { format!("SERVER_ERROR {text}") }, out);
}

pub(super) fn line(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn hears(how: &How) -> Told {
    match how {
        How::Touched(told) | How::Stored(told) | How::Deleted(told) | How::Number(told) | How::Flushed(told) => *told,
        How::Values { .. } | How::Meta(_) | How::Debug(_) => Told::Yes,
    }
}

fn say(how: &How, text: &str, out: &mut Vec<u8>) {
    if hears(how) == Told::Yes {
        line(text, out);
    }
}

/// Parts of what memcache.get and memcache.fetch answer.
const VALUE: usize = 0;
const CLIENT_FLAGS: usize = 1;
const CAS_OF_VALUE: usize = 2;
const TTL_OF_VALUE: usize = 3;
const AGE: usize = 4;
const HIT: usize = 5;
const WON: usize = 6;
const STALE: usize = 7;
const SENT: usize = 8;
/// And of what the others do.
const CAS: usize = 1;
const SIZE: usize = 2;
const NUMBER: usize = 2;
const TTL_OF_NUMBER: usize = 3;

fn parts(reply: &Reply) -> &[Reply] {
    if let Reply::Array(parts) = reply { parts } else { &[] }
}

fn is_there(reply: &Reply) -> bool {
    !parts(reply).is_empty()
}

fn bytes(reply: &Reply, at: usize) -> &[u8] {
    match parts(reply).get(at) {
        Some(Reply::Bulk(blob)) => blob.as_bytes(),
        _ => b"",
    }
}

fn int(reply: &Reply, at: usize) -> i64 {
    if let Some(Reply::Int(number)) = parts(reply).get(at) { *number } else { 0 }
}

/// How a change went.
fn letters(reply: &Reply) -> &str {
    std::str::from_utf8(bytes(reply, 0)).unwrap_or_default()
}

fn spelled(reply: &Reply, words: &[(&str, &'static str)]) -> &'static str {
    let found = words.iter().find(|(letters_of, _)| *letters_of == letters(reply));
    found.map_or("SERVER_ERROR the answer makes no sense", |(_, word)| word)
}

fn value(key: &[u8], cas: Told, reply: &Reply, out: &mut Vec<u8>) {
    if !is_there(reply) {
        return;
    }
    let value = bytes(reply, VALUE);
    out.extend_from_slice(b"VALUE ");
    out.extend_from_slice(key);
    out.extend_from_slice(format!(" {} {}", int(reply, CLIENT_FLAGS), value.len()).as_bytes());
    if cas == Told::Yes {
        out.push(b' ');
        out.extend_from_slice(bytes(reply, CAS_OF_VALUE));
    }
    block(value, out);
}

fn block(value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn tell_meta(meta: &Meta, reply: &Reply, out: &mut Vec<u8>) {
    let head = match meta.kind {
        Kind::Get if is_there(reply) => "HD",
        Kind::Get => "EN",
        _ => letters(reply),
    };
    if meta.hushes(head) == Told::No {
        return;
    }
    let value = match meta.kind {
        _ if head != "HD" || !meta.value => None,
        Kind::Get => Some(bytes(reply, VALUE)),
        Kind::Arithmetic => Some(bytes(reply, NUMBER)),
        Kind::Set | Kind::Delete => None,
    };
    match value {
        Some(value) => out.extend_from_slice(format!("VA {}", value.len()).as_bytes()),
        None => out.extend_from_slice(head.as_bytes()),
    }
    for flag in &meta.flags {
        tell_flag(meta, flag, reply, head, out);
    }
    if meta.kind == Kind::Get && head == "HD" {
        for (at, letter) in [(SENT, b" Z"), (STALE, b" X"), (WON, b" W")] {
            if int(reply, at) == 1 {
                out.extend_from_slice(letter);
            }
        }
    }
    match value {
        Some(value) => block(value, out),
        None => out.extend_from_slice(b"\r\n"),
    }
}

/// A flag that was asked for. Of what isn't there, or was not changed, only what the client said itself is told.
fn tell_flag(meta: &Meta, flag: &Flag, reply: &Reply, head: &str, out: &mut Vec<u8>) {
    let get = meta.kind == Kind::Get;
    let text = match flag {
        Flag::Key => {
            out.extend_from_slice(b" k");
            out.extend_from_slice(&meta.key);
            return out.extend_from_slice(if meta.binary { b" b" } else { b"" });
        }
        Flag::Opaque(token) => {
            out.extend_from_slice(b" O");
            return out.extend_from_slice(token);
        }
        _ if head != "HD" => return,
        Flag::Cas => format!(" c{}", String::from_utf8_lossy(bytes(reply, if get { CAS_OF_VALUE } else { CAS }))),
        Flag::Size if get => format!(" s{}", bytes(reply, VALUE).len()),
        Flag::Size => format!(" s{}", int(reply, SIZE)),
        Flag::Ttl => format!(" t{}", int(reply, if get { TTL_OF_VALUE } else { TTL_OF_NUMBER })),
        Flag::ClientFlags => format!(" f{}", int(reply, CLIENT_FLAGS)),
        Flag::Hit => format!(" h{}", int(reply, HIT)),
        Flag::LastAccess => format!(" l{}", int(reply, AGE)),
    };
    out.extend_from_slice(text.as_bytes());
}

fn debug(key: &[u8], reply: &Reply, out: &mut Vec<u8>) {
    if !is_there(reply) {
        return line("EN", out);
    }
    let cas = String::from_utf8_lossy(bytes(reply, CAS_OF_VALUE));
    let fetched = if int(reply, HIT) == 1 { "yes" } else { "no" };
    let (ttl, age, size) = (int(reply, TTL_OF_VALUE), int(reply, AGE), bytes(reply, VALUE).len());
    out.extend_from_slice(b"ME ");
    out.extend_from_slice(key);
    line(&format!(" exp={ttl} la={age} cas={cas} fetch={fetched} cls=1 size={size}"), out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::command;

    #[test]
    fn errors_look_like_errors() {
        for (text, told) in [
            ("CLIENT_ERROR no", "CLIENT_ERROR no\r\n"),
            ("ERROR", "ERROR\r\n"),
            ("WRONGTYPE a\r\nb", "SERVER_ERROR WRONGTYPE a  b\r\n"),
        ] {
            let mut out = Vec::new();
            error(text, &mut out);
            assert_eq!(out, told.as_bytes());
        }
    }

    #[test]
    fn the_table_has_what_is_asked_for() {
        for name in ["get", "fetch", "store", "delete", "count"] {
            assert!(command::find(format!("memcache.{name}").as_bytes()).is_some());
        }
    }
}
