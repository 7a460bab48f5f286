//! Payloads that a Redis 7.0 made, by their bytes, and what must have come of them.

use super::*;
use crate::command::find;
use base::Index;

/// A payload in hexadecimal, a command that reads what it holds, and the reply as it is shown.
const MADE_BY_REDIS: &[(&str, &str, &str)] = &[
    ("000568656c6c6f0a006372df766534200a", "get k", "hello"),
    ("00c1c7cf0a0067eda236b4db26d0", "get k", "-12345"),
    ("00c3093e016161e031000161610a00ec4942d6b3275f7c", "strlen k", "62"),
    ("120102161600000004008161020101f2701101048362636404ff0a00b30fd62ef730cc72", "lrange k 0 -1", "[a 1 70000 bcd]"),
    ("0b14040000000300000090eefeff01000000020000000a005d9df7da2f43d06b", "smembers k", "[-70000 1 2]"),
    ("02030161016301620a000d7e8a014cfe326c", "smembers k", "[a c b]"),
    ("10121200000004008166028176028167020c01ff0a00de133993f783817e", "hgetall k", "[f v g 12]"),
    (
        "111d1d0000000600816302842d696e6605816102010181620283322e3504ff0a003992339be11f323d",
        "zrange k 0 -1 withscores",
        "[c -inf a 1 b 2.5]",
    ),
    (STREAM, "xrange k - +", "[[1-1 [a 1 b two]] [2-1 [c 3]]]"),
    (STREAM, "xpending k g", "[1 1-1 1-1 [[me 1]]]"),
];
const STREAM: &str = "13011000000000000000010000000000000001333300000013000201000102018161028162020001020100\
    01000101018374776f040501000101010001010181630203010601ff020201010100000201016701010101000000000000000100000000000000\
    01897fddfea10100000101026d65897fddfea101000001000000000000000100000000000000010a00dc74fb0ea45489d5";

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<u8> = hexadecimal.bytes().filter(u8::is_ascii_hexdigit).collect();
    let two = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("two digits");
    digits.chunks(2).map(two).collect()
}

fn keyspace() -> Keyspace {
    let mut keyspace = Keyspace::new((1, 2));
    keyspace.advance(Stamp(1000), Index(1));
    keyspace
}

fn run(keyspace: &mut Keyspace, args: &[&[u8]]) -> Outcome {
    let cx = Context::new(0, Stamp(1000));
    match find(args[0]).expect("a command").run {
        Run::Read(run) => run(keyspace, &cx, args),
        Run::Write(run) => run(keyspace, &cx, args),
        _ => unreachable!("a shard's own commands are asked"),
    }
}

fn restored(payload: &[u8]) -> Result<Keyspace, Refused> {
    let mut keyspace = keyspace();
    run(&mut keyspace, &[b"restore", b"k", b"0", payload]).map(|_| keyspace)
}

fn dumped(keyspace: &mut Keyspace) -> Vec<u8> {
    match run(keyspace, &[b"dump", b"k"]) {
        Ok(Reply::Bulk(payload)) => payload.as_bytes().to_vec(),
        other => panic!("a value is dumped, not {other:?}"),
    }
}

fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Int(n) => n.to_string(),
        Reply::Bulk(blob) => String::from_utf8_lossy(blob.as_bytes()).into_owned(),
        Reply::Double(n) => n.to_string(),
        Reply::Array(items) | Reply::Set(items) => {
            format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" "))
        }
        Reply::Strings(strings) => {
            format!("[{}]", strings.iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(" "))
        }
        Reply::Map(pairs) | Reply::Couples(pairs) | Reply::Pairs(pairs) => {
            let both = |(key, value): &(Reply, Reply)| format!("{} {}", shown(key), shown(value));
            format!("[{}]", pairs.iter().map(both).collect::<Vec<_>>().join(" "))
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn what_redis_dumped_is_restored_and_dumped_again() {
    for (payload, command, wanted) in MADE_BY_REDIS {
        let mut first = restored(&bytes(payload)).expect("Redis made it");
        let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        let reply = run(&mut first, &words).expect("the command fits the type");
        assert_eq!(shown(&reply), *wanted, "{command}");
        let ours = dumped(&mut first);
        let mut second = restored(&ours).expect("what was dumped is restored");
        assert_eq!(run(&mut second, &words).as_ref(), Ok(&reply));
        assert_eq!(dumped(&mut second), ours);
    }
}

#[test]
fn damage_is_told_by_the_checksum_and_behind_it_by_the_data() {
    let wrong = Refused::Text("ERR DUMP payload version or checksum are wrong".to_owned());
    let bad = Refused::Text("ERR Bad data format".to_owned());
    for (payload, ..) in MADE_BY_REDIS {
        let payload = bytes(payload);
        for at in 0..payload.len() {
            let mut damaged = payload.clone();
            damaged[at] ^= 0x10;
            assert_eq!(restored(&damaged).err(), Some(wrong.clone()));
            assert_eq!(restored(&payload[..at]).err(), Some(wrong.clone()));
        }
        let body = &payload[..payload.len() - FOOTER_BYTES];
        for at in 0..body.len() {
            assert_eq!(restored(&sealed(body[..at].to_vec())).err(), Some(bad.clone()), "cut at {at}");
            for bit in 0..8 {
                let mut damaged = body.to_vec();
                damaged[at] ^= 1 << bit;
                // Another value may come of it, or none; what comes of it can be dumped.
                if let Ok(mut keyspace) = restored(&sealed(damaged)) {
                    dumped(&mut keyspace);
                }
            }
        }
    }
}

#[test]
fn a_value_that_could_not_be_is_refused() {
    let not_a_number = [&[5, 1, 1, b'a'][..], &f64::NAN.to_le_bytes()].concat();
    for (payload, why) in [
        (&[4, 2, 1, b'a', 1, b'b', 1, b'a', 1, b'c'][..], "a field twice"),
        (&[2, 2, 1, b'a', 1, b'a'], "a member twice"),
        (&[1, 0], "a list of nothing"),
        (&[5, 0], "a sorted set of nothing"),
        (&not_a_number, "a score that is no number"),
        (&[1, 0x80, 0xff, 0xff, 0xff, 0xff, 1, b'a'], "fewer members than promised"),
        (&[0xb, 12, 2, 0, 0, 0, 2, 0, 0, 0, 5, 0, 4, 0], "integers out of order"),
        (&[0xb, 8, 2, 0, 0, 0, 0, 0, 0, 0], "no integers"),
        (&[7, 1], "a module's type"),
        (&[20, 1], "a type of a newer version"),
        (&[], "nothing"),
    ] {
        let refused = restored(&sealed(payload.to_vec())).err().map(|refused| refused.to_string());
        assert_eq!(refused.as_deref(), Some("ERR Bad data format"), "{why}");
    }
}

#[test]
fn options_are_checked_in_order_and_times_that_have_passed_leave_nothing() {
    let payload = sealed(vec![0, 1, b'v']);
    let mut keyspace = keyspace();
    let mut restore = |ttl: &str, payload: &[u8], options: &str| {
        let mut args: Vec<&[u8]> = vec![b"restore", b"k", ttl.as_bytes(), payload];
        args.extend(options.split_whitespace().map(str::as_bytes));
        let outcome =
            run(&mut keyspace, &args).map(|reply| shown(&reply)).unwrap_or_else(|refused| refused.to_string());
        let left = run(&mut keyspace, &[b"pttl", b"k"]).map(|reply| shown(&reply)).unwrap_or_default();
        (outcome, left)
    };
    let mut is = |ttl: &str, options: &str, outcome: &str, left: &str| {
        assert_eq!(restore(ttl, &payload, options), (outcome.to_owned(), left.to_owned()), "{ttl} {options}");
    };
    is("-1", "", "ERR Invalid TTL value, must be >= 0", "-2");
    is("x", "FREQ 256", "ERR Invalid FREQ value, must be >= 0 and <= 255", "-2");
    is("0", "IDLETIME -1", "ERR Invalid IDLETIME value, must be >= 0", "-2");
    is("0", "IDLETIME 1 FREQ 1", "ERR syntax error", "-2");
    is("0", "AGAIN", "ERR syntax error", "-2");
    is("9223372036854775807", "", "Ok", "-2");
    is("100", "IDLETIME 1", "Ok", "100");
    is("x", "", "BUSYKEY Target key name already exists.", "100");
    is("0", "REPLACE FREQ 5", "Ok", "-1");
    is("1500", "REPLACE ABSTTL", "Ok", "500");
    is("900", "replace absttl", "Ok", "-2");
}
