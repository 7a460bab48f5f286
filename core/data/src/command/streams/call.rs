//! What a call of XREAD or XREADGROUP asks for.

use super::read;
use crate::Refused;
use crate::command::strings::integer;

/// A call of XREAD or XREADGROUP.
#[derive(Debug)]
pub(super) struct Call<'s, 'a> {
    /// Group and consumer.
    pub(super) group: Option<(&'a [u8], &'a [u8])>,
    pub(super) block_ms: Option<u64>,
    pub(super) no_ack: bool,
    /// Entries of each stream at most.
    pub(super) count: usize,
    /// The names of the streams, then the IDs.
    pub(super) names: &'s [&'a [u8]],
    /// Where STREAMS stands.
    pub(super) streams_at: usize,
}

impl<'s, 'a> Call<'s, 'a> {
    /// Reads the arguments, the name included.
    pub(super) fn parse(args: &'s [&'a [u8]]) -> Result<Self, Refused> {
        let grouped = args[0].len() == b"xreadgroup".len();
        let mut call =
            Self { group: None, block_ms: None, no_ack: false, count: usize::MAX, names: &[], streams_at: 0 };
        call.read(args, grouped)?;
        if grouped && call.group.is_none() {
            return Err(text("ERR Missing GROUP option for XREADGROUP"));
        }
        Ok(call)
    }

    /// Reads the options up to STREAMS, behind which the rest are names.
    fn read(&mut self, args: &'s [&'a [u8]], grouped: bool) -> Result<(), Refused> {
        let mut at = 1;
        while let Some(word) = args.get(at) {
            let rest = &args[at + 1..];
            let only_grouped = |option| {
                text(&format!("ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."))
            };
            at += match (word.to_ascii_lowercase().as_slice(), rest) {
                (b"block", [ms, ..]) => {
                    self.block_ms = Some(timeout(ms)?);
                    2
                }
                (b"count", [count, ..]) => {
                    self.count = Some(read::count(count)?).filter(|count| *count > 0).unwrap_or(usize::MAX);
                    2
                }
                (b"streams", [_, ..]) => {
                    (self.names, self.streams_at) = (rest, at);
                    return if rest.len().is_multiple_of(2) { Ok(()) } else { Err(unbalanced()) };
                }
                (b"group", [_, _, ..]) if !grouped => return Err(only_grouped("GROUP")),
                (b"group", [group, consumer, ..]) => {
                    self.group = Some((group, consumer));
                    3
                }
                (b"noack", _) if !grouped => return Err(only_grouped("NOACK")),
                (b"noack", _) => {
                    self.no_ack = true;
                    1
                }
                _ => return Err(Refused::Syntax),
            };
        }
        Err(Refused::Syntax)
    }

    /// Keys and IDs.
    pub(super) fn streams(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'s, 'a> {
        let (keys, ids) = self.names.split_at(self.names.len() / 2);
        keys.iter().copied().zip(ids.iter().copied())
    }
}

/// Milliseconds to wait.
fn timeout(ms: &[u8]) -> Result<u64, Refused> {
    let ms = integer(ms).map_err(|_| text("ERR timeout is not an integer or out of range"))?;
    u64::try_from(ms).map_err(|_| text("ERR timeout is negative"))
}

fn unbalanced() -> Refused {
    text("ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.")
}

fn text(text: &str) -> Refused {
    Refused::Text(text.to_owned())
}
