//! Replies as Lua has them, and what Lua answers as replies: as Redis 7.0.15 does either.

use crate::guard::Guard;
use crate::number::{general, truncated};
use data::reply_codec::DEPTH_MAX;
use data::{Blob, Refused, Reply};
use mlua::{Lua, Result, Table, Value};

/// A reply for a script that has asked for this version of RESP.
pub(crate) fn from_reply(lua: &Lua, reply: &Reply, resp: u8) -> Result<Value> {
    let three = resp == 3;
    Ok(match reply {
        Reply::Ok => field(lua, "ok", text(lua, b"OK")?)?,
        Reply::Simple(word) => field(lua, "ok", text(lua, word.as_bytes())?)?,
        Reply::Status(word) => field(lua, "ok", text(lua, word)?)?,
        Reply::Nil | Reply::NilArray if three => Value::Nil,
        Reply::Nil | Reply::NilArray => Value::Boolean(false),
        Reply::Int(n) => Value::Number(crate::number::double(*n)),
        Reply::Double(n) | Reply::Decimal(n) if three => field(lua, "double", Value::Number(*n))?,
        Reply::Double(n) => text(lua, general(*n, 17).as_bytes())?,
        Reply::Decimal(n) => text(lua, Reply::plain(*n).as_bytes())?,
        Reply::Bool(told) if three => Value::Boolean(*told),
        Reply::Bool(told) => Value::Number(f64::from(u8::from(*told))),
        Reply::Bulk(blob) => text(lua, blob.as_bytes())?,
        Reply::BigNumber(digits) if three => field(lua, "big_number", text(lua, digits)?)?,
        Reply::BigNumber(digits) => text(lua, digits)?,
        Reply::Verbatim(words) if three => verbatim(lua, b"txt", words.as_bytes())?,
        Reply::Verbatim(words) => text(lua, words.as_bytes())?,
        Reply::Formatted(format, words) if three => verbatim(lua, format, words)?,
        Reply::Formatted(_, words) => text(lua, words)?,
        Reply::Array(items) => list(lua, items.iter(), items.len(), resp)?,
        Reply::Strings(strings) => {
            let table = lua.create_table_with_capacity(strings.len(), 0)?;
            for (at, string) in (1..).zip(strings.iter()) {
                table.raw_set(at, lua.create_string(string)?)?;
            }
            Value::Table(table)
        }
        Reply::Set(items) if three => {
            let members = lua.create_table_with_capacity(0, items.len())?;
            for item in items {
                members.raw_set(from_reply(lua, item, resp)?, true)?;
            }
            field(lua, "set", Value::Table(members))?
        }
        Reply::Set(items) => list(lua, items.iter(), items.len(), resp)?,
        Reply::Map(pairs) | Reply::Pairs(pairs) if three => {
            let all = lua.create_table_with_capacity(0, pairs.len())?;
            for (key, value) in pairs {
                all.raw_set(from_reply(lua, key, resp)?, from_reply(lua, value, resp)?)?;
            }
            field(lua, "map", Value::Table(all))?
        }
        Reply::Couples(pairs) if three => couples(lua, pairs, resp)?,
        Reply::Pairs(pairs) => couples(lua, pairs, resp)?,
        Reply::Map(pairs) | Reply::Couples(pairs) => {
            list(lua, pairs.iter().flat_map(|(key, value)| [key, value]), 2 * pairs.len(), resp)?
        }
        Reply::Error(refused) => error(lua, refused.to_string().as_bytes())?,
        Reply::Watched(_) | Reply::Kept => unreachable!("no script gets here"),
    })
}

/// An error as a table.
pub(crate) fn error(lua: &Lua, message: &[u8]) -> Result<Value> {
    let table = lua.create_table_with_capacity(0, 2)?;
    table.raw_set("err", lua.create_string(message)?)?;
    table.raw_set("ignore_error_stats_update", true)?;
    Ok(Value::Table(table))
}

fn text(lua: &Lua, bytes: &[u8]) -> Result<Value> {
    lua.create_string(bytes).map(Value::String)
}

fn field(lua: &Lua, name: &str, value: Value) -> Result<Value> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set(name, value)?;
    Ok(Value::Table(table))
}

fn verbatim(lua: &Lua, format: &[u8], words: &[u8]) -> Result<Value> {
    let inner = lua.create_table_with_capacity(0, 2)?;
    inner.raw_set("format", lua.create_string(format)?)?;
    inner.raw_set("string", lua.create_string(words)?)?;
    field(lua, "verbatim_string", Value::Table(inner))
}

fn list<'a>(lua: &Lua, items: impl Iterator<Item = &'a Reply>, count: usize, resp: u8) -> Result<Value> {
    let table = lua.create_table_with_capacity(count, 0)?;
    for (at, item) in (1..).zip(items) {
        table.raw_set(at, from_reply(lua, item, resp)?)?;
    }
    Ok(Value::Table(table))
}

/// A list of lists of two.
fn couples(lua: &Lua, pairs: &[(Reply, Reply)], resp: u8) -> Result<Value> {
    let table = lua.create_table_with_capacity(pairs.len(), 0)?;
    for (at, (first, second)) in (1..).zip(pairs) {
        table.raw_set(at, list(lua, [first, second].into_iter(), 2, resp)?)?;
    }
    Ok(Value::Table(table))
}

/// How much there is to convert.
pub(crate) struct Lengths;

impl Lengths {
    /// In steps.
    pub(crate) fn of(reply: &Reply) -> u64 {
        match reply {
            Reply::Bulk(blob) => 1 + blob.as_bytes().len() as u64 / 256,
            Reply::Strings(strings) => 1 + (strings.len() + strings.bytes() / 256) as u64,
            Reply::Array(items) | Reply::Set(items) => items.iter().map(Self::of).sum::<u64>() + 1,
            Reply::Map(pairs) | Reply::Couples(pairs) | Reply::Pairs(pairs) => {
                pairs.iter().map(|(key, value)| Self::of(key) + Self::of(value)).sum::<u64>() + 1
            }
            _ => 1,
        }
    }
}

/// What a script answers may take so many bytes.
const REPLY_BYTES_MAX: usize = 512 * 1024 * 1024;
/// What an item of it takes at least.
const ITEM_BYTES: usize = 32;

/// Turns what a script has returned into a reply.
pub(crate) struct ToReply<'a> {
    pub(crate) guard: &'a Guard,
    pub(crate) resp: u8,
    pub(crate) bytes: usize,
}

impl ToReply<'_> {
    /// A value, at a depth of lists in lists.
    pub(crate) fn value(&mut self, value: &Value, depth: u32) -> Result<Reply> {
        self.guard.spend(1)?;
        self.bytes += ITEM_BYTES;
        if self.bytes > REPLY_BYTES_MAX {
            return Err(self.guard.end(crate::guard::Halt::Reply));
        }
        Ok(match value {
            Value::String(string) => {
                let bytes = string.as_bytes();
                self.bytes += bytes.len();
                self.guard.spend(bytes.len() as u64 / 256)?;
                Reply::Bulk(blob(&bytes))
            }
            Value::Boolean(told) if self.resp == 3 => Reply::Bool(*told),
            Value::Boolean(true) => Reply::Int(1),
            Value::Integer(n) => Reply::Int(*n),
            Value::Number(n) => Reply::Int(truncated(*n)),
            Value::Table(table) if depth + 2 > DEPTH_MAX => {
                let _ = table;
                Reply::Error(Refused::Text("ERR reached lua stack limit".to_owned()))
            }
            Value::Table(table) => self.table(table, depth)?,
            _ => Reply::Nil,
        })
    }

    fn table(&mut self, table: &Table, depth: u32) -> Result<Reply> {
        if let Value::String(message) = table.raw_get("err")? {
            return Ok(Reply::Error(Refused::Text(message.to_string_lossy())));
        }
        if let Value::String(word) = table.raw_get("ok")? {
            return Ok(Reply::Status(word.as_bytes().to_vec().into()));
        }
        match table.raw_get("double")? {
            Value::Number(n) => return Ok(Reply::Double(n)),
            Value::Integer(n) => return Ok(Reply::Double(crate::number::double(n))),
            _ => {}
        }
        if let Value::Table(map) = table.raw_get("map")? {
            let mut pairs = Vec::new();
            for pair in map.pairs::<Value, Value>() {
                let (key, value) = pair?;
                pairs.push((self.value(&key, depth + 1)?, self.value(&value, depth + 1)?));
            }
            return Ok(Reply::Map(pairs));
        }
        if let Value::Table(set) = table.raw_get("set")? {
            let mut members = Vec::new();
            for pair in set.pairs::<Value, Value>() {
                members.push(self.value(&pair?.0, depth + 1)?);
            }
            return Ok(Reply::Set(members));
        }
        if let Value::String(digits) = table.raw_get("big_number")? {
            let one_line = |byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte };
            return Ok(Reply::BigNumber(digits.as_bytes().iter().map(one_line).collect()));
        }
        if let Value::Table(inner) = table.raw_get("verbatim_string")?
            && let (Value::String(format), Value::String(words)) = (inner.raw_get("format")?, inner.raw_get("string")?)
        {
            let mut name = *b"   ";
            name.iter_mut().zip(format.as_bytes().iter()).for_each(|(to, from)| *to = *from);
            return Ok(Reply::Formatted(name, words.as_bytes().to_vec().into()));
        }
        let mut items = Vec::new();
        loop {
            match table.raw_get(items.len() + 1)? {
                Value::Nil => return Ok(Reply::Array(items)),
                item => items.push(self.value(&item, depth + 1)?),
            }
        }
    }
}

fn blob(bytes: &[u8]) -> Blob {
    if bytes.len() <= data::reply::INLINE_BYTES {
        Blob::from(bytes)
    } else {
        Blob::Shared(bytes::Bytes::copy_from_slice(bytes))
    }
}
