//! Counts of distinct members in 12 KiB at most, kept in strings: HyperLogLog in the representation of Redis, so that a
//! value read there can be written here and the other way round.
//!
//! PFCOUNT changes nothing here: a cached count is believed, but only a string that came with one has it.

mod dense;
mod estimate;
mod hash;
mod selftest;
mod sketch;
mod sparse;

use super::{Command, Keys, Outcome, Run};
use crate::keyspace::{Changed, Class, Ttl};
use crate::{Context, Keyspace, Refused, Reply};
use sketch::{Encoding, Registers, Sketch};

/// The rows of this family; ids 720 to 729.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "pfadd",
        id: 720,
        arity: -2,
        flags: "write denyoom fast",
        keys: Keys::ONE,
        run: Run::Write(pfadd),
        summary: "Adds elements to a HyperLogLog, which counts distinct ones.",
        group: "hyperloglog",
        since: "2.8.9",
    },
    Command {
        name: "pfcount",
        id: 721,
        arity: -2,
        flags: "readonly",
        keys: Keys::ALL,
        run: Run::Read(pfcount),
        summary: "Estimates how many distinct elements HyperLogLogs have seen together.",
        group: "hyperloglog",
        since: "2.8.9",
    },
    Command {
        name: "pfmerge",
        id: 722,
        arity: -2,
        flags: "write denyoom",
        keys: Keys::ALL,
        run: Run::Write(pfmerge),
        summary: "Merges HyperLogLogs into one.",
        group: "hyperloglog",
        since: "2.8.9",
    },
    Command {
        name: "pfdebug",
        id: 723,
        arity: 3,
        flags: "write denyoom admin",
        keys: Keys::at(2, 2, 1),
        run: Run::Write(pfdebug),
        summary: "Shows how a HyperLogLog is held.",
        group: "hyperloglog",
        since: "2.8.9",
    },
    Command {
        name: "pfselftest",
        id: 724,
        arity: 1,
        flags: "admin",
        keys: Keys::NONE,
        run: Run::Read(selftest::pfselftest),
        summary: "Tests the implementation of HyperLogLogs.",
        group: "hyperloglog",
        since: "2.8.9",
    },
];

/// The sketch at `key`, if there is one.
fn look<'a>(keyspace: &'a Keyspace, cx: &Context, key: &[u8]) -> Result<Option<Sketch<'a>>, Refused> {
    keyspace.string(cx, key)?.map(Sketch::of).transpose()
}

fn pfadd(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let found = look(keyspace, cx, args[1])?;
    let hits = args[2..].iter().map(|element| hash::place(element));
    if let Some(sketch) = found
        && sketch.encoding() == Encoding::Dense
    {
        let bytes = sketch.bytes();
        if !hits.clone().any(|(index, count)| dense::get(bytes, index) < count) {
            return Ok(Reply::Int(0));
        }
        keyspace.edit_string(cx, args[1], 0, |bytes| {
            for (index, count) in hits {
                dense::set(bytes, index, count);
            }
            sketch::forget_count(bytes);
            ((), Changed::Yes)
        })?;
    } else {
        let mut changed = found.is_none();
        let mut work = found.map_or_else(sketch::empty, |sketch| sketch.bytes().to_vec());
        for (index, count) in hits {
            changed |= sketch::set(&mut work, index, count)?;
        }
        if !changed {
            return Ok(Reply::Int(0));
        }
        sketch::forget_count(&mut work);
        keyspace.set_owned(cx, args[1], work, Ttl::Keep);
    }
    keyspace.notify(cx.db, Class::String, "pfadd", args[1]);
    Ok(Reply::Int(1))
}

fn pfcount(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let count = if let [_, key] = args {
        let Some(sketch) = look(keyspace, cx, key)? else { return Ok(Reply::Int(0)) };
        sketch.cached_count().map_or_else(|| sketch.histogram().map(|found| estimate::count(&found)), Ok)?
    } else {
        let mut union = Registers::default();
        for key in &args[1..] {
            if let Some(sketch) = look(keyspace, cx, key)? {
                union.merge(sketch)?;
            }
        }
        estimate::count(&union.histogram())
    };
    Ok(Reply::Int(count.cast_signed()))
}

fn pfmerge(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let (mut union, mut dense) = (Registers::default(), false);
    for key in &args[1..] {
        if let Some(sketch) = look(keyspace, cx, key)? {
            dense |= sketch.encoding() == Encoding::Dense;
            union.merge(sketch)?;
        }
    }
    let mut merged = look(keyspace, cx, args[1])?.map_or_else(sketch::empty, |sketch| sketch.bytes().to_vec());
    if dense {
        merged = sketch::to_dense(merged)?;
    }
    for (index, count) in union.set_ones() {
        sketch::set(&mut merged, index, count)?;
    }
    sketch::forget_count(&mut merged);
    keyspace.set_owned(cx, args[1], merged, Ttl::Keep);
    keyspace.notify(cx.db, Class::String, "pfadd", args[1]);
    Ok(Reply::Ok)
}

fn pfdebug(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let Some(sketch) = look(keyspace, cx, args[2])? else {
        return Err(Refused::Text("ERR The specified key does not exist".to_owned()));
    };
    let sparse = sketch.encoding() == Encoding::Sparse;
    match args[1].to_ascii_lowercase().as_slice() {
        b"getreg" => {
            let dense = densify(keyspace, cx, args[2])?;
            let register = |index| Reply::Int(i64::from(dense::get(&dense, index)));
            Ok(Reply::Array((0..dense::REGISTER_COUNT).map(register).collect()))
        }
        b"decode" if !sparse => Err(Refused::Text("ERR HLL encoding is not sparse".to_owned())),
        b"decode" => Ok(Reply::text(sparse::shown(sketch.bytes()))),
        b"encoding" => Ok(Reply::Simple(if sparse { "sparse" } else { "dense" })),
        b"todense" => densify(keyspace, cx, args[2]).map(|_| Reply::Int(i64::from(sparse))),
        _ => {
            let word = String::from_utf8_lossy(args[1]);
            Err(Refused::Text(format!("ERR Unknown PFDEBUG subcommand '{word}'")))
        }
    }
}

/// Makes the sketch at `key`, which is one, a dense one.
fn densify(keyspace: &mut Keyspace, cx: &Context, key: &[u8]) -> Result<Vec<u8>, Refused> {
    let bytes = keyspace.string(cx, key)?.unwrap_or_default().to_vec();
    let was = Sketch::of(&bytes)?.encoding();
    let dense = sketch::to_dense(bytes)?;
    if was == Encoding::Sparse {
        keyspace.set_owned(cx, key, dense.clone(), Ttl::Keep);
    }
    Ok(dense)
}
