//! Commands that wait: what they take where there is something, and for what a call waits where there is nothing.
//!
//! The functions here never wait. In a transaction, in a script and where a key has something they are all there is; a nil
//! reply of a call that has a [`Wish`] means "nothing yet". Who waits, and who is served when, is the business of
//! [`crate::waits`]. A new command that waits is a row here, whatever it waits for.

use super::fill;
use super::lists::{MPop, end, move_one, mpop, popped_from};
use super::zsets::pop as zsets;
use super::{Command, ID_MAX, Keys, Outcome, Run, float, prefix, streams};
use crate::value::End;
use crate::{Context, Keyspace, Refused, Reply};
use smallvec::{SmallVec, smallvec};
use zsets::Extreme;

/// The rows of this family; ids 820 to 839.
pub static COMMANDS: &[Command] = &[
    row("blpop", 820, -3, "write noscript blocking", Keys::ALL_BUT_LAST, Run::Write(blpop), "list", "2.0.0"),
    row("brpop", 821, -3, "write noscript blocking", Keys::ALL_BUT_LAST, Run::Write(brpop), "list", "2.0.0"),
    row("blmove", 822, 6, "write denyoom noscript blocking", Keys::TWO, Run::Write(blmove), "list", "6.2.0"),
    row("brpoplpush", 823, 4, "write denyoom noscript blocking", Keys::TWO, Run::Write(brpoplpush), "list", "2.2.0"),
    row("blmpop", 824, -5, "write blocking movablekeys", COUNTED, Run::Write(blmpop), "list", "7.0.0"),
    row("bzpopmin", 825, -3, "write noscript fast blocking", Keys::ALL_BUT_LAST, Run::Write(bzpopmin), ZSET, "5.0.0"),
    row("bzpopmax", 826, -3, "write noscript fast blocking", Keys::ALL_BUT_LAST, Run::Write(bzpopmax), ZSET, "5.0.0"),
    row("bzmpop", 827, -5, "write blocking movablekeys", COUNTED, Run::Write(bzmpop), ZSET, "7.0.0"),
    // It never waits: what it waits for in Redis is so whenever a reply leaves here.
    Command {
        name: "wait",
        id: 828,
        arity: 3,
        flags: "noscript",
        keys: Keys::NONE,
        run: Run::Node,
        summary: "Returns how many other nodes have the earlier writes of the connection on disk, at least.",
        group: "generic",
        since: "3.0.0",
    },
];

const ZSET: &str = "sorted-set";
const COUNTED: Keys = Keys::Counted { at: 2, destination: false };

#[expect(clippy::too_many_arguments, reason = "a row of the table")]
const fn row(
    name: &'static str,
    id: u16,
    arity: i16,
    flags: &'static str,
    keys: Keys,
    run: Run,
    group: &'static str,
    since: &'static str,
) -> Command {
    let summary = "Takes what is there from the first of some keys, or waits until something is.";
    Command { name, id, arity, flags, keys, run, summary, group, since }
}

/// How a command waits.
#[derive(Debug)]
pub struct Blocking {
    id: u16,
    /// What a call waits for; nothing if it doesn't want to wait, or will be refused when it runs.
    wish: for<'a> fn(&[&'a [u8]]) -> Option<Wish<'a>>,
    /// Which of the keys it waits at.
    waited: Waited,
    /// The same call for one of the keys alone: those who wait are served at the key that has become ready.
    narrow: for<'a> fn(&[&'a [u8]], &'a [u8]) -> Args<'a>,
    /// Replaces what means "from now on" by what that is at this moment.
    settle: Option<Settle>,
}

/// What a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish<'a> {
    /// How long; without end if nothing.
    pub timeout_ms: Option<u64>,
    pub kind: Kind,
    /// The consumer group; empty for other kinds.
    pub group: &'a [u8],
}

/// What must stand at a key so that those who wait there can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    List,
    Zset,
    /// A stream, which is read and not changed: each who waits is served for itself.
    Stream,
    /// A stream with a consumer group: what one gets the others don't.
    Group,
    /// Anything: a value, or the task to bring one.
    Fill,
}

/// The arguments of a call.
pub type Args<'a> = SmallVec<[&'a [u8]; 8]>;

type Settle = fn(&[&[u8]], &Keyspace, &Context) -> Vec<Vec<u8>>;

#[derive(Clone, Copy, Debug)]
enum Waited {
    All,
    /// Where something is taken; the other key is where it goes.
    First,
}

static ALL: &[Blocking] = &[
    Blocking { id: 820, wish: list_with_timeout_last, waited: Waited::All, narrow: one_key, settle: None },
    Blocking { id: 821, wish: list_with_timeout_last, waited: Waited::All, narrow: one_key, settle: None },
    Blocking { id: 822, wish: list_with_timeout_last, waited: Waited::First, narrow: as_it_is, settle: None },
    Blocking { id: 823, wish: list_with_timeout_last, waited: Waited::First, narrow: as_it_is, settle: None },
    Blocking { id: 824, wish: list_with_timeout_first, waited: Waited::All, narrow: one_counted, settle: None },
    Blocking { id: 825, wish: zset_with_timeout_last, waited: Waited::All, narrow: one_key, settle: None },
    Blocking { id: 826, wish: zset_with_timeout_last, waited: Waited::All, narrow: one_key, settle: None },
    Blocking { id: 827, wish: zset_with_timeout_first, waited: Waited::All, narrow: one_counted, settle: None },
    Blocking { id: fill::GETFILL_ID, wish: filled, waited: Waited::All, narrow: as_it_is, settle: None },
    Blocking { id: 667, wish: stream, waited: Waited::All, narrow: one_stream, settle: Some(from_now_on) },
    Blocking { id: 669, wish: group, waited: Waited::All, narrow: one_stream, settle: Some(from_now_on) },
];

static BY_ID: [Option<&'static Blocking>; ID_MAX] = by_id();

const fn by_id() -> [Option<&'static Blocking>; ID_MAX] {
    let mut index: [Option<&'static Blocking>; ID_MAX] = [None; ID_MAX];
    let mut at = 0;
    while at < ALL.len() {
        index[ALL[at].id as usize] = Some(&ALL[at]);
        at += 1;
    }
    index
}

/// How a command waits, if it ever does.
#[must_use]
pub fn of(command: &Command) -> Option<&'static Blocking> {
    BY_ID[usize::from(command.id)]
}

/// True if some calls of a command may wait.
#[must_use]
pub fn may_wait(command: &Command) -> bool {
    of(command).is_some() || matches!(command.run, Run::Prefix(_))
}

/// What a call waits for if there is nothing yet, seen through its prefixes; nothing for a call that never waits.
#[must_use]
pub fn wish<'a>(command: &Command, args: &[&'a [u8]]) -> Option<Wish<'a>> {
    match command.run {
        Run::Prefix(_) => {
            let call = prefix::parse(args).ok()?;
            of(call.command)?.wish(&args[call.at..])
        }
        _ => of(command)?.wish(args),
    }
}

impl Blocking {
    /// What a call of the command waits for if there is nothing yet; nothing if it doesn't want to wait.
    #[must_use]
    pub fn wish<'a>(&self, args: &[&'a [u8]]) -> Option<Wish<'a>> {
        (self.wish)(args)
    }

    /// The keys at which a call waits.
    pub fn keys<'a>(&self, command: &Command, args: &[&'a [u8]]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let most = match self.waited {
            Waited::All => usize::MAX,
            Waited::First => 1,
        };
        let keys: SmallVec<[&'a [u8]; 4]> = command.keys.positions(args).map(|at| args[at]).take(most).collect();
        keys.into_iter()
    }

    /// The same call for the key `key` alone.
    #[must_use]
    pub fn narrowed<'a>(&self, args: &[&'a [u8]], key: &'a [u8]) -> Args<'a> {
        (self.narrow)(args, key)
    }

    /// True if something in a call may mean "from now on".
    #[must_use]
    pub fn settles(&self) -> bool {
        self.settle.is_some()
    }

    /// The arguments of a call that begins to wait, if something in them means "from now on": to be run again later.
    #[must_use]
    pub fn settled(&self, args: &[&[u8]], keyspace: &Keyspace, cx: &Context) -> Option<Vec<Vec<u8>>> {
        self.settle.map(|settle| settle(args, keyspace, cx))
    }
}

/// A time to wait in seconds, as milliseconds; nothing is without end.
pub(super) fn timeout(text: &[u8]) -> Result<Option<u64>, Refused> {
    let refused = |why: &str| Refused::Text(format!("ERR timeout is {why}"));
    let bad = || refused("not a float or out of range");
    let seconds = float::float(text).or_else(|_| out_of_range(text).ok_or_else(bad))?;
    let ms = (seconds * 1000.0).ceil();
    // As Redis has it, what no 64-bit integer holds counts as negative.
    if !(0.0..MS_END).contains(&ms) {
        return Err(refused("negative"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it lies between 0 and 2^63")]
    let ms = ms as u64;
    Ok(Some(ms).filter(|ms| *ms > 0))
}

/// What is a number, but none that a float is near: infinite, or next to nothing.
fn out_of_range(text: &[u8]) -> Option<f64> {
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0 || *byte == 0x0b;
    let value = float::c_float(text).filter(|_| !text.is_empty() && !text.iter().any(blank))?;
    Some(if value == 0.0 { f64::MIN_POSITIVE } else { value })
}

/// 2^63.
const MS_END: f64 = 9_223_372_036_854_775_808.0;

fn list_with_timeout_last<'a>(args: &[&'a [u8]]) -> Option<Wish<'a>> {
    with_timeout(args.last()?, Kind::List)
}

fn zset_with_timeout_last<'a>(args: &[&'a [u8]]) -> Option<Wish<'a>> {
    with_timeout(args.last()?, Kind::Zset)
}

fn list_with_timeout_first<'a>(args: &[&'a [u8]]) -> Option<Wish<'a>> {
    with_timeout(args.get(1)?, Kind::List)
}

fn zset_with_timeout_first<'a>(args: &[&'a [u8]]) -> Option<Wish<'a>> {
    with_timeout(args.get(1)?, Kind::Zset)
}

fn stream<'a>(args: &[&'a [u8]]) -> Option<Wish<'a>> {
    Some(Wish { timeout_ms: Some(streams::wait_ms(args)?).filter(|ms| *ms > 0), kind: Kind::Stream, group: b"" })
}

fn group<'a>(args: &[&'a [u8]]) -> Option<Wish<'a>> {
    Some(Wish { kind: Kind::Group, group: streams::group_of(args)?, ..stream(args)? })
}

fn filled<'a>(args: &[&'a [u8]]) -> Option<Wish<'a>> {
    Some(Wish { timeout_ms: Some(fill::wait_ms(args)?), kind: Kind::Fill, group: b"" })
}

fn with_timeout<'a>(text: &[u8], kind: Kind) -> Option<Wish<'a>> {
    Some(Wish { timeout_ms: timeout(text).ok()?, kind, group: b"" })
}

fn one_key<'a>(args: &[&'a [u8]], key: &'a [u8]) -> Args<'a> {
    smallvec![args[0], key, args[args.len() - 1]]
}

fn as_it_is<'a>(args: &[&'a [u8]], _: &'a [u8]) -> Args<'a> {
    args.into()
}

/// `name timeout numkeys key [key ..] rest`.
fn one_counted<'a>(args: &[&'a [u8]], key: &'a [u8]) -> Args<'a> {
    let rest = COUNTED.positions(args).last().map_or(args.len(), |last| last + 1);
    let mut narrowed: Args<'a> = smallvec![args[0], args[1], b"1".as_slice(), key];
    narrowed.extend_from_slice(&args[rest..]);
    narrowed
}

fn one_stream<'a>(args: &[&'a [u8]], key: &'a [u8]) -> Args<'a> {
    streams::narrowed(args, key)
}

fn from_now_on(args: &[&[u8]], keyspace: &Keyspace, cx: &Context) -> Vec<Vec<u8>> {
    streams::with_ids_resolved(args, keyspace, cx)
}

fn blpop(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    pop_first(keyspace, cx, args, End::Head)
}

fn brpop(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    pop_first(keyspace, cx, args, End::Tail)
}

fn pop_first(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]], end: End) -> Outcome {
    let (last, keys) = args[1..].split_last().expect("the arity was checked");
    timeout(last)?;
    let taken = mpop(keyspace, cx, keys, end, 1)?;
    let one = taken.and_then(|(at, taken)| Some((at, taken.into_iter().next()?)));
    Ok(one.map_or(Reply::NilArray, |(at, member)| Reply::Array(vec![Reply::bulk(keys[at]), Reply::Bulk(member)])))
}

fn blmove(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let (out, into) = (end(args[3])?, end(args[4])?);
    timeout(args[5])?;
    Ok(move_one(keyspace, cx, (args[1], out), (args[2], into))?.map_or(Reply::Nil, Reply::Bulk))
}

fn brpoplpush(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    timeout(args[3])?;
    Ok(move_one(keyspace, cx, (args[1], End::Tail), (args[2], End::Head))?.map_or(Reply::Nil, Reply::Bulk))
}

fn blmpop(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let MPop { keys, end, count } = MPop::parse(&args[2..])?;
    timeout(args[1])?;
    Ok(mpop(keyspace, cx, keys, end, count)?.map_or(Reply::NilArray, |(at, taken)| popped_from(keys[at], taken)))
}

fn bzpopmin(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    zpop_first(keyspace, cx, args, Extreme::Min)
}

fn bzpopmax(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    zpop_first(keyspace, cx, args, Extreme::Max)
}

fn zpop_first(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]], from: Extreme) -> Outcome {
    let (last, keys) = args[1..].split_last().expect("the arity was checked");
    timeout(last)?;
    for key in keys {
        if let Some((member, score)) = zsets::pop(keyspace, cx, key, from, 1)?.into_iter().next() {
            return Ok(Reply::Array(vec![Reply::bulk(key), member, score]));
        }
    }
    Ok(Reply::NilArray)
}

fn bzmpop(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let asked = zsets::Mpop::read(&args[2..])?;
    timeout(args[1])?;
    Ok(zsets::mpop(keyspace, cx, asked)?.map_or(Reply::NilArray, |(key, popped)| zsets::nested(key, popped)))
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::*;

    fn words(text: &str) -> Vec<&[u8]> {
        text.split(' ').map(str::as_bytes).collect()
    }

    #[test]
    fn every_command_that_blocks_is_a_row_and_has_a_wish() {
        for command in super::super::all().filter(|row| row.flags.contains("blocking")) {
            assert!(of(command).is_some(), "{}", command.name);
        }
        for blocking in ALL {
            let command = super::super::by_id(u64::from(blocking.id)).expect("it names a row");
            assert!(command.flags.contains("blocking"), "{}", command.name);
        }
    }

    #[test]
    fn timeouts_are_seconds_and_refused_as_redis_does() {
        for (text, ms) in
            [("0", None), ("1", Some(1000)), ("0.1", Some(100)), ("0.0000001", Some(1)), ("0x1", Some(1000))]
        {
            assert_eq!(timeout(text.as_bytes()), Ok(ms), "{text}");
        }
        for text in ["", "x", " 1", "1 ", "nan", "1\0"] {
            let told = timeout(text.as_bytes()).expect_err(text).to_string();
            assert_eq!(told, "ERR timeout is not a float or out of range", "{text}");
        }
        for text in ["-1", "inf", "1e400", "-inf", "9223372036854776"] {
            assert_eq!(timeout(text.as_bytes()).expect_err(text).to_string(), "ERR timeout is negative", "{text}");
        }
        assert_eq!(timeout(b"1e-400"), Ok(Some(1)), "next to nothing is not nothing");
    }

    #[test]
    fn a_call_says_where_and_how_long_it_waits() {
        let told = |text: &str| {
            let args = words(text);
            let command = find(args[0]).expect("it exists");
            let wish = wish(command, &args)?;
            let (command, at) = prefix::parse(&args).map_or((command, 0), |call| (call.command, call.at));
            let keys = of(command).expect("it waits").keys(command, &args[at..]);
            Some((wish.timeout_ms, wish.kind, keys.map(|key| String::from_utf8_lossy(key).into_owned()).collect()))
        };
        let keys =
            |text: &str| words(text).iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect::<Vec<_>>();
        assert_eq!(told("blpop a b 2"), Some((Some(2000), Kind::List, keys("a b"))));
        assert_eq!(told("BLMOVE a b LEFT LEFT 0"), Some((None, Kind::List, keys("a"))));
        assert_eq!(told("brpoplpush a b 1"), Some((Some(1000), Kind::List, keys("a"))));
        assert_eq!(told("blmpop 0 2 a b LEFT COUNT 3"), Some((None, Kind::List, keys("a b"))));
        assert_eq!(told("bzpopmax a 0.5"), Some((Some(500), Kind::Zset, keys("a"))));
        assert_eq!(told("bzmpop 2 2 a b max"), Some((Some(2000), Kind::Zset, keys("a b"))));
        assert_eq!(told("xread block 5 streams a b 0 $"), Some((Some(5), Kind::Stream, keys("a b"))));
        assert_eq!(told("xreadgroup group g c block 0 streams a >"), Some((None, Kind::Group, keys("a"))));
        assert_eq!(told("xread streams a 0"), None, "it doesn't want to wait");
        assert_eq!(told("once c:1 blpop a 2"), Some((Some(2000), Kind::List, keys("a"))));
        assert_eq!(told("blpop a x"), None, "it will be refused");
        assert_eq!(told("lpop a"), None);
    }

    #[test]
    fn a_call_is_narrowed_to_the_key_that_is_ready() {
        let narrowed = |text: &str, key: &'static str| {
            let args = words(text);
            let blocking = of(find(args[0]).expect("it exists")).expect("it waits");
            let narrowed = blocking.narrowed(&args, key.as_bytes());
            narrowed.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(narrowed("BLPOP a b c 2", "b"), "BLPOP b 2");
        assert_eq!(narrowed("BLMPOP 0 3 a b c LEFT COUNT 3", "c"), "BLMPOP 0 1 c LEFT COUNT 3");
        assert_eq!(narrowed("BZMPOP 0 2 a b MIN", "a"), "BZMPOP 0 1 a MIN");
        assert_eq!(narrowed("XREAD BLOCK 0 STREAMS a b 1 2", "b"), "XREAD BLOCK 0 STREAMS b 2");
        assert_eq!(narrowed("BLMOVE a b LEFT RIGHT 0", "a"), "BLMOVE a b LEFT RIGHT 0");
    }
}
