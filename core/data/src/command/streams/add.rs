//! XADD, and XCFGSET for what it remembers.

use super::ids::Wanted;
use super::options::{Name, Options, is_nothing};
use crate::command::Outcome;
use crate::command::strings::integer;
use crate::keyspace::{Absent, Changed, Class, Ttl};
use crate::value::Stream;
use crate::value::stream::{DURATION_S, Id, Known, SIZE};
use crate::{Context, Keyspace, Refused, Reply};
use std::hash::Hasher;
use std::ops::RangeInclusive;

/// What came of an entry that was to be added.
enum Added {
    /// It was, and others went for it.
    New { id: Id, trimmed: bool },
    /// It had been before.
    Before(Id),
}

pub(super) fn xadd(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let options = Options::of_xadd(args)?;
    let fields = args.get(options.fields_at..).unwrap_or_default();
    if fields.is_empty() || !fields.len().is_multiple_of(2) {
        return Err(Refused::Arity("xadd".to_owned()));
    }
    if is_nothing(options.wanted) {
        return Err(Refused::Text("ERR The ID specified in XADD must be greater than 0-0".to_owned()));
    }
    let name = options.name.map(|name| full_name(keyspace, name, fields));
    let add = |stream: &mut Stream| {
        let added = add(stream, cx, &options, name.as_ref(), fields);
        let changed = Changed::from(matches!(added, Ok(Added::New { .. })));
        (added, changed)
    };
    let added = match keyspace.change(cx, args[1], Absent::Leave, add)? {
        Some(added) => added?,
        None if !options.make => return Ok(Reply::Nil),
        None => {
            let mut stream = Stream::default();
            let added = add(&mut stream).0?;
            keyspace.set_object(cx, args[1], stream, Ttl::Clear);
            added
        }
    };
    Ok(match added {
        Added::Before(id) => id.reply(),
        Added::New { id, trimmed } => {
            keyspace.notify(cx.db, Class::Stream, "xadd", args[1]);
            if trimmed {
                keyspace.notify(cx.db, Class::Stream, "xtrim", args[1]);
            }
            id.reply()
        }
    })
}

/// Changes nothing if it refuses.
fn add(
    stream: &mut Stream,
    cx: &Context,
    options: &Options<'_>,
    name: Option<&(&[u8], Vec<u8>)>,
    fields: &[&[u8]],
) -> Result<Added, Refused> {
    if let Some((producer, name)) = name
        && let Some(Known::As(id)) = stream.producers().map(|known| known.look(producer, name, cx.stamp.0))
    {
        stream.producers_mut().count_duplicate();
        return Ok(Added::Before(id));
    }
    let id = next_id(options.wanted, cx, stream.entries().last())?;
    stream.add(id, fields);
    if let Some((producer, name)) = name {
        stream.producers_mut().record(producer, name, id, cx.stamp.0);
    }
    let trimmed = options.trim.is_some_and(|trim| stream.trim(trim) > 0);
    Ok(Added::New { id, trimmed })
}

fn next_id(wanted: Wanted, cx: &Context, last: Id) -> Result<Id, Refused> {
    let next = last.next().ok_or_else(|| {
        Refused::Text("ERR The stream has exhausted the last possible ID, unable to add more items".to_owned())
    })?;
    let id = match wanted {
        Wanted::Next if cx.stamp.0 > last.ms => Id::new(cx.stamp.0, 0),
        Wanted::Next => next,
        Wanted::Within(ms) if ms == last.ms && last.seq == u64::MAX => {
            // The text is Redis', which means another error by it.
            return Err(Refused::Text("ERR Elements are too large to be stored".to_owned()));
        }
        Wanted::Within(ms) if ms == last.ms => next,
        Wanted::Within(ms) => Id::new(ms, 0),
        Wanted::Exactly(id) => id,
    };
    if id > last {
        return Ok(id);
    }
    let text = "ERR The ID specified in XADD is equal or smaller than the target stream top item";
    Err(Refused::Text(text.to_owned()))
}

/// The producer, and the name under which it adds. Names that were made of fields never are those that were given.
fn full_name<'a>(keyspace: &Keyspace, name: Name<'a>, fields: &[&[u8]]) -> (&'a [u8], Vec<u8>) {
    match name {
        Name::Given { producer, name } => (producer, [b"n", name].concat()),
        Name::OfFields { producer } => {
            let hash = fields_hash(keyspace, fields).to_le_bytes();
            (producer, [&b"f"[..], &hash].concat())
        }
    }
}

/// A hash of fields in any order.
fn fields_hash(keyspace: &Keyspace, fields: &[&[u8]]) -> u128 {
    let half = |part: u8, pair: &[&[u8]]| {
        let mut hasher = keyspace.hasher();
        hasher.write_u8(part);
        for text in pair {
            hasher.write_usize(text.len());
            hasher.write(text);
        }
        hasher.finish()
    };
    let pairs = fields.chunks_exact(2);
    let sum = |part| pairs.clone().fold(0u64, |sum, pair| sum.wrapping_add(half(part, pair)));
    u128::from(sum(0)) << 64 | u128::from(sum(1))
}

pub(super) fn xcfgset(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let (mut duration_s, mut size_max) = (None, None);
    for pair in args[2..].chunks(2) {
        match (pair[0].to_ascii_lowercase().as_slice(), pair.get(1)) {
            (b"idmp-duration", Some(n)) => duration_s = Some(within("IDMP-DURATION", n, &DURATION_S, " seconds")?),
            (b"idmp-maxsize", Some(n)) => size_max = Some(within("IDMP-MAXSIZE", n, &SIZE, " entries")?),
            _ => return Err(Refused::Syntax),
        }
    }
    if duration_s.is_none() && size_max.is_none() {
        return Err(Refused::Text("ERR At least one parameter must be specified".to_owned()));
    }
    let set = |stream: &mut Stream| {
        let producers = stream.producers_mut();
        let now = producers.limits();
        producers.set_limits(duration_s.unwrap_or(now.0), size_max.unwrap_or(now.1));
        ((), Changed::Yes)
    };
    keyspace.change(cx, args[1], Absent::Leave, set)?.ok_or(Refused::NoSuchKey)?;
    Ok(Reply::Ok)
}

fn within(name: &str, number: &[u8], range: &RangeInclusive<u64>, unit: &str) -> Result<u64, Refused> {
    let number = u64::try_from(integer(number)?).ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        Refused::Text(format!("ERR {name} must be between {least} and {most}{unit}"))
    })
}
