//! Replies as bytes, in RESP2 or RESP3.
//!
//! A long list is made in pieces, as the client takes them ([`Leaving`]): its items may share large values, whose
//! bytes together would fill the memory.

use base::limits::OUT_BYTES_SOFT;
use data::{Reply, Strings};

/// The version that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proto {
    Two,
    Three,
}

/// A reply of which a part is made.
#[derive(Debug)]
pub struct Leaving {
    proto: Proto,
    /// What is left of a list, and of the lists in it.
    lists: Vec<Rest>,
}

/// What is left of a list.
#[derive(Debug)]
enum Rest {
    Replies(std::vec::IntoIter<Reply>),
    /// From this one on.
    Strings(Strings, usize),
}

impl Default for Leaving {
    fn default() -> Self {
        Self { proto: Proto::Two, lists: Vec::new() }
    }
}

impl Leaving {
    /// Begins with a reply, and makes what there is room for. The former one must be made.
    pub fn begin(&mut self, reply: Reply, proto: Proto, out: &mut Vec<u8>) {
        self.proto = proto;
        self.one(reply, out);
        self.go_on(out);
    }

    /// Makes more of the reply, up to the room there is; true if nothing is left of it.
    pub fn go_on(&mut self, out: &mut Vec<u8>) -> bool {
        while let Some(list) = self.lists.last_mut() {
            if out.len() > OUT_BYTES_SOFT {
                return false;
            }
            let item = match list {
                Rest::Replies(replies) => replies.next(),
                Rest::Strings(strings, at) => {
                    while let Some(string) = strings.get(*at).filter(|_| out.len() <= OUT_BYTES_SOFT) {
                        bulk(string, out);
                        *at += 1;
                    }
                    if *at < strings.len() {
                        return false;
                    }
                    None
                }
            };
            match item {
                Some(item) => self.one(item, out),
                None => drop(self.lists.pop()),
            }
        }
        true
    }

    /// True if the reply is made.
    #[must_use]
    pub fn is_made(&self) -> bool {
        self.lists.is_empty()
    }

    fn one(&mut self, reply: Reply, out: &mut Vec<u8>) {
        match reply {
            Reply::Array(items) => {
                length(b'*', items.len(), out);
                self.lists.push(Rest::Replies(items.into_iter()));
            }
            Reply::Set(items) => {
                length(if self.proto == Proto::Two { b'*' } else { b'~' }, items.len(), out);
                self.lists.push(Rest::Replies(items.into_iter()));
            }
            Reply::Map(pairs) => {
                map_length(pairs.len(), self.proto, out);
                self.lists.push(Rest::Replies(flat(pairs)));
            }
            Reply::Couples(pairs) if self.proto == Proto::Two => {
                length(b'*', pairs.len() * 2, out);
                self.lists.push(Rest::Replies(flat(pairs)));
            }
            Reply::Pairs(pairs) if self.proto == Proto::Two => {
                length(b'*', pairs.len(), out);
                let pairs: Vec<Reply> = pairs.into_iter().map(|(key, value)| Reply::Array(vec![key, value])).collect();
                self.lists.push(Rest::Replies(pairs.into_iter()));
            }
            Reply::Pairs(pairs) => {
                length(b'%', pairs.len(), out);
                let parts: Vec<Reply> = pairs.into_iter().flat_map(<[Reply; 2]>::from).collect();
                self.lists.push(Rest::Replies(parts.into_iter()));
            }
            Reply::Strings(strings) => {
                length(b'*', strings.len(), out);
                self.lists.push(Rest::Strings(strings, 0));
            }
            reply => encode(&reply, self.proto, out),
        }
    }
}

fn flat(pairs: Vec<(Reply, Reply)>) -> std::vec::IntoIter<Reply> {
    pairs.into_iter().flat_map(|(first, second)| [first, second]).collect::<Vec<_>>().into_iter()
}

/// Appends `reply` to `out`.
pub fn encode(reply: &Reply, proto: Proto, out: &mut Vec<u8>) {
    match reply {
        Reply::Bulk(blob) => bulk(blob.as_bytes(), out),
        Reply::Ok => out.extend_from_slice(b"+OK\r\n"),
        Reply::Int(n) => int(b':', *n, out),
        Reply::Simple(text) => line(b'+', text.as_bytes(), out),
        Reply::Status(text) => line(b'+', text, out),
        Reply::BigNumber(digits) if proto == Proto::Two => bulk(digits, out),
        Reply::BigNumber(digits) => line(b'(', digits, out),
        Reply::Formatted(_, text) if proto == Proto::Two => bulk(text, out),
        Reply::Formatted(format, text) => verbatim(*format, text, out),
        Reply::Kept => unreachable!("the lane has put the answer in its place"),
        Reply::Nil if proto == Proto::Two => out.extend_from_slice(b"$-1\r\n"),
        Reply::NilArray if proto == Proto::Two => out.extend_from_slice(b"*-1\r\n"),
        Reply::Nil | Reply::NilArray => out.extend_from_slice(b"_\r\n"),
        Reply::Double(value) => number(&Reply::digits(*value), proto, out),
        Reply::Decimal(value) => number(&Reply::plain(*value), proto, out),
        Reply::Bool(value) => match (proto, value) {
            (Proto::Two, true) => out.extend_from_slice(b":1\r\n"),
            (Proto::Two, false) => out.extend_from_slice(b":0\r\n"),
            (Proto::Three, true) => out.extend_from_slice(b"#t\r\n"),
            (Proto::Three, false) => out.extend_from_slice(b"#f\r\n"),
        },
        Reply::Verbatim(text) if proto == Proto::Two => bulk(text.as_bytes(), out),
        Reply::Verbatim(text) => verbatim(*b"txt", text.as_bytes(), out),
        Reply::Array(items) => list(b'*', items, proto, out),
        Reply::Strings(strings) => {
            length(b'*', strings.len(), out);
            strings.iter().for_each(|string| bulk(string, out));
        }
        Reply::Set(items) => list(if proto == Proto::Two { b'*' } else { b'~' }, items, proto, out),
        Reply::Map(pairs) => {
            map_length(pairs.len(), proto, out);
            for (key, value) in pairs {
                encode(key, proto, out);
                encode(value, proto, out);
            }
        }
        Reply::Couples(pairs) => {
            length(b'*', if proto == Proto::Two { pairs.len() * 2 } else { pairs.len() }, out);
            for (first, second) in pairs {
                if proto == Proto::Three {
                    length(b'*', 2, out);
                }
                encode(first, proto, out);
                encode(second, proto, out);
            }
        }
        Reply::Pairs(pairs) => {
            length(if proto == Proto::Two { b'*' } else { b'%' }, pairs.len(), out);
            for (key, value) in pairs {
                if proto == Proto::Two {
                    length(b'*', 2, out);
                }
                encode(key, proto, out);
                encode(value, proto, out);
            }
        }
        Reply::Error(refused) => line(b'-', refused.to_string().as_bytes(), out),
        Reply::Watched(_) => out.extend_from_slice(b"+OK\r\n"),
    }
}

fn map_length(count: usize, proto: Proto, out: &mut Vec<u8>) {
    match proto {
        Proto::Two => length(b'*', count * 2, out),
        Proto::Three => length(b'%', count, out),
    }
}

fn list(kind: u8, items: &[Reply], proto: Proto, out: &mut Vec<u8>) {
    length(kind, items.len(), out);
    for item in items {
        encode(item, proto, out);
    }
}

fn verbatim(format: [u8; 3], text: &[u8], out: &mut Vec<u8>) {
    length(b'=', text.len() + 4, out);
    out.extend_from_slice(&format);
    out.push(b':');
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn bulk(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 16);
    length(b'$', bytes.len(), out);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// One line; line breaks inside would end the reply early, so they become blanks.
fn line(kind: u8, text: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend(text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
    out.extend_from_slice(b"\r\n");
}

fn length(kind: u8, n: usize, out: &mut Vec<u8>) {
    int(kind, i64::try_from(n).unwrap_or(i64::MAX), out);
}

fn int(kind: u8, n: i64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = n.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10).to_le_bytes()[0];
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.push(kind);
    if n < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

fn number(text: &str, proto: Proto, out: &mut Vec<u8>) {
    match proto {
        Proto::Two => bulk(text.as_bytes(), out),
        Proto::Three => line(b',', text.as_bytes(), out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(reply: &Reply) -> (String, String) {
        let as_text = |proto| {
            let mut out = Vec::new();
            encode(reply, proto, &mut out);
            String::from_utf8(out).unwrap()
        };
        (as_text(Proto::Two), as_text(Proto::Three))
    }

    #[test]
    fn replies_look_as_each_protocol_wants() {
        let expect = |reply: Reply, two: &str, three: &str| assert_eq!(both(&reply), (two.into(), three.into()));
        expect(Reply::Nil, "$-1\r\n", "_\r\n");
        expect(Reply::NilArray, "*-1\r\n", "_\r\n");
        expect(Reply::Int(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n");
        expect(Reply::bulk(b"abc"), "$3\r\nabc\r\n", "$3\r\nabc\r\n");
        expect(Reply::Double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n");
        expect(Reply::Decimal(0.1), "$19\r\n0.10000000000000001\r\n", ",0.10000000000000001\r\n");
        expect(Reply::Decimal(-0.0), "$1\r\n0\r\n", ",0\r\n");
        expect(Reply::Bool(true), ":1\r\n", "#t\r\n");
        expect(Reply::Map(vec![(Reply::Int(1), Reply::Ok)]), "*2\r\n:1\r\n+OK\r\n", "%1\r\n:1\r\n+OK\r\n");
        let couples = Reply::Couples(vec![(Reply::Int(1), Reply::Ok)]);
        expect(couples, "*2\r\n:1\r\n+OK\r\n", "*1\r\n*2\r\n:1\r\n+OK\r\n");
        expect(Reply::Pairs(vec![(Reply::Int(1), Reply::Ok)]), "*1\r\n*2\r\n:1\r\n+OK\r\n", "%1\r\n:1\r\n+OK\r\n");
        expect(Reply::Set(vec![Reply::Int(1)]), "*1\r\n:1\r\n", "~1\r\n:1\r\n");
        expect(Reply::Verbatim("a".into()), "$1\r\na\r\n", "=5\r\ntxt:a\r\n");
        let error = Reply::Error(data::Refused::Text("ERR a\r\nb".into()));
        expect(error, "-ERR a  b\r\n", "-ERR a  b\r\n");
    }
}
