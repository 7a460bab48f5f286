//! Sets: integers while there are few and nothing else, else members of any kind.

mod ints;

use super::dense::{Dense, Members};
use super::{Container, Word, kind};
use base::codec::{DecodeError, Reader, put_varint};
pub(super) use ints::COUNT_MAX as INT_COUNT_MAX;
use ints::{Ints, Width};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::ops::Range;

/// See the module.
#[derive(Clone, Debug)]
pub struct Set {
    form: Form,
}

/// A set that has become a table stays one: OBJECT ENCODING and SSCAN tell.
#[derive(Clone, Debug)]
enum Form {
    Ints(Ints),
    Table(Dense<1>),
}

const _: () = assert!(size_of::<Set>() == 24, "each small set pays for it");

/// What stands before the image of a table; before that of integers stands their width.
const TABLE: u8 = 0;

impl Default for Set {
    fn default() -> Self {
        Self { form: Form::Ints(Ints::default()) }
    }
}

impl Set {
    /// True if `member` is in it.
    #[must_use]
    pub fn contains(&self, member: Word<'_>) -> bool {
        match &self.form {
            Form::Ints(ints) => member.integer().is_some_and(|n| ints.find(n).is_ok()),
            Form::Table(table) => table.find(member).is_some(),
        }
    }

    /// Adds a member; true if it is new. `seed` is [`crate::Keyspace::index_seed`].
    pub fn add(&mut self, member: Word<'_>, seed: u64) -> bool {
        if let Form::Ints(ints) = &mut self.form {
            match member.integer() {
                Some(n) if ints.len() < ints::COUNT_MAX || ints.find(n).is_ok() => return ints.insert(n),
                _ => self.become_table(seed),
            }
        }
        match &mut self.form {
            Form::Table(table) => table.put(&[member], seed),
            Form::Ints(_) => unreachable!("it has just become a table"),
        }
    }

    /// Removes a member; true if it was there.
    pub fn remove(&mut self, member: Word<'_>) -> bool {
        match &mut self.form {
            Form::Ints(ints) => {
                let at = member.integer().and_then(|n| ints.find(n).ok());
                at.map(|at| ints.remove_at(at)).is_some()
            }
            Form::Table(table) => table.remove(member),
        }
    }

    /// Removes the member at a place of its order.
    pub fn remove_at(&mut self, at: usize) {
        match &mut self.form {
            Form::Ints(ints) => ints.remove_at(at),
            Form::Table(table) => table.remove_at(at),
        }
    }

    /// The members at these places of its order, which the commands alone decide.
    #[must_use]
    pub fn members(&self, range: Range<usize>) -> SetMembers<'_> {
        match &self.form {
            Form::Ints(ints) => SetMembers(Inner::Ints(ints, range)),
            Form::Table(table) => SetMembers(Inner::Table(table.members(range))),
        }
    }

    /// The name that OBJECT ENCODING tells.
    #[must_use]
    pub fn encoding(&self) -> &'static str {
        match &self.form {
            Form::Ints(_) => "intset",
            Form::Table(_) => "hashtable",
        }
    }

    /// True if a scan returns all at once, as in Redis.
    #[must_use]
    pub fn scans_at_once(&self) -> bool {
        matches!(self.form, Form::Ints(_))
    }

    fn become_table(&mut self, seed: u64) {
        let mut table = Dense::default();
        for member in self.members(0..self.len()) {
            table.put(&[member], seed);
        }
        self.form = Form::Table(table);
    }
}

/// Members of a set in its order.
#[derive(Clone, Debug)]
pub struct SetMembers<'a>(Inner<'a>);

#[derive(Clone, Debug)]
enum Inner<'a> {
    Ints(&'a Ints, Range<usize>),
    Table(Members<'a, 1>),
}

impl<'a> Iterator for SetMembers<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        match &mut self.0 {
            Inner::Ints(ints, range) => range.next().map(|at| Word::Int(ints.get(at))),
            Inner::Table(members) => members.next().map(|[member]| member),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Inner::Ints(_, range) => range.size_hint(),
            Inner::Table(members) => members.size_hint(),
        }
    }
}

impl ExactSizeIterator for SetMembers<'_> {}

impl Container for Set {
    kind!(Set);

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        match &self.form {
            Form::Ints(ints) => ints.len(),
            Form::Table(table) => table.len(),
        }
    }

    fn bytes(&self) -> usize {
        let apart = match &self.form {
            Form::Ints(ints) => ints.bytes(),
            Form::Table(table) => table.bytes(),
        };
        size_of::<Self>() + apart
    }

    fn digest(&self, hasher: &mut SipHasher13) {
        match &self.form {
            Form::Ints(ints) => {
                hasher.write_u8(ints.width() as u8);
                hasher.write_usize(ints.len());
                (0..ints.len()).for_each(|at| hasher.write_i64(ints.get(at)));
            }
            Form::Table(table) => {
                hasher.write_u8(TABLE);
                table.digest(hasher);
            }
        }
    }

    fn encode_part(&self, part: usize, out: &mut Vec<u8>) -> bool {
        match &self.form {
            Form::Ints(ints) => {
                out.push(ints.width() as u8);
                put_varint(out, ints.len() as u64);
                (0..ints.len()).for_each(|at| out.extend_from_slice(&ints.get(at).to_le_bytes()));
                false
            }
            Form::Table(table) => {
                if part == 0 {
                    out.push(TABLE);
                }
                table.encode_part(part, out)
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = reader.u8()?;
        if kind == TABLE {
            return Ok(Self { form: Form::Table(Dense::decode(reader)?) });
        }
        let width = Width::from_bytes(kind).ok_or(DecodeError::Unknown(u64::from(kind)))?;
        let (mut ints, count) = (Ints::default(), reader.varint()?);
        ints.widen(width);
        if count > ints::COUNT_MAX as u64 {
            return Err(DecodeError::Overlong);
        }
        for _ in 0..count {
            // Each is more than the last, and none needs more than the width.
            let at = ints.len();
            let n = reader.u64()?.cast_signed();
            if ints.find(n) != Err(at) || !ints.insert(n) || ints.width() != width {
                return Err(DecodeError::Overlong);
            }
        }
        if count == 0 { Err(DecodeError::Truncated) } else { Ok(Self { form: Form::Ints(ints) }) }
    }
}
