//! Clients' words for locks: what a call asks of the plane, and how its outcome reads.

use base::Instant;
use base::limits::LOCK_LIST_LOOKS_MAX;
use bytes::Bytes;
use consensus::lock::{Acquire, Claim, Command, Info, Listed, Mode, Outcome, Plane};
use data::command::glob::glob;
use data::command::locks::{self, Ask, Wish};
use data::{Refused, Reply};

/// What is done about a call.
pub(super) enum Asked {
    Command { name: Bytes, command: Command },
    List { pattern: Option<Bytes>, count: usize },
    Watch { name: Bytes, version: u64, wait_ms: u64 },
}

/// What a call asks of the plane.
pub(super) fn command(ask: Ask) -> Asked {
    let (name, command) = match ask {
        Ask::Acquire { name, wish } => (name, Command::Acquire(acquire(wish))),
        Ask::Renew { name, owner, token, ttl_ms } => (name, Command::Renew { owner, token, ttl_ms }),
        Ask::Release { name, owner, token } => (name, Command::Release { owner, token }),
        Ask::Info { name } => (name, Command::Info),
        Ask::List { pattern, count } => return Asked::List { pattern, count },
        Ask::Watch { name, version, wait_ms } => return Asked::Watch { name, version, wait_ms },
    };
    Asked::Command { name, command }
}

fn acquire(wish: Wish) -> Acquire {
    let Wish { owner, ttl_ms, wait_ms, claim, token, id, fencing: _ } = wish;
    let claim = match claim {
        locks::Claim::Exclusive => Claim::Exclusive,
        locks::Claim::Shared => Claim::Shared,
        locks::Claim::Permits { count, of } => Claim::Permits { count, of },
    };
    Acquire { owner, ttl_ms, wait_ms, claim, token, id }
}

/// How an outcome reads.
pub(super) fn reply(outcome: Outcome) -> Reply {
    let text = match outcome {
        Outcome::Granted { token, fence, remaining_ms } => {
            // Permits have no fence: who writes under one isn't alone.
            let fence = if fence == 0 { Reply::Nil } else { int(fence) };
            return Reply::Array(vec![int(token), fence, int(remaining_ms)]);
        }
        Outcome::Renewed { remaining_ms } => return int(remaining_ms),
        Outcome::Released => return Reply::Int(1),
        Outcome::Refused => return Reply::NilArray,
        Outcome::Info(info) => return about(&info),
        Outcome::Lost => {
            "LOST this token doesn't hold the lock, and never will again: its time was over and another took the lock, \
                          or it was given back; stop what it protected, and acquire anew"
                .to_owned()
        }
        Outcome::Unknown => {
            "UNKNOWN it may or may not have taken effect: voters that were asked have not answered; ask again with \
                             the same owner and ID, or let the ttl pass"
                .to_owned()
        }
        Outcome::NoQuorum => {
            "NOQUORUM fewer than a majority of the nodes that vote on locks can be reached; no lock was changed; \
                              see `tidegate status`, and send it again"
                .to_owned()
        }
        Outcome::Overloaded => {
            "OVERLOADED too many calls wait for this lock already; no lock was changed; send it again later".to_owned()
        }
        Outcome::Invalid(invalid) => format!("ERR {invalid}; no lock was changed"),
    };
    Reply::Error(Refused::Text(text))
}

fn int(number: u64) -> Reply {
    Reply::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn pair(name: &str, value: Reply) -> (Reply, Reply) {
    (Reply::text(name), value)
}

fn mode(mode: Mode, held: bool) -> Vec<(Reply, Reply)> {
    let name = match mode {
        _ if !held => "free",
        Mode::Exclusive => "exclusive",
        Mode::Shared => "shared",
        Mode::Permits { .. } => "permits",
    };
    let of = if let Mode::Permits { of } = mode { Some(pair("permits", int(u64::from(of)))) } else { None };
    std::iter::once(pair("mode", Reply::text(name))).chain(of.filter(|_| held)).collect()
}

fn about(info: &Info) -> Reply {
    let holder = |one: &consensus::lock::HolderInfo| {
        Reply::Map(vec![
            pair("owner", Reply::bulk(&one.owner)),
            pair("token", int(one.token)),
            pair("renewals", int(one.renewal)),
            pair("ttl_ms", int(one.ttl_ms)),
            pair("weight", int(u64::from(one.weight))),
            pair("remaining_ms", int(one.remaining_ms)),
        ])
    };
    let mut all = mode(info.mode, !info.holders.is_empty());
    all.extend([
        pair("version", int(info.version)),
        pair("fence", int(info.fence)),
        pair("token", int(info.token)),
        pair("waiting", int(info.waiting)),
        pair("holders", Reply::Array(info.holders.iter().map(holder).collect())),
    ]);
    Reply::Map(all)
}

/// The locks that are held and like a pattern, by name, as this node's voter knows them.
pub(super) fn list(plane: &Plane, now: Instant, pattern: Option<&Bytes>, count: usize) -> Reply {
    if !plane.status().votes {
        let text =
            "ERR this node does not vote on locks, so it has no list of them; ask one of those that do".to_owned();
        return Reply::Error(Refused::Text(text));
    }
    let like = |one: &Listed| pattern.is_none_or(|pattern| glob(pattern, &one.name));
    let held = plane.list(now, None).take(LOCK_LIST_LOOKS_MAX).filter(|one| !one.lock.holders.is_empty() && like(one));
    Reply::Array(held.take(count).map(|one| listed(&one)).collect())
}

fn listed(one: &Listed) -> Reply {
    let left = |token: u64| one.remaining.iter().find(|(of, _)| *of == token).map_or(0, |(_, ms)| *ms);
    let holder = |holder: &consensus::lock::Holder| {
        Reply::Map(vec![
            pair("owner", Reply::bulk(&holder.owner)),
            pair("token", int(holder.token)),
            pair("remaining_ms", int(left(holder.token))),
        ])
    };
    let mut all = vec![pair("name", Reply::bulk(&one.name))];
    all.extend(mode(one.lock.mode, true));
    all.push(pair("fence", int(one.lock.fence)));
    all.push(pair("holders", Reply::Array(one.lock.holders.iter().map(holder).collect())));
    Reply::Map(all)
}
