//! The options of XADD and XTRIM, which stand in any order.

use super::ids::{self, Wanted};
use crate::Refused;
use crate::command::strings::integer;
use crate::value::stream::{Id, Keep, Trim};

/// What XADD or XTRIM asks for besides the fields.
#[derive(Debug)]
pub(super) struct Options<'a> {
    /// A stream is made if there is none.
    pub(super) make: bool,
    /// XADD's ID.
    pub(super) wanted: Wanted,
    /// Where its fields begin.
    pub(super) fields_at: usize,
    pub(super) trim: Option<Trim>,
    pub(super) name: Option<Name<'a>>,
}

/// Under which name an entry is added: IDMP and IDMPAUTO of Redis 8.6.
#[derive(Clone, Copy, Debug)]
pub(super) enum Name<'a> {
    Given {
        producer: &'a [u8],
        name: &'a [u8],
    },
    /// The fields name the entry.
    OfFields {
        producer: &'a [u8],
    },
}

/// Approximate trimming removes so many entries at once if nothing else is said: Redis' 100 nodes of 100 entries.
const TRIM_MOST: u64 = 10_000;

/// The options as they are read.
#[derive(Default)]
struct Reading<'a> {
    nomkstream: bool,
    keep: Option<Keep>,
    approximate: bool,
    limit: Option<u64>,
    name: Option<Name<'a>>,
}

impl<'a> Options<'a> {
    /// Reads XADD's arguments up to its fields, which may be missing.
    pub(super) fn of_xadd(args: &'a [&'a [u8]]) -> Result<Self, Refused> {
        let mut reading = Reading::default();
        let (mut at, mut wanted) = (2, Wanted::Next);
        while let Some(word) = args.get(at) {
            // The fast way.
            if *word == b"*" {
                break;
            }
            match reading.option(&args[at..])?.or(reading.option_of_xadd(&args[at..])?) {
                Some(used) => at += used,
                None => {
                    wanted = ids::wanted(word)?;
                    break;
                }
            }
        }
        let trim = reading.trim()?;
        if reading.name.is_some() && wanted != Wanted::Next {
            return Err(text("ERR IDMP/IDMPAUTO can be used only with auto-generated IDs"));
        }
        Ok(Self { make: !reading.nomkstream, wanted, fields_at: at + 1, trim, name: reading.name })
    }

    /// Reads XTRIM's arguments.
    pub(super) fn of_xtrim(args: &[&[u8]]) -> Result<Trim, Refused> {
        let mut reading = Reading::default();
        let mut at = 2;
        while at < args.len() {
            at += reading.option(&args[at..])?.ok_or(Refused::Syntax)?;
        }
        reading.trim()?.ok_or_else(|| text("ERR syntax error, XTRIM must be called with a trimming strategy"))
    }
}

impl<'a> Reading<'a> {
    /// Takes an option that both commands have; how many words it has, or nothing if it is none.
    fn option(&mut self, args: &[&'a [u8]]) -> Result<Option<usize>, Refused> {
        let [word, more @ ..] = args else { return Ok(None) };
        if more.is_empty() {
            return Ok(None);
        }
        match word.to_ascii_lowercase().as_slice() {
            by @ (b"maxlen" | b"minid") => self.strategy(by, more).map(|used| Some(used + 1)),
            b"limit" => {
                let limit = integer(more[0])?;
                self.limit = Some(u64::try_from(limit).map_err(|_| text("ERR The LIMIT argument must be >= 0."))?);
                Ok(Some(2))
            }
            _ => Ok(None),
        }
    }

    fn strategy(&mut self, by: &[u8], more: &[&[u8]]) -> Result<usize, Refused> {
        if self.keep.is_some() {
            return Err(text("ERR syntax error, MAXLEN and MINID options at the same time are not compatible"));
        }
        let (approximate, used) = match more {
            [b"~", _, ..] => (true, 1),
            [b"=", _, ..] => (false, 1),
            _ => (false, 0),
        };
        self.approximate = approximate;
        self.keep = Some(if by == b"minid" {
            Keep::From(ids::exact(more[used], 0)?)
        } else {
            let len = integer(more[used])?;
            Keep::Newest(u64::try_from(len).map_err(|_| text("ERR The MAXLEN argument must be >= 0."))?)
        });
        Ok(used + 1)
    }

    /// Takes an option that XADD alone has.
    fn option_of_xadd(&mut self, args: &[&'a [u8]]) -> Result<Option<usize>, Refused> {
        match (args[0].to_ascii_lowercase().as_slice(), &args[1..]) {
            (b"nomkstream", _) => {
                self.nomkstream = true;
                Ok(Some(1))
            }
            (b"idmp", [producer, name, ..]) => {
                self.set_name(Name::Given { producer, name })?;
                Ok(Some(3))
            }
            (b"idmpauto", [producer, ..]) => {
                self.set_name(Name::OfFields { producer })?;
                Ok(Some(2))
            }
            _ => Ok(None),
        }
    }

    fn set_name(&mut self, new: Name<'a>) -> Result<(), Refused> {
        if self.name.replace(new).is_some() {
            return Err(text("ERR IDMP/IDMPAUTO specified multiple times"));
        }
        match new {
            Name::Given { producer: b"", .. } => Err(text("ERR IDMP requires a non-empty producer ID")),
            Name::Given { name: b"", .. } => Err(text("ERR IDMP requires a non-empty idempotent ID")),
            Name::OfFields { producer: b"" } => Err(text("ERR IDMPAUTO requires a non-empty producer ID")),
            _ => Ok(()),
        }
    }

    fn trim(&self) -> Result<Option<Trim>, Refused> {
        let most = match self.limit {
            Some(1..) if self.keep.is_none() => {
                return Err(text("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"));
            }
            Some(_) if !self.approximate => {
                return Err(text("ERR syntax error, LIMIT cannot be used without the special ~ option"));
            }
            Some(0) => None,
            Some(limit) => Some(limit),
            None => self.approximate.then_some(TRIM_MOST),
        };
        Ok(self.keep.map(|keep| Trim { keep, approximate: self.approximate, most }))
    }
}

fn text(text: &str) -> Refused {
    Refused::Text(text.to_owned())
}

/// True if no entry may have this ID.
pub(super) fn is_nothing(wanted: Wanted) -> bool {
    wanted == Wanted::Exactly(Id::MIN)
}
