//! LOCK.*: the rows, and what a call asks for. Locks are no keys and stand in no shard: nodes grant them by their votes, so the node
//! that takes a call brings it to its end, whichever that is.

use super::{Command, Keys, Run};
use crate::Refused;
use base::limits::LOCK_LIST_COUNT_MAX;
use bytes::Bytes;

/// The rows of this family; ids 840 to 849.
pub static COMMANDS: &[Command] = &[
    row(
        "lock.acquire",
        840,
        -4,
        "Takes a lock for a while, and returns token, fence and the milliseconds that are left.",
    ),
    row("lock.renew", 841, 5, "Begins the time of a held lock anew."),
    row("lock.release", 842, 4, "Gives a lock back."),
    row("lock.info", 843, 2, "Returns who holds a lock, as a majority knows it."),
    row("lock.list", 844, -1, "Returns the locks that are held, as this node knows them."),
    row("lock.watch", 845, -3, "Returns who holds a lock once it has changed since a version, or the wait is over."),
];

const fn row(name: &'static str, id: u16, arity: i16, summary: &'static str) -> Command {
    let (flags, keys, run) = ("noscript fast", Keys::NONE, Run::Lock);
    Command { name, id, arity, flags, keys, run, summary, group: "locks", since: "7.0.15" }
}

/// What a call asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    Acquire {
        name: Bytes,
        wish: Wish,
    },
    Renew {
        name: Bytes,
        owner: Bytes,
        token: u64,
        ttl_ms: u64,
    },
    Release {
        name: Bytes,
        owner: Bytes,
        token: u64,
    },
    Info {
        name: Bytes,
    },
    List {
        pattern: Option<Bytes>,
        count: usize,
    },
    /// Answered when the lock's version is greater, or the wait is over.
    Watch {
        name: Bytes,
        version: u64,
        wait_ms: u64,
    },
}

/// What LOCK.ACQUIRE wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    pub owner: Bytes,
    pub ttl_ms: u64,
    /// Zero: what can't be granted is refused at once.
    pub wait_ms: u64,
    pub claim: Claim,
    /// Re-entry.
    pub token: Option<u64>,
    /// Empty if the client gave none.
    pub id: Bytes,
    /// Keys whose shards are to know the fence before the client does.
    pub fencing: Vec<Bytes>,
}

/// How much of a lock is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    Exclusive,
    Shared,
    Permits { count: u32, of: u32 },
}

/// Locks that LOCK.LIST shows unasked.
const LIST_COUNT: usize = 100;

impl Ask {
    /// What a call of a row of this family means; `args` with the name. What names, times and numbers may be, the locks say.
    pub fn parse(command: &Command, args: &[&[u8]]) -> Result<Self, Refused> {
        let word = |at: usize| Bytes::copy_from_slice(args[at]);
        Ok(match command.name {
            "lock.acquire" => {
                let ttl_ms = number(args[3], "ttl_ms")?;
                let (owner, id, fencing) = (word(2), Bytes::new(), Vec::new());
                let wish = Wish { owner, ttl_ms, wait_ms: 0, claim: Claim::Exclusive, token: None, id, fencing };
                Self::Acquire { name: word(1), wish: wish.with_options(&args[4..])? }
            }
            "lock.renew" => Self::Renew {
                name: word(1),
                owner: word(2),
                token: number(args[3], "token")?,
                ttl_ms: number(args[4], "ttl_ms")?,
            },
            "lock.release" => Self::Release { name: word(1), owner: word(2), token: number(args[3], "token")? },
            "lock.info" => Self::Info { name: word(1) },
            "lock.watch" => {
                let wait_ms = match &args[3..] {
                    [] => 0,
                    [word, wait] if lower(word) == "wait" => number(wait, "WAIT")?,
                    _ => return Err(refused("the spelling is LOCK.WATCH name version [WAIT ms]")),
                };
                Self::Watch { name: word(1), version: number(args[2], "version")?, wait_ms }
            }
            _ => Self::list(&args[1..])?,
        })
    }

    /// True if it may wait for others: its connection does nothing else meanwhile.
    #[must_use]
    pub fn may_wait(&self) -> bool {
        self.wait_ms() > 0
    }

    /// How long it may wait for others, in milliseconds.
    #[must_use]
    pub fn wait_ms(&self) -> u64 {
        match self {
            Self::Acquire { wish, .. } => wish.wait_ms,
            Self::Watch { wait_ms, .. } => *wait_ms,
            _ => 0,
        }
    }

    /// True if it changes nothing.
    #[must_use]
    pub fn only_reads(&self) -> bool {
        matches!(self, Self::Info { .. } | Self::List { .. } | Self::Watch { .. })
    }

    fn list(mut options: &[&[u8]]) -> Result<Self, Refused> {
        let (mut pattern, mut count) = (None, LIST_COUNT);
        while let [word, rest @ ..] = options {
            options = match (lower(word).as_str(), rest) {
                ("match", [like, rest @ ..]) => {
                    pattern = Some(Bytes::copy_from_slice(like));
                    rest
                }
                ("count", [most, rest @ ..]) => {
                    let most = usize::try_from(number(most, "COUNT")?).unwrap_or(usize::MAX);
                    if most == 0 || most > LOCK_LIST_COUNT_MAX {
                        return Err(refused(&format!("COUNT is from 1 to {LOCK_LIST_COUNT_MAX}")));
                    }
                    count = most;
                    rest
                }
                _ => return Err(refused("the spelling is LOCK.LIST [MATCH pattern] [COUNT n]")),
            };
        }
        Ok(Self::List { pattern, count })
    }
}

impl Wish {
    fn with_options(mut self, mut options: &[&[u8]]) -> Result<Self, Refused> {
        while let [word, rest @ ..] = options {
            options = match (lower(word).as_str(), rest) {
                ("wait", [wait, rest @ ..]) => {
                    self.wait_ms = number(wait, "WAIT")?;
                    rest
                }
                ("shared", rest) if self.claim == Claim::Exclusive => {
                    self.claim = Claim::Shared;
                    rest
                }
                ("permits", [count, of, all, rest @ ..])
                    if self.claim == Claim::Exclusive && of.eq_ignore_ascii_case(b"of") =>
                {
                    self.claim = Claim::Permits { count: permits(count)?, of: permits(all)? };
                    rest
                }
                ("token", [token, rest @ ..]) => {
                    self.token = Some(number(token, "TOKEN")?);
                    rest
                }
                ("id", [id, rest @ ..]) => {
                    self.id = Bytes::copy_from_slice(id);
                    rest
                }
                // All that follows is keys, whatever they read like.
                ("fencing", keys @ [_, ..]) => {
                    self.fencing = keys.iter().map(|key| Bytes::copy_from_slice(key)).collect();
                    &[]
                }
                _ => return Err(refused(SPELLING)),
            };
        }
        if let (Claim::Permits { .. }, false) = (self.claim, self.fencing.is_empty()) {
            return Err(refused("permits have no fence, so there is none to be installed by FENCING"));
        }
        Ok(self)
    }
}

const SPELLING: &str = "the spelling is LOCK.ACQUIRE name owner ttl_ms [WAIT ms] [SHARED | PERMITS n OF m] [TOKEN t] [ID request] \
                        [FENCING key [key ..]]";

fn permits(word: &[u8]) -> Result<u32, Refused> {
    // What is out of range the locks refuse, with the range.
    Ok(u32::try_from(number(word, "PERMITS")?).unwrap_or(u32::MAX))
}

fn number(word: &[u8], what: &str) -> Result<u64, Refused> {
    let digits = std::str::from_utf8(word).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let known = digits.and_then(|text| text.parse().ok());
    known.ok_or_else(|| refused(&format!("{what} is a whole number that isn't negative, of 64 bits at most")))
}

fn lower(word: &[u8]) -> String {
    String::from_utf8_lossy(word).to_ascii_lowercase()
}

fn refused(why: &str) -> Refused {
    Refused::Text(format!("ERR {why}; no lock was changed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Result<Ask, String> {
        let args: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        let command = super::super::find(args[0]).expect("it is in the table");
        assert!(command.accepts(args.len()), "{text}");
        Ask::parse(command, &args).map_err(|why| why.to_string())
    }

    fn wish(text: &str) -> Wish {
        match asked(text) {
            Ok(Ask::Acquire { name, wish }) if name == "l" => wish,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_stand_in_any_order_and_case() {
        let plain = wish("LOCK.ACQUIRE l o 1000");
        assert_eq!((plain.owner.as_ref(), plain.ttl_ms, plain.wait_ms), (&b"o"[..], 1000, 0));
        assert_eq!((plain.claim, plain.token, plain.id.is_empty()), (Claim::Exclusive, None, true));
        let all = wish("lock.acquire l o 5 id r7 permits 2 of 3 TOKEN 9 wait 70");
        assert_eq!((all.wait_ms, all.token, all.id.as_ref()), (70, Some(9), &b"r7"[..]));
        assert_eq!(all.claim, Claim::Permits { count: 2, of: 3 });
        assert_eq!(wish("lock.acquire l o 5 shared").claim, Claim::Shared);
        let fencing = wish("lock.acquire l o 5 shared fencing k1 id wait");
        assert_eq!((fencing.fencing, fencing.wait_ms), (vec!["k1".into(), "id".into(), "wait".into()], 0));
        assert_eq!(asked("lock.list count 5 match a*"), Ok(Ask::List { pattern: Some("a*".into()), count: 5 }));
        let watched = Ask::Watch { name: "l".into(), version: 7, wait_ms: 50 };
        assert_eq!(asked("lock.watch l 7 wait 50"), Ok(watched.clone()));
        assert!(watched.may_wait() && !asked("lock.watch l 7").expect("it is one").may_wait());
        assert_eq!(asked("lock.list"), Ok(Ask::List { pattern: None, count: 100 }));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        for (text, why) in [
            ("lock.acquire l o x", "ttl_ms is a whole number"),
            ("lock.acquire l o -5", "ttl_ms is a whole number"),
            ("lock.acquire l o 5 shared permits 1 of 2", "the spelling is LOCK.ACQUIRE"),
            ("lock.acquire l o 5 wait", "the spelling is LOCK.ACQUIRE"),
            ("lock.acquire l o 5 permits 1 2 3", "the spelling is LOCK.ACQUIRE"),
            ("lock.acquire l o 5 fencing", "the spelling is LOCK.ACQUIRE"),
            ("lock.acquire l o 5 permits 1 of 2 fencing k", "permits have no fence"),
            ("lock.renew l o 1.5 5", "token is a whole number"),
            ("lock.list count 0", "COUNT is from 1 to"),
            ("lock.watch l -1", "version is a whole number"),
            ("lock.watch l 1 for 5", "the spelling is LOCK.WATCH"),
            ("lock.list all", "the spelling is LOCK.LIST"),
        ] {
            let told = asked(text).expect_err(text);
            assert!(told.contains(why) && told.ends_with("no lock was changed"), "{text}: {told}");
        }
    }
}
