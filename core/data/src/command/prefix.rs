//! Words that stand before a command and say under which conditions it runs: ONCE and FENCE, in any spelling and order.
//!
//! A prefix is a row of the table, so that it is found like any command and costs the others nothing. [`parse`] takes all
//! prefixes of a call off and checks what follows. Whatever their order in the call, a shard looks at the id first, then
//! at fences, then at what was watched, and runs the command last.

use super::scripts::Access;
use super::{Command, Keys, Run, Scatter, containers, find, pubsub};
use crate::Refused;
use crate::fence::{self, Fence, Fences};
use crate::once::Id;

/// The rows of this family; ids 350 to 359.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "once",
        id: 350,
        arity: -3,
        flags: "write movablekeys",
        keys: Keys::NONE,
        run: Run::Prefix(Prefix::Once),
        summary: "Makes a command take effect once, however often it is sent.",
        group: "generic",
        since: "7.0.0",
    },
    Command {
        name: "fence",
        id: 351,
        arity: -4,
        flags: "write movablekeys",
        keys: Keys::NONE,
        run: Run::Prefix(Prefix::Fence),
        summary: "Runs a command unless its lock has had another holder since.",
        group: "generic",
        since: "7.0.0",
    },
    Command {
        name: "fence.set",
        id: 352,
        arity: 3,
        flags: "noscript loading stale fast",
        keys: Keys::NONE,
        run: Run::Session,
        summary: "Puts all later commands of the connection under a lock's fence.",
        group: "connection",
        since: "7.0.0",
    },
    Command {
        name: "fence.clear",
        id: 353,
        arity: -1,
        flags: "noscript loading stale fast",
        keys: Keys::NONE,
        run: Run::Session,
        summary: "Takes the connection's fences away, or that of one lock; tells how many.",
        group: "connection",
        since: "7.0.0",
    },
    Command {
        name: "fence.reset",
        id: 354,
        arity: -2,
        flags: "admin write noscript",
        keys: Keys::NONE,
        run: Run::Scatter(Scatter::FenceReset),
        summary: "Sets what all shards take for the last fence of a lock, to 0 or to a number.",
        group: "server",
        since: "7.0.0",
    },
    Command {
        name: "fence.info",
        id: 355,
        arity: 2,
        flags: "readonly noscript",
        keys: Keys::NONE,
        run: Run::Scatter(Scatter::FenceInfo),
        summary: "Tells the last fence of a lock that each shard has seen.",
        group: "server",
        since: "7.0.0",
    },
];

/// The row of FENCE, for those who put a command under the fences of its connection.
#[must_use]
pub fn fence_row() -> &'static Command {
    find(b"fence").expect("it is a row above")
}

/// What a prefix says of the command behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// `ONCE <client>:<seq>`: the outcome is kept under this id.
    Once,
    /// `FENCE <lock> <fence>`: it is refused where a larger fence of that lock was seen.
    Fence,
}

/// A call without its prefixes.
#[derive(Clone, Debug)]
pub struct Prefixed<'a> {
    pub once: Option<Id<'a>>,
    pub fences: Fences<'a>,
    /// The command behind all prefixes: one with keys, or EXEC.
    pub command: &'static Command,
    /// Where its name stands among the arguments of the call.
    pub at: usize,
}

impl Prefixed<'_> {
    /// True if it covers the transaction that MULTI began.
    #[must_use]
    pub fn is_exec(&self) -> bool {
        self.command.name == "exec"
    }

    /// True if it may change keys.
    #[must_use]
    pub fn changes_keys(&self) -> bool {
        self.command.is_write() || self.is_exec()
    }
}

/// Takes the prefixes off a call; `args` with the name of the first.
pub fn parse<'a>(args: &[&'a [u8]]) -> Result<Prefixed<'a>, Refused> {
    let (mut once, mut fences, mut at) = (None, Fences::new(), 0);
    let mut last = "once";
    let command = loop {
        let Some(name) = args.get(at) else { return Err(Refused::Arity(last.to_owned())) };
        let command = find(name).ok_or_else(|| unknown(last, name))?;
        match command.run {
            Run::Prefix(Prefix::Once) if once.is_some() => return Err(text(TWICE)),
            Run::Prefix(Prefix::Once) => {
                once = Some(Id::parse(args.get(at + 1).copied().unwrap_or_default())?);
                at += 2;
            }
            Run::Prefix(Prefix::Fence) => {
                let [_, lock, number, ..] = args[at..] else { return Err(Refused::Arity("fence".to_owned())) };
                fence::add(&mut fences, Fence::parse(lock, number)?)?;
                at += 3;
            }
            _ => break command,
        }
        last = command.name;
    };
    if !command.accepts(args.len() - at) {
        return Err(Refused::Arity(command.name.to_owned()));
    }
    containers::check(command, &args[at..])?;
    if once.is_some() {
        may_follow_once(command)?;
    }
    if !fences.is_empty() {
        may_follow_fence(command)?;
    }
    Ok(Prefixed { once, fences, command, at })
}

/// The command of a call, behind its prefixes.
#[must_use]
pub fn behind(command: &'static Command, args: &[&[u8]]) -> &'static Command {
    match command.run {
        Run::Prefix(_) => parse(args).map_or(command, |call| call.command),
        _ => command,
    }
}

/// True if a call may change keys, seen through its prefixes.
#[must_use]
pub fn changes_keys(command: &Command, args: &[&[u8]]) -> bool {
    match command.run {
        Run::Prefix(_) => parse(args).is_ok_and(|call| call.changes_keys()),
        _ => command.is_write(),
    }
}

/// True if a call may be sent twice and does no more than once: it changes no key, or has an id.
#[must_use]
pub fn may_be_sent_again(command: &Command, args: &[&[u8]]) -> bool {
    match command.run {
        Run::Prefix(_) => parse(args).is_ok_and(|call| call.once.is_some() || !call.changes_keys()),
        _ => !command.is_write(),
    }
}

/// True if a call is meant to end a transaction, whatever is wrong with it.
#[must_use]
pub fn ends_transaction(args: &[&[u8]]) -> bool {
    let mut at = 0;
    while let Some(row) = args.get(at).and_then(|word| find(word)) {
        at += match row.run {
            Run::Prefix(Prefix::Once) => 2,
            Run::Prefix(Prefix::Fence) => 3,
            _ => return row.name == "exec" && at + 1 == args.len(),
        };
    }
    false
}

/// The positions of the keys of a call, seen through its prefixes; none if the call makes no sense.
pub fn key_positions(command: &Command, args: &[&[u8]]) -> impl Iterator<Item = usize> + use<> {
    let behind = match command.run {
        Run::Prefix(_) => parse(args).ok().map(|call| (call.command.keys, call.at)),
        // Shard channels go where keys of their names would, and are none.
        _ if command.group == pubsub::GROUP => None,
        _ => Some((command.keys, 0)),
    };
    let found = behind.map(|(keys, at)| keys.positions(&args[at..]).map(move |key| key + at));
    found.into_iter().flatten()
}

/// A read changes nothing that could happen twice, and its recorded reply would be an old one, so it is refused rather than
/// run as if it had no id.
fn may_follow_once(command: &Command) -> Result<(), Refused> {
    let name = command.name;
    match command.run {
        Run::Write(_) if !command.keys.is_none() => Ok(()),
        Run::Script(script) if script.access == Access::Any => Ok(()),
        Run::Session if name == "exec" => Ok(()),
        Run::Read(_) | Run::Script(_) => Err(Refused::Text(format!(
            "ERR ONCE is for commands that change keys; '{name}' does not: send it without ONCE"
        ))),
        Run::Write(_) | Run::Scatter(_) => Err(Refused::Text(format!(
            "ERR ONCE needs a command with a key, whose shard keeps the outcome; '{name}' has none: send it without ONCE"
        ))),
        Run::Session | Run::Node | Run::Everywhere | Run::Lock | Run::Prefix(_) => Err(Refused::Text(format!(
            "ERR ONCE can't stand before '{name}': it takes commands that change keys, and EXEC"
        ))),
    }
}

/// What has keys can be judged in their shard. WATCH is left out: what it saw is looked at by EXEC, which may stand under a fence.
fn may_follow_fence(command: &Command) -> Result<(), Refused> {
    let name = command.name;
    match command.run {
        Run::Read(_) if name == "watch" => Err(text("ERR FENCE can't stand before 'watch': put it before EXEC")),
        Run::Read(_) | Run::Write(_) if !command.keys.is_none() => Ok(()),
        Run::Script(_) => Ok(()),
        Run::Session if name == "exec" => Ok(()),
        _ => Err(Refused::Text(format!(
            "ERR FENCE needs a command with a key, whose shard knows the lock's last fence; '{name}' has none: send it without FENCE"
        ))),
    }
}

fn unknown(prefix: &str, name: &[u8]) -> Refused {
    let name = String::from_utf8_lossy(&name[..name.len().min(128)]).into_owned();
    let (prefix, words) = match prefix {
        "fence" => ("FENCE", "<lock> <fence>"),
        _ => ("ONCE", "<client>:<seq>"),
    };
    Refused::Text(format!(
        "ERR unknown command '{name}' behind {prefix}; the spelling is {prefix} {words} <command ..>"
    ))
}

fn text(text: &str) -> Refused {
    Refused::Text(text.to_owned())
}

const TWICE: &str = "ERR ONCE stands twice before one command: give it one id";

#[cfg(test)]
mod tests {
    use super::*;

    /// Its fences, whether it has an id, the command and where it stands.
    type Seen = (Vec<(String, u64)>, bool, &'static str, usize);

    fn fenced(words: &str) -> Result<Seen, String> {
        let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        let call = parse(&args).map_err(|refused| refused.to_string())?;
        let fences = call.fences.iter().map(|one| (String::from_utf8_lossy(one.lock).into_owned(), one.number));
        Ok((fences.collect(), call.once.is_some(), call.command.name, call.at))
    }

    #[test]
    fn fences_stand_before_what_has_keys() {
        let one = |lock: &str, number: u64| (lock.to_owned(), number);
        assert_eq!(fenced("FENCE a 1 GET k"), Ok((vec![one("a", 1)], false, "get", 3)));
        assert_eq!(
            fenced("fence a 9223372036854775807 BLPOP k 0"),
            Ok((vec![one("a", u64::MAX >> 1)], false, "blpop", 3))
        );
        let two = vec![one("a", 1), one("b", 2)];
        assert_eq!(fenced("FENCE a 1 FENCE b 2 SET k v"), Ok((two.clone(), false, "set", 6)));
        assert_eq!(fenced("FENCE a 1 ONCE c:1 FENCE b 2 FENCE a 1 SET k v"), Ok((two, true, "set", 11)));
        assert_eq!(fenced("ONCE c:1 FENCE a 1 EXEC"), Ok((vec![one("a", 1)], true, "exec", 5)));
        assert_eq!(fenced("FENCE a 1 EVAL_RO x 0"), Ok((vec![one("a", 1)], false, "eval_ro", 3)));
        for (words, reason) in [
            ("FENCE a 1", "wrong number of arguments for 'fence'"),
            ("FENCE a", "wrong number of arguments for 'fence'"),
            ("FENCE a 1 GET", "wrong number of arguments for 'get'"),
            ("FENCE a 1 NOPE k", "unknown command 'NOPE' behind FENCE"),
            ("FENCE a 1 FENCE a 2 GET k", "under two fences of the lock 'a', 1 and 2"),
            ("FENCE a 1 WATCH k", "put it before EXEC"),
            ("FENCE a 1 PING", "'ping' has none"),
            ("FENCE a 1 FLUSHALL", "'flushall' has none"),
            ("FENCE a 1 PUBLISH c m", "'publish' has none"),
            ("FENCE a 1 ONCE c:1 GET k", "ONCE is for commands that change keys"),
            ("FENCE a 0 GET k", "is no fence"),
            ("FENCE a 01 GET k", "is no fence"),
            ("FENCE a -1 GET k", "is no fence"),
            ("FENCE a 9223372036854775808 GET k", "is no fence"),
            ("FENCE  1 GET k", "a lock's name has 1 to 512 bytes"),
        ] {
            let refused = fenced(words).expect_err(words);
            assert!(refused.starts_with("ERR ") && refused.contains(reason), "{words}: {refused}");
        }
        let many = |count: usize| (0..count).map(|n| format!("FENCE l{n} 1 ")).collect::<String>() + "GET k";
        assert!(fenced(&many(16)).is_ok());
        assert!(fenced(&many(17)).expect_err("too many").contains("16 fences at most"));
        assert!(fenced(&format!("FENCE {} 1 GET k", "x".repeat(513))).expect_err("too long").contains("not 513"));
    }

    #[test]
    fn what_may_be_sent_again_changes_nothing_or_has_an_id() {
        for (words, changes, again) in [
            ("FENCE a 1 GET k", false, true),
            ("FENCE a 1 SET k v", true, false),
            ("FENCE a 1 ONCE c:1 SET k v", true, true),
            ("ONCE c:1 SET k v", true, true),
            ("SET k v", true, false),
            ("GET k", false, true),
        ] {
            let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
            let row = find(args[0]).expect("a command");
            assert_eq!((changes_keys(row, &args), may_be_sent_again(row, &args)), (changes, again), "{words}");
        }
        let ends = |words: &str| ends_transaction(&words.split(' ').map(str::as_bytes).collect::<Vec<_>>());
        assert!(ends("ONCE x EXEC") && ends("FENCE a b EXEC") && ends("FENCE a 1 ONCE x EXEC") && ends("EXEC"));
        assert!(!ends("FENCE a 1 GET EXEC") && !ends("ONCE x EXEC more") && !ends("FENCE a EXEC"));
    }

    fn call(words: &str) -> Result<(String, u64, &'static str, usize), String> {
        let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        let call = parse(&args).map_err(|refused| refused.to_string())?;
        let id = call.once.expect("every call here has an id");
        Ok((String::from_utf8_lossy(id.client).into_owned(), id.seq, call.command.name, call.at))
    }

    #[test]
    fn an_id_stands_before_a_write_or_exec() {
        assert_eq!(call("ONCE a:1 INCR k"), Ok(("a".to_owned(), 1, "incr", 2)));
        assert_eq!(call("once a:b:9223372036854775807 set k v"), Ok(("a:b".to_owned(), u64::MAX >> 1, "set", 2)));
        assert_eq!(call("ONCE a:1 EVAL x 0"), Ok(("a".to_owned(), 1, "eval", 2)));
        assert_eq!(call("ONCE a:1 EXEC"), Ok(("a".to_owned(), 1, "exec", 2)));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        for (words, reason) in [
            ("ONCE a:1", "wrong number of arguments for 'once'"),
            ("ONCE a:1 ONCE a:1 INCR k", "stands twice"),
            ("ONCE a:1 INCR", "wrong number of arguments for 'incr'"),
            ("ONCE a:1 NOPE k", "unknown command 'NOPE'"),
            ("ONCE a:1 GET k", "'get' does not"),
            ("ONCE a:1 EVAL_RO x 0", "'eval_ro' does not"),
            ("ONCE a:1 SCRIPT FLUSH", "'script' has none"),
            ("ONCE a:1 FLUSHALL", "'flushall' has none"),
            ("ONCE a:1 NODES.ANNOUNCE a b c d e", "'nodes.announce' has none"),
            ("ONCE a:1 MULTI", "can't stand before 'multi'"),
            ("ONCE a:1 INFO", "can't stand before 'info'"),
        ] {
            let refused = call(words).expect_err(words);
            assert!(refused.starts_with("ERR ") && refused.contains(reason), "{words}: {refused}");
        }
        let long = format!("{}:1", "x".repeat(65));
        for id in ["a", "a:", ":1", "a:0", "a:01", "a:+1", "a:-1", "a:x", "a:9223372036854775808", &long] {
            let refused = call(&format!("ONCE {id} INCR k")).expect_err(id);
            assert!(refused.contains("no id for ONCE"), "{id}: {refused}");
        }
    }

    #[test]
    fn keys_are_seen_through_a_prefix() {
        let keys = |words: &str| {
            let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
            key_positions(find(args[0]).expect("a command"), &args).collect::<Vec<_>>()
        };
        assert_eq!(keys("ONCE a:1 MSET k 1 l 2"), [3, 5]);
        assert_eq!(keys("FENCE a 1 ONCE a:1 MSET k 1 l 2"), [6, 8]);
        assert_eq!(keys("MSET k 1 l 2"), [1, 3]);
        assert!(keys("ONCE a:1 EXEC").is_empty() && keys("ONCE bad MSET k 1").is_empty());
    }
}
