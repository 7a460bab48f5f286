//! Words that stand before a command and say under which conditions it runs: ONCE, in any spelling and order.
//!
//! A prefix is a row of the table, so that it is found like any command and costs the others nothing. [`parse`] takes all
//! prefixes of a call off and checks what follows. Whatever their order in the call, a shard looks at the id first, then
//! at fences, then at what was watched, and runs the command last.

use super::scripts::Access;
use super::{Command, Keys, Run, containers, find, pubsub};
use crate::Refused;
use crate::once::Id;

/// The rows of this family; ids 350 to 359.
pub static COMMANDS: &[Command] = &[Command {
    name: "once",
    id: 350,
    arity: -3,
    flags: "write movablekeys",
    keys: Keys::NONE,
    run: Run::Prefix(Prefix::Once),
    summary: "Makes a command take effect once, however often it is sent.",
    group: "generic",
    since: "7.0.0",
}];

/// What a prefix says of the command behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// `ONCE <client>:<seq>`: the outcome is kept under this id.
    Once,
}

/// A call without its prefixes.
#[derive(Clone, Copy, Debug)]
pub struct Prefixed<'a> {
    pub once: Option<Id<'a>>,
    /// The command behind all prefixes: a write, or EXEC.
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
}

/// Takes the prefixes off a call; `args` with the name of the first.
pub fn parse<'a>(args: &[&'a [u8]]) -> Result<Prefixed<'a>, Refused> {
    let (mut once, mut at) = (None, 0);
    let command = loop {
        let Some(name) = args.get(at) else { return Err(Refused::Arity("once".to_owned())) };
        let command = find(name).ok_or_else(|| unknown(name))?;
        match command.run {
            Run::Prefix(Prefix::Once) if once.is_some() => return Err(text(TWICE)),
            Run::Prefix(Prefix::Once) => {
                once = Some(Id::parse(args.get(at + 1).copied().unwrap_or_default())?);
                at += 2;
            }
            _ => break command,
        }
    };
    if !command.accepts(args.len() - at) {
        return Err(Refused::Arity(command.name.to_owned()));
    }
    containers::check(command, &args[at..])?;
    may_follow(command)?;
    Ok(Prefixed { once, command, at })
}

/// True if a call is meant to end a transaction, whatever is wrong with it.
#[must_use]
pub fn ends_transaction(args: &[&[u8]]) -> bool {
    matches!(args, [_, _, word] if word.eq_ignore_ascii_case(b"exec"))
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
fn may_follow(command: &Command) -> Result<(), Refused> {
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

fn unknown(name: &[u8]) -> Refused {
    let name = String::from_utf8_lossy(&name[..name.len().min(128)]).into_owned();
    Refused::Text(format!("ERR unknown command '{name}' behind ONCE; the spelling is ONCE <client>:<seq> <command ..>"))
}

fn text(text: &str) -> Refused {
    Refused::Text(text.to_owned())
}

const TWICE: &str = "ERR ONCE stands twice before one command: give it one id";

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(keys("MSET k 1 l 2"), [1, 3]);
        assert!(keys("ONCE a:1 EXEC").is_empty() && keys("ONCE bad MSET k 1").is_empty());
    }
}
