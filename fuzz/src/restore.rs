//! RESTORE: a payload in Redis' format, which any client may send.

use base::rng::Rng;
use base::{Index, Stamp};
use data::command::dump::sealed;
use data::{Context, Keyspace, Refused, Reply, command};

/// An image holds much besides one value: it is made of some.
const IMAGED_ONE_IN: usize = 8;

/// Restored or refused; what is restored can be dumped, and what is dumped is restored to the same.
pub fn restore(input: &[u8]) {
    let mut first = keyspace();
    if !run(&mut first, &sealed(input.to_vec())) {
        return;
    }
    let payload = dumped(&first);
    let mut second = keyspace();
    assert!(run(&mut second, &payload), "what was dumped is restored");
    assert_eq!(dumped(&second), payload, "and dumped as before");
    if !payload.len().is_multiple_of(IMAGED_ONE_IN) {
        return;
    }
    let image = |keyspace: &mut Keyspace| {
        keyspace.begin_cut();
        while !keyspace.cut_slice(1 << 20) {}
        let mut body = Vec::new();
        while let Some((piece, _)) = keyspace.cut_output() {
            body.extend_from_slice(&piece);
        }
        body
    };
    let loaded = Keyspace::load(&image(&mut first)).expect("what is held can be loaded");
    assert_eq!(loaded.digest(), first.digest(), "and is the same");
}

fn keyspace() -> Keyspace {
    let mut keyspace = Keyspace::new((1, 2));
    keyspace.advance(Stamp(1000), Index(1));
    keyspace
}

fn run(keyspace: &mut Keyspace, payload: &[u8]) -> bool {
    let row = command::find(b"restore").expect("there is RESTORE");
    let command::Run::Write(run) = row.run else { unreachable!("it writes") };
    match run(keyspace, &Context::new(0, Stamp(1000)), &[b"restore", b"k", b"0", payload]) {
        Ok(reply) => {
            assert_eq!(reply, Reply::Ok);
            true
        }
        Err(refused) => {
            assert_eq!(refused, Refused::Text("ERR Bad data format".to_owned()));
            assert_eq!(keyspace.len(0), 0, "nothing was changed");
            false
        }
    }
}

fn dumped(keyspace: &Keyspace) -> Vec<u8> {
    let row = command::find(b"dump").expect("there is DUMP");
    let command::Run::Read(run) = row.run else { unreachable!("it reads") };
    match run(keyspace, &Context::new(0, Stamp(1000)), &[b"dump", b"k"]) {
        Ok(Reply::Bulk(payload)) => payload.as_bytes().to_vec(),
        other => panic!("a value is dumped, not {other:?}"),
    }
}

/// A payload of a type and an encoding of any age, without its footer.
pub fn valid_restore(rng: &mut Rng) -> Vec<u8> {
    let count = 1 + rng.below(6);
    let words: Vec<Vec<u8>> = (0..count).map(|at| format!("{at}{}", "w".repeat(small(rng, 20))).into_bytes()).collect();
    match rng.below(10) {
        0 => [vec![0], string(&words[0])].concat(),
        1 => [vec![0], packed(&words.concat())].concat(),
        kind @ (2 | 3) => {
            let body: Vec<u8> = words.iter().flat_map(|word| string(word)).collect();
            [vec![u8::try_from(kind).expect("small") - 1, words.len().to_le_bytes()[0]], body].concat()
        }
        4 => {
            let body: Vec<u8> = words.iter().flat_map(|word| [string(word), string(b"v")].concat()).collect();
            [vec![4, words.len().to_le_bytes()[0]], body].concat()
        }
        5 => [vec![10], string(&ziplist(&words))].concat(),
        6 => [vec![14, 2], packed(&ziplist(&words)), string(&ziplist(&words))].concat(),
        7 => [vec![9], string(&zipmap(&words))].concat(),
        8 => {
            let numbers: Vec<u8> =
                (0..count).flat_map(|n| u16::try_from(n * 7).expect("small").to_le_bytes()).collect();
            let head = [2, u32::try_from(count).expect("small")].map(u32::to_le_bytes).concat();
            [vec![11], string(&[head, numbers].concat())].concat()
        }
        _ => by_commands(rng),
    }
}

/// What DUMP makes of a sorted set or a stream.
fn by_commands(rng: &mut Rng) -> Vec<u8> {
    let mut keyspace = keyspace();
    let stream = [
        "xadd k * a 1 b two",
        "xadd k * a 3 b 4",
        "xadd k * c 5",
        "xgroup create k g 0",
        "xreadgroup group g c streams k >",
    ];
    let zset = ["zadd k 1 a 2.5 b -inf c", "zadd k 3 d"];
    let hash = ["hset k a 1 b 2 c 70000", "hset k d 5000000000"];
    let lines: &[&str] = [&stream[..], &zset[..], &hash[..]][small(rng, 3)];
    for (line, stamp) in lines.iter().zip(1001..) {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let command::Run::Write(run) = command::find(args[0]).expect("a command").run else {
            unreachable!("it writes")
        };
        run(&mut keyspace, &Context::new(0, Stamp(stamp)), &args).expect("the line makes sense");
    }
    let mut payload = dumped(&keyspace);
    payload.truncate(payload.len() - 10);
    payload
}

fn small(rng: &mut Rng, end: u64) -> usize {
    usize::try_from(rng.below(end)).expect("small")
}

/// A string behind its length, which is below 16,384.
fn string(bytes: &[u8]) -> Vec<u8> {
    let [low, high, ..] = bytes.len().to_le_bytes();
    [&[0x40 | high, low], bytes].concat()
}

/// The same, as LZF spells it that has found nothing.
fn packed(bytes: &[u8]) -> Vec<u8> {
    let packed: Vec<u8> =
        bytes.chunks(32).flat_map(|chunk| [&[(chunk.len() - 1).to_le_bytes()[0]], chunk].concat()).collect();
    let len = |len: usize| [0x40 | len.to_le_bytes()[1], len.to_le_bytes()[0]];
    [&[0xc3][..], &len(packed.len()), &len(bytes.len()), &packed].concat()
}

fn ziplist(words: &[Vec<u8>]) -> Vec<u8> {
    let (mut body, mut before, mut last) = (Vec::new(), 0, 10);
    for word in words {
        last = 10 + body.len();
        let head = [before, word.len().to_le_bytes()[0]];
        body.extend_from_slice(&[&head, &word[..]].concat());
        before = (word.len() + 2).to_le_bytes()[0];
    }
    let four = |n: usize| u32::try_from(n).expect("small").to_le_bytes();
    let count = u16::try_from(words.len()).expect("small").to_le_bytes();
    [&four(body.len() + 11)[..], &four(last), &count, &body, &[0xff]].concat()
}

fn zipmap(words: &[Vec<u8>]) -> Vec<u8> {
    let pair = |word: &Vec<u8>| [&[word.len().to_le_bytes()[0]], &word[..], &[1, 0], b"v"].concat();
    let body: Vec<u8> = words.iter().flat_map(pair).collect();
    [&[words.len().to_le_bytes()[0]][..], &body, &[0xff]].concat()
}
