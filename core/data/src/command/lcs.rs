//! LCS: the longest bytes that two strings have in common, in their order but not without gaps.
//!
//! The table of lengths is filled row by row, as in any textbook; of each cell only a bit is kept, which tells whence the
//! longest came where the two bytes differ. That is enough to walk back from the end.

use super::strings::integer;
use super::{Command, Keys, Outcome, Run};
use crate::{Context, Keyspace, Refused, Reply};
use base::limits::LCS_CELLS_MAX;

/// The rows of this family; ids 150 to 159.
pub static COMMANDS: &[Command] = &[Command {
    name: "lcs",
    id: 150,
    arity: -3,
    flags: "readonly",
    keys: Keys::TWO,
    run: Run::Read(lcs),
    summary: "Finds the longest common subsequence of two strings.",
    group: "string",
    since: "7.0.0",
}];

/// What is to be told.
#[derive(Debug, Default)]
struct Options {
    len: bool,
    idx: bool,
    with_match_len: bool,
    min_match_len: usize,
}

impl Options {
    fn parse(mut rest: &[&[u8]]) -> Result<Self, Refused> {
        let mut options = Self::default();
        while let Some(word) = rest.first() {
            let mut used = 1;
            match (word.to_ascii_lowercase().as_slice(), rest.get(1)) {
                (b"idx", _) => options.idx = true,
                (b"len", _) => options.len = true,
                (b"withmatchlen", _) => options.with_match_len = true,
                (b"minmatchlen", Some(number)) => {
                    options.min_match_len = usize::try_from(integer(number)?).unwrap_or(0);
                    used = 2;
                }
                _ => return Err(Refused::Syntax),
            }
            rest = &rest[used..];
        }
        if options.idx && options.len {
            let text = "ERR If you want both the length and indexes, please just use IDX.";
            return Err(Refused::Text(text.to_owned()));
        }
        Ok(options)
    }
}

fn lcs(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let string = |key: &[u8]| {
        let not_a_string = |_| Refused::Text("ERR The specified keys must contain string values".to_owned());
        keyspace.string(cx, key).map(Option::unwrap_or_default).map_err(not_a_string)
    };
    let (a, b) = (string(args[1])?, string(args[2])?);
    let options = Options::parse(&args[3..])?;
    if (a.len() + 1).saturating_mul(b.len() + 1) > LCS_CELLS_MAX {
        let text = "ERR Insufficient memory, failed allocating transient memory for LCS";
        return Err(Refused::Text(text.to_owned()));
    }
    let found = Common::of(a, b);
    Ok(if options.len {
        Reply::count(found.len)
    } else if options.idx {
        let matches = found.runs(a, b).filter(|run| run.len >= options.min_match_len);
        let matches = matches.map(|run| run.shown(options.with_match_len)).collect();
        let field = |name: &str, value: Reply| (Reply::text(name), value);
        Reply::Map(vec![field("matches", Reply::Array(matches)), field("len", Reply::count(found.len))])
    } else {
        let mut runs: Vec<Shared> = found.runs(a, b).collect();
        runs.reverse();
        let bytes: Vec<u8> = runs.iter().flat_map(|run| &a[run.a..run.a + run.len]).copied().collect();
        Reply::bulk(&bytes)
    })
}

/// What two strings have in common.
struct Common {
    /// How long the longest is.
    len: usize,
    /// Of each cell, whether the one above has more than the one to the left.
    up: Vec<u64>,
}

/// Bytes next to each other that both strings have, from these places on.
#[derive(Clone, Copy)]
struct Shared {
    a: usize,
    b: usize,
    len: usize,
}

impl Common {
    fn of(a: &[u8], b: &[u8]) -> Self {
        let mut up = vec![0; (a.len() * b.len()).div_ceil(CELLS_PER_WORD)];
        let (mut above, mut row) = (vec![0_u32; b.len() + 1], vec![0_u32; b.len() + 1]);
        let mut cell = 0;
        for left in a {
            for (at, right) in b.iter().enumerate() {
                row[at + 1] = if left == right { above[at] + 1 } else { above[at + 1].max(row[at]) };
                if above[at + 1] > row[at] {
                    up[cell / CELLS_PER_WORD] |= 1 << (cell % CELLS_PER_WORD);
                }
                cell += 1;
            }
            std::mem::swap(&mut above, &mut row);
        }
        Self { len: above.last().map_or(0, |len| *len as usize), up }
    }

    /// Where the bytes of the longest stand, from the last on. As in Redis, of two ways of the same length it is the one that
    /// gives up a byte of `b` first, seen from the end.
    fn runs(&self, a: &[u8], b: &[u8]) -> impl Iterator<Item = Shared> {
        let (mut i, mut j) = (a.len(), b.len());
        std::iter::from_fn(move || {
            while i > 0 && j > 0 && a[i - 1] != b[j - 1] {
                let cell = (i - 1) * b.len() + j - 1;
                if self.up[cell / CELLS_PER_WORD] >> (cell % CELLS_PER_WORD) & 1 == 1 {
                    i -= 1;
                } else {
                    j -= 1;
                }
            }
            let len = a[..i].iter().rev().zip(b[..j].iter().rev()).take_while(|(left, right)| left == right).count();
            (i, j) = (i - len, j - len);
            (len > 0).then_some(Shared { a: i, b: j, len })
        })
    }
}

impl Shared {
    fn shown(self, with_len: bool) -> Reply {
        let range = |at: usize| Reply::Array(vec![Reply::count(at), Reply::count(at + self.len - 1)]);
        let mut parts = vec![range(self.a), range(self.b)];
        if with_len {
            parts.push(Reply::count(self.len));
        }
        Reply::Array(parts)
    }
}

const CELLS_PER_WORD: usize = 64;
