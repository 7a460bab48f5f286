//! Caches that are filled once: of all who find nothing at a key, one brings the value, and the others wait or take the old one.
//!
//! GETFILL answers an array of three: what the caller got, the value, and a number.
//!
//! | got | value | number |
//! |---|---|---|
//! | HIT | the value | milliseconds it still lives, -1 without end |
//! | FILL | the old value, if it may be taken, else nil | the token: the caller is to bring the value by FILL |
//! | STALE | the old value: another one is filling the key | milliseconds the other one still has |
//! | FILLING | nil: another one is filling the key, and nothing else may be taken | milliseconds the other one still has |
//! | NOTHING | nil: somebody has found out that there is no value | milliseconds for which that holds |
//!
//! With WAIT, who would be told FILLING waits instead, first come, first served: for the value, or for the task to bring it, if the
//! one who had it gives it back or doesn't make it in time. When the time of WAIT is over, the answer is nil.
//!
//! A token is good until its deadline, or until the key is changed by anybody: set, deleted (even though it isn't there),
//! expired at once, flushed. So what a filler read before somebody else wrote never stands there after that write, if
//! writers touch the key behind their write. What is refused changes nothing.

use super::strings::{check_length, integer};
use super::{Command, Keys, Outcome, Run};
use crate::keyspace::{Aside, Class, Kept, Lease, Marks, Ttl};
use crate::{Context, Keyspace, Refused, Reply};
use base::Stamp;
use base::limits::{FILL_JITTER_PERCENT_MAX, FILL_LEASE_MS, FILL_LEASE_MS_MAX};
use base::mutation::{self, Mutation};

/// The rows of this family; ids 790 to 799, with those of [`super::memcache`].
pub static COMMANDS: &[Command] = &[
    Command {
        name: "getfill",
        id: GETFILL_ID,
        arity: -3,
        flags: "write denyoom noscript blocking",
        keys: Keys::ONE,
        run: Run::Write(getfill),
        summary: "Returns a value, or a token to the one caller who is to bring it.",
        group: "string",
        since: "7.0.0",
    },
    Command {
        name: "fill",
        id: 791,
        arity: -4,
        flags: "write denyoom noscript",
        keys: Keys::ONE,
        run: Run::Write(fill),
        summary: "Brings the value that a token was given for.",
        group: "string",
        since: "7.0.0",
    },
];

pub(super) const GETFILL_ID: u16 = 790;

/// What GETFILL asks for.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    ttl_ms: u64,
    stale_ms: u64,
    wait_ms: Option<u64>,
    lease_ms: u64,
    jitter_percent: u8,
}

/// What FILL brings.
#[derive(Clone, Copy, Debug)]
enum Brought {
    Value,
    Nothing,
    /// The caller gives the token back.
    GivenUp,
}

/// What GETFILL answers while that needs no change: a value that stands there.
pub(super) fn hit(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Option<Reply> {
    let live = keyspace.get(cx, args[1])?;
    let value = live.value.blob().ok().filter(|_| Wanted::parse(cx, args).is_ok())?;
    let left = live.expire_at.map_or(-1, |at| left_ms(cx, at));
    Some(got("HIT", Reply::Bulk(value), left))
}

/// How long a call would wait while another one is filling the key; nothing if it doesn't want to.
pub(super) fn wait_ms(args: &[&[u8]]) -> Option<u64> {
    let wanted = Wanted::parse(&Context::new(0, Stamp(0)), args).ok()?;
    wanted.wait_ms.filter(|ms| *ms > 0)
}

fn getfill(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let wanted = Wanted::parse(cx, args)?;
    let key = args[1];
    keyspace.string(cx, key)?;
    if let Some(hit) = hit(keyspace, cx, args) {
        return Ok(hit);
    }
    keyspace.bury(cx.db, key);
    let old = match keyspace.aside(cx.db, key) {
        Some(Aside::Nothing(until)) => return Ok(got("NOTHING", Reply::Nil, left_ms(cx, until))),
        Some(Aside::Kept(Kept { died_at, value })) => {
            let fresh_enough = cx.stamp.0 < died_at.0.saturating_add(wanted.stale_ms);
            fresh_enough.then(|| Reply::bulk(&value))
        }
        None => None,
    };
    if let Some(lease) = keyspace.lease(cx.db, key).filter(|_| !mutation::on(Mutation::TwoFillersAtOnce)) {
        let left = left_ms(cx, lease.until);
        return Ok(match (old, wanted.wait_ms) {
            (Some(old), _) => got("STALE", old, left),
            (None, None | Some(0)) => got("FILLING", Reply::Nil, left),
            (None, Some(_)) => Reply::NilArray,
        });
    }
    let Wanted { ttl_ms, stale_ms, jitter_percent, lease_ms, .. } = wanted;
    let lease = Lease { token: 0, ttl_ms, stale_ms, jitter_percent, until: Stamp(cx.stamp.0 + lease_ms) };
    let token = keyspace.set_lease(cx.db, key, lease);
    Ok(got("FILL", old.unwrap_or(Reply::Nil), i64::try_from(token).unwrap_or(i64::MAX)))
}

fn got(what: &str, value: Reply, number: i64) -> Reply {
    Reply::Array(vec![Reply::bulk(what.as_bytes()), value, Reply::Int(number)])
}

fn left_ms(cx: &Context, at: Stamp) -> i64 {
    i64::try_from(at.0.saturating_sub(cx.stamp.0)).unwrap_or(i64::MAX)
}

impl Wanted {
    fn parse(cx: &Context, args: &[&[u8]]) -> Result<Self, Refused> {
        let mut wanted = Self {
            ttl_ms: life(cx, args[2], "getfill")?,
            stale_ms: 0,
            wait_ms: None,
            lease_ms: FILL_LEASE_MS,
            jitter_percent: 0,
        };
        for pair in args[3..].chunks(2) {
            let [name, number] = pair else { return Err(Refused::Syntax) };
            match name.to_ascii_lowercase().as_slice() {
                b"stale" => wanted.stale_ms = span(cx, number)?,
                b"wait" => wanted.wait_ms = Some(span(cx, number)?),
                b"jitter" => wanted.jitter_percent = percent(number)?,
                b"lease" => {
                    let ms = span(cx, number)?;
                    let known = (1..=FILL_LEASE_MS_MAX).contains(&ms);
                    wanted.lease_ms = Some(ms).filter(|_| known).ok_or_else(bad_lease)?;
                }
                _ => return Err(Refused::Syntax),
            }
        }
        Ok(wanted)
    }
}

/// A time to live, in milliseconds.
fn life(cx: &Context, text: &[u8], command: &'static str) -> Result<u64, Refused> {
    let bad = || Refused::InvalidExpire(command);
    let ms = u64::try_from(integer(text)?).ok().filter(|ms| *ms > 0).ok_or_else(bad)?;
    let at = cx.stamp.0.checked_add(ms).ok_or_else(bad)?;
    i64::try_from(at).map(|_| ms).map_err(|_| bad())
}

/// Another span of time, in milliseconds, which may be none.
fn span(cx: &Context, text: &[u8]) -> Result<u64, Refused> {
    let ms = u64::try_from(integer(text)?).map_err(|_| Refused::NotAnInteger)?;
    let fits = cx.stamp.0.checked_add(ms).is_some_and(|at| i64::try_from(at).is_ok());
    if fits { Ok(ms) } else { Err(Refused::NotAnInteger) }
}

fn percent(text: &[u8]) -> Result<u8, Refused> {
    let percent = u8::try_from(integer(text)?).ok().filter(|percent| *percent <= FILL_JITTER_PERCENT_MAX);
    percent.ok_or_else(|| Refused::Text(format!("ERR JITTER is a percentage from 0 to {FILL_JITTER_PERCENT_MAX}")))
}

fn bad_lease() -> Refused {
    Refused::Text(format!("ERR LEASE is a time from 1 to {FILL_LEASE_MS_MAX} milliseconds"))
}

fn fill(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let (key, value) = (args[1], args[3]);
    let token = u64::try_from(integer(args[2])?).map_err(|_| Refused::NotAnInteger)?;
    check_length(value.len())?;
    let (brought, ttl_ms, stale_ms, jitter) = bring(cx, value, &args[4..])?;
    let lease = keyspace.lease(cx.db, key).filter(|lease| lease.token == token);
    let lease = lease.ok_or_else(|| lost(key, token))?;
    let jitter_percent = jitter.unwrap_or(lease.jitter_percent);
    let at = Stamp(cx.stamp.0 + shortened(cx, ttl_ms.unwrap_or(lease.ttl_ms), jitter_percent));
    match brought {
        Brought::GivenUp => keyspace.drop_lease(cx.db, key),
        Brought::Nothing => keyspace.set_nothing(cx.db, key, at),
        Brought::Value => {
            keyspace.set_string(cx, key, value, Ttl::At(at));
            let keep_ms = stale_ms.unwrap_or(lease.stale_ms);
            keyspace.set_marks(cx.db, key, Some(Marks { keep_ms, ..Marks::default() }));
            keyspace.notify(cx.db, Class::String, "set", key);
            keyspace.notify(cx.db, Class::Generic, "expire", key);
        }
    }
    Ok(Reply::Ok)
}

type Bringing = (Brought, Option<u64>, Option<u64>, Option<u8>);

/// What FILL brings, and what it says of it otherwise than GETFILL: life, time to be kept, jitter.
fn bring(cx: &Context, value: &[u8], mut rest: &[&[u8]]) -> Result<Bringing, Refused> {
    let mut told: Bringing = (Brought::Value, None, None, None);
    while let Some(word) = rest.first() {
        let mut used = 2;
        match (word.to_ascii_lowercase().as_slice(), rest.get(1)) {
            (b"nothing", _) if value.is_empty() && matches!(told.0, Brought::Value) => {
                (told.0, used) = (Brought::Nothing, 1)
            }
            (b"abandon", _)
                if value.is_empty() && rest.len() == 1 && matches!(told, (Brought::Value, None, None, None)) =>
            {
                (told.0, used) = (Brought::GivenUp, 1);
            }
            (b"px", Some(number)) => told.1 = Some(life(cx, number, "fill")?),
            (b"stale", Some(number)) => told.2 = Some(span(cx, number)?),
            (b"jitter", Some(number)) => told.3 = Some(percent(number)?),
            _ => return Err(Refused::Syntax),
        }
        rest = &rest[used..];
    }
    Ok(told)
}

/// A time to live, shortened by chance: values that were filled together don't die together.
fn shortened(cx: &Context, ttl_ms: u64, percent: u8) -> u64 {
    let most = u128::from(ttl_ms) * u128::from(percent) / 100;
    let most = u64::try_from(most).expect("a part of it is not more").min(ttl_ms - 1);
    if most == 0 { ttl_ms } else { ttl_ms - cx.chance().below(most + 1) }
}

fn lost(key: &[u8], token: u64) -> Refused {
    let key = String::from_utf8_lossy(&key[..key.len().min(100)]);
    Refused::Text(format!(
        "LOST the token {token} of '{key}' doesn't hold: its time is over, another one has filled the key, or the key was changed \
         since; nothing was changed; ask again by GETFILL"
    ))
}
