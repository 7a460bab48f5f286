//! OBJECT: how the value of a key is held.

use super::{Command, Keys, Outcome, Run, containers};
use crate::keyspace::{Noted, Value};
use crate::{Context, Keyspace, Refused, Reply};

/// The rows of this family; ids 240 to 249.
pub static COMMANDS: &[Command] = &[Command {
    name: "object",
    id: 240,
    arity: -2,
    flags: "readonly",
    keys: Keys::at(2, 2, 1),
    run: Run::Read(object),
    summary: "Tells how the value of a key is held.",
    group: "generic",
    since: "2.2.3",
}];

fn object(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let sub = args[1].to_ascii_lowercase();
    let Some(key) = args.get(2) else { return Ok(containers::help(&COMMANDS[0])) };
    let Some(live) = keyspace.peek(cx, key) else { return Ok(Reply::Nil) };
    let frequency = matches!(keyspace.noted_uses(), Noted::Frequency { .. });
    match sub.as_slice() {
        b"encoding" => Ok(Reply::text(encoding_of(live.value))),
        b"refcount" => Ok(Reply::Int(1)),
        // An outcome that replicas share can't tell what each of them has noted for itself.
        _ if cx.shared => Ok(Reply::Int(0)),
        b"idletime" if frequency => Err(refused("An LFU maxmemory policy is selected, idle time not tracked.")),
        b"freq" if !frequency => Err(refused("An LFU maxmemory policy is not selected, access frequency not tracked.")),
        b"idletime" => Ok(keyspace.idle_s(cx, key).and_then(|s| i64::try_from(s).ok()).map_or(Reply::Nil, Reply::Int)),
        _ => Ok(keyspace.frequency(cx, key).map_or(Reply::Nil, |counter| Reply::Int(counter.into()))),
    }
}

fn refused(why: &str) -> Refused {
    Refused::Text(format!(
        "ERR {why} Please note that when switching between policies at runtime LRU and LFU data will take some time to \
         adjust."
    ))
}

/// What Redis would hold a value as.
pub(super) fn encoding_of(value: Value<'_>) -> &'static str {
    match value {
        Value::Other(object) => object.encoding(),
        Value::Str(bytes) => encoding(bytes),
        Value::Large(bytes) => encoding(bytes),
    }
}

/// What Redis would call a string of these bytes that was SET: clients read more into it than they should.
fn encoding(bytes: &[u8]) -> &'static str {
    let number = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<i64>().ok());
    match number {
        Some(number) if number.to_string().as_bytes() == bytes => "int",
        _ if bytes.len() <= EMBEDDED_BYTES_MAX => "embstr",
        _ => "raw",
    }
}

/// Redis holds strings up to this beside their head.
const EMBEDDED_BYTES_MAX: usize = 44;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_those_of_redis() {
        let cases: [(&[u8], &str); 7] = [
            (b"12", "int"),
            (b"-9223372036854775808", "int"),
            (b"9223372036854775808", "embstr"),
            (b"012", "embstr"),
            (b"+1", "embstr"),
            (b"", "embstr"),
            (&[b'x'; 45], "raw"),
        ];
        for (bytes, wanted) in cases {
            assert_eq!(encoding(bytes), wanted, "{bytes:?}");
        }
    }
}
