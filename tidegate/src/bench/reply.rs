//! Takes the replies of a target apart as far as a load generator must: where each ends, and whether it is an error.
//!
//! Bytes come in pieces of any size. Nesting needs no stack: a counter of the values that the begun reply still lacks
//! is enough, an array of n adding n. RESP3 frames too, as `--command 'HELLO 3'` may ask for them.

/// One whole reply.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    Value,
    /// No such key, or no such anything.
    Null,
    /// The error's line, without its dash.
    Error(&'a [u8]),
}

/// What was sent isn't RESP; holds the line.
#[derive(Debug, PartialEq, Eq)]
pub struct NotResp(pub String);

/// The state between two pieces.
#[derive(Debug, Default)]
pub struct Replies {
    /// Values that the begun reply still lacks; 0 between replies.
    lacking: u64,
    begun: Begun,
    /// Bytes of a bulk still to come, its line end included.
    bulk_left_bytes: u64,
    /// The begin of a line whose end has not come.
    line: Vec<u8>,
}

/// What the begun reply will be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Begun {
    #[default]
    Value,
    Null,
    /// A message out of band: no reply.
    Push,
}

impl Replies {
    /// Takes in a piece; every reply that ends in it is told to `on`, in order.
    pub fn feed(&mut self, mut bytes: &[u8], mut on: impl FnMut(Answer<'_>)) -> Result<(), NotResp> {
        while !bytes.is_empty() {
            if self.bulk_left_bytes > 0 {
                bytes = self.skip_bulk(bytes, &mut on);
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                self.line.extend_from_slice(bytes);
                return if self.line.len() > LINE_BYTES_MAX { Err(not_resp(&self.line)) } else { Ok(()) };
            };
            let (head, rest) = bytes.split_at(end + 1);
            bytes = rest;
            if self.line.is_empty() {
                self.on_line(head, &mut on)?;
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(head);
                self.on_line(&line, &mut on)?;
            }
        }
        Ok(())
    }

    fn skip_bulk<'a>(&mut self, bytes: &'a [u8], on: &mut impl FnMut(Answer<'_>)) -> &'a [u8] {
        let skipped = usize::try_from(self.bulk_left_bytes).map_or(bytes.len(), |left| left.min(bytes.len()));
        self.bulk_left_bytes -= skipped as u64;
        if self.bulk_left_bytes == 0 {
            self.on_value(on);
        }
        &bytes[skipped..]
    }

    fn on_line(&mut self, line: &[u8], on: &mut impl FnMut(Answer<'_>)) -> Result<(), NotResp> {
        let bad = || not_resp(line);
        let text = line.strip_suffix(b"\r\n").ok_or_else(bad)?;
        let (kind, rest) = text.split_first().ok_or_else(bad)?;
        let first = self.lacking == 0;
        if first {
            (self.lacking, self.begun) = (1, Begun::Value);
        }
        match kind {
            b'-' if first => {
                self.lacking = 0;
                on(Answer::Error(rest));
                return Ok(());
            }
            b'+' | b'-' | b':' | b',' | b'#' | b'(' => {}
            b'_' => self.on_null(first),
            b'$' | b'=' | b'!' => match length(rest).ok_or_else(bad)? {
                Some(bytes) => {
                    self.bulk_left_bytes = bytes + 2;
                    return Ok(());
                }
                None => self.on_null(first),
            },
            b'*' | b'~' | b'>' => match length(rest).ok_or_else(bad)? {
                Some(count) => {
                    self.lacking += count;
                    if first && *kind == b'>' {
                        self.begun = Begun::Push;
                    }
                }
                None => self.on_null(first),
            },
            b'%' => self.lacking += 2 * length(rest).flatten_or(bad)?,
            // An attribute stands before the value that it tells about.
            b'|' => self.lacking += 2 * length(rest).flatten_or(bad)? + 1,
            _ => return Err(bad()),
        }
        self.on_value(on);
        Ok(())
    }

    fn on_null(&mut self, first: bool) {
        if first {
            self.begun = Begun::Null;
        }
    }

    fn on_value(&mut self, on: &mut impl FnMut(Answer<'_>)) {
        self.lacking -= 1;
        if self.lacking == 0 {
            match self.begun {
                Begun::Value => on(Answer::Value),
                Begun::Null => on(Answer::Null),
                Begun::Push => {}
            }
        }
    }
}

/// A length: `Some(None)` is the null of RESP2, -1.
fn length(digits: &[u8]) -> Option<Option<u64>> {
    if digits == b"-1" {
        return Some(None);
    }
    let text = std::str::from_utf8(digits).ok()?;
    text.parse().ok().filter(|length| *length <= LENGTH_MAX).map(Some)
}

/// A length that can't be null.
trait FlattenOr {
    fn flatten_or(self, bad: impl Fn() -> NotResp) -> Result<u64, NotResp>;
}

impl FlattenOr for Option<Option<u64>> {
    fn flatten_or(self, bad: impl Fn() -> NotResp) -> Result<u64, NotResp> {
        self.flatten().ok_or_else(bad)
    }
}

fn not_resp(line: &[u8]) -> NotResp {
    let shown = &line[..line.len().min(SHOWN_BYTES)];
    NotResp(String::from_utf8_lossy(shown).trim_end().escape_default().to_string())
}

/// Errors may quote much of a request, but not more.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// No reply announces more than this, in bytes or values.
const LENGTH_MAX: u64 = 1 << 40;
const SHOWN_BYTES: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"+OK\r\n$5\r\nhello\r\n$-1\r\n-ERR no such thing\r\n*3\r\n:1\r\n*2\r\n$2\r\n\r\n\r\n$-1\r\n-ERR in\r\n\
        *-1\r\n*0\r\n$0\r\n\r\n_\r\n%1\r\n+k\r\n~2\r\n#t\r\n,1.5\r\n>2\r\n+message\r\n+x\r\n|1\r\n+ttl\r\n:3\r\n(123\r\n-MOVED 1 a:1\r\n";

    fn told(pieces: impl Iterator<Item = Vec<u8>>) -> Vec<String> {
        let mut replies = Replies::default();
        let mut out = Vec::new();
        for piece in pieces {
            replies
                .feed(&piece, |answer| {
                    out.push(match answer {
                        Answer::Value => "value".to_owned(),
                        Answer::Null => "null".to_owned(),
                        Answer::Error(text) => String::from_utf8(text.to_vec()).unwrap(),
                    });
                })
                .unwrap();
        }
        assert_eq!(
            (replies.lacking, replies.bulk_left_bytes, replies.line.len()),
            (0, 0, 0),
            "it ends between replies"
        );
        out
    }

    #[test]
    fn every_reply_is_told_once_wherever_the_stream_is_split() {
        let whole = told([STREAM.to_vec()].into_iter());
        assert_eq!(
            whole,
            [
                "value",
                "value",
                "null",
                "ERR no such thing",
                "value",
                "null",
                "value",
                "value",
                "null",
                "value",
                "value",
                "MOVED 1 a:1"
            ]
        );
        for at in 0..=STREAM.len() {
            assert_eq!(told([STREAM[..at].to_vec(), STREAM[at..].to_vec()].into_iter()), whole, "split at {at}");
        }
        assert_eq!(told(STREAM.iter().map(|byte| vec![*byte])), whole, "byte by byte");
    }

    #[test]
    fn what_is_not_resp_is_told_with_its_line() {
        for (bytes, shown) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], "HTTP/1.1 400 Bad Request"),
            (b"$x\r\n", "$x"),
            (b"*99999999999999999999\r\n", "*99999999999999999999"),
            (b"%-1\r\n", "%-1"),
            (b"+OK\n", "+OK"),
            (b"\r\n", ""),
        ] {
            assert_eq!(Replies::default().feed(bytes, |_| ()), Err(NotResp(shown.into())));
        }
    }
}
