//! XCLAIM and XAUTOCLAIM: entries that one consumer owes come to another.

use super::ids;
use super::pending::{idle_ms, no_group};
use super::read::shown;
use crate::command::Outcome;
use crate::command::strings::integer;
use crate::keyspace::{Absent, Changed, Class};
use crate::value::Stream;
use crate::value::stream::{Entries, Group, Id, Nack, Place};
use crate::{Context, Keyspace, Refused, Reply};

/// What XCLAIM asks for.
#[derive(Default)]
struct Claim {
    idle_ms_min: i64,
    ids: Vec<Id>,
    /// When the entries count as delivered, if not now; Redis takes -1 for that too.
    at_ms: Option<i64>,
    count: Option<u64>,
    force: bool,
    just_id: bool,
    last: Id,
}

/// A claim as it is carried out.
struct Claiming<'a> {
    entries: &'a Entries,
    group: &'a mut Group,
    name: &'a [u8],
    cx: &'a Context,
    just_id: bool,
    at_ms: u64,
    count: Option<u64>,
    consumer: Option<Place>,
    consumer_made: bool,
}

pub(super) fn xclaim(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    check_group(keyspace, cx, args)?;
    let claim = Claim::parse(cx, args)?;
    in_group(keyspace, cx, args, |entries, group| {
        group.last = group.last.max(claim.last);
        let at_ms = claim.at_ms.and_then(|at_ms| u64::try_from(at_ms).ok()).filter(|at_ms| *at_ms <= cx.stamp.0);
        let mut claiming = Claiming {
            entries,
            group,
            name: args[3],
            cx,
            just_id: claim.just_id,
            at_ms: at_ms.unwrap_or(cx.stamp.0),
            count: claim.count,
            consumer: None,
            consumer_made: false,
        };
        let claimed = claim.ids.iter().filter_map(|id| claiming.one(*id, claim.idle_ms_min, claim.force)).collect();
        (Reply::Array(claimed), claiming.consumer_made)
    })
}

impl Claim {
    fn parse(cx: &Context, args: &[&[u8]]) -> Result<Self, Refused> {
        let idle_ms_min = number(args[4], "ERR Invalid min-idle-time argument for XCLAIM")?.max(0);
        let ids: Vec<Id> = args[5..].iter().map_while(|id| ids::exact(id, 0).ok()).collect();
        let mut rest = &args[5 + ids.len()..];
        let mut claim = Self { idle_ms_min, ids, ..Self::default() };
        while let Some(word) = rest.first() {
            let mut used = 2;
            match (word.to_ascii_lowercase().as_slice(), rest.get(1)) {
                (b"force", _) => (claim.force, used) = (true, 1),
                (b"justid", _) => (claim.just_id, used) = (true, 1),
                (b"idle", Some(idle)) => {
                    let idle = number(idle, "ERR Invalid IDLE option argument for XCLAIM")?;
                    claim.at_ms = Some(cx.stamp.0.cast_signed().wrapping_sub(idle));
                }
                (b"time", Some(time)) => {
                    claim.at_ms = Some(number(time, "ERR Invalid TIME option argument for XCLAIM")?);
                }
                (b"retrycount", Some(count)) => {
                    let count = number(count, "ERR Invalid RETRYCOUNT option argument for XCLAIM")?;
                    claim.count = u64::try_from(count).ok();
                }
                (b"lastid", Some(id)) => claim.last = ids::exact(id, 0)?,
                _ => {
                    let word = ids::c_text(word);
                    return Err(Refused::Text(format!("ERR Unrecognized XCLAIM option '{word}'")));
                }
            }
            rest = &rest[used..];
        }
        Ok(claim)
    }
}

fn number(number: &[u8], why: &str) -> Result<i64, Refused> {
    integer(number).map_err(|_| Refused::Text(why.to_owned()))
}

/// Entries that XAUTOCLAIM looks at for each that it may take.
const LOOKS_PER_ENTRY: u64 = 10;
/// Redis' bound: no count times a look or an ID passes 63 bits.
const COUNT_MAX: i64 = i64::MAX / 16;
const COUNT_DEFAULT: u64 = 100;

pub(super) fn xautoclaim(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let idle_ms_min = number(args[4], "ERR Invalid min-idle-time argument for XAUTOCLAIM")?.max(0);
    let from = ids::start(args[5])?;
    let (mut count, mut just_id) = (COUNT_DEFAULT, false);
    let mut rest = &args[6..];
    while let Some(word) = rest.first() {
        match (word.to_ascii_lowercase().as_slice(), rest.get(1)) {
            (b"count", Some(number)) => {
                let number = integer(number).ok().filter(|number| (1..=COUNT_MAX).contains(number));
                let bad = || Refused::Text("ERR COUNT must be > 0".to_owned());
                count = number.and_then(|number| u64::try_from(number).ok()).ok_or_else(bad)?;
                rest = &rest[2..];
            }
            (b"justid", _) => {
                just_id = true;
                rest = &rest[1..];
            }
            _ => return Err(Refused::Syntax),
        }
    }
    check_group(keyspace, cx, args)?;
    in_group(keyspace, cx, args, |entries, group| {
        let mut claiming = Claiming {
            entries,
            group,
            name: args[3],
            cx,
            just_id,
            at_ms: cx.stamp.0,
            count: None,
            consumer: None,
            consumer_made: false,
        };
        let reply = claiming.from(from, idle_ms_min, count);
        (reply, claiming.consumer_made)
    })
}

impl Claiming<'_> {
    /// One entry for XCLAIM: how it is shown, if it was claimed.
    fn one(&mut self, id: Id, idle_ms_min: i64, force: bool) -> Option<Reply> {
        let nack = self.group.nack(id);
        if self.entries.log().get(id).is_none() {
            // What is no longer there is owed no longer.
            self.group.acknowledge(id);
            return None;
        }
        match nack {
            Some(nack) if idle_ms_min > 0 && idle_ms(self.cx, nack) < idle_ms_min => return None,
            None if !force => return None,
            _ => {}
        }
        Some(self.take(id, nack))
    }

    /// Entries from one on, for XAUTOCLAIM: where to go on, what was claimed, what was no longer there.
    fn from(&mut self, from: Id, idle_ms_min: i64, count: u64) -> Reply {
        let mut looks = usize::try_from(count.saturating_mul(LOOKS_PER_ENTRY)).unwrap_or(usize::MAX);
        let (mut left, mut next) = (count, Some(from));
        let (mut claimed, mut gone) = (Vec::new(), Vec::new());
        while looks > 0 && left > 0 {
            let Some((id, nack)) = next.and_then(|next| self.group.pending(next).next()) else {
                next = None;
                break;
            };
            next = id.next();
            looks -= 1;
            if self.entries.log().get(id).is_none() {
                self.group.acknowledge(id);
                gone.push(id.reply());
                left -= 1;
            } else if idle_ms_min == 0 || idle_ms(self.cx, nack) >= idle_ms_min {
                claimed.push(self.take(id, Some(nack)));
                left -= 1;
            }
        }
        let next = next.and_then(|next| self.group.pending(next).next()).map_or(Id::MIN, |(id, _)| id);
        Reply::Array(vec![next.reply(), Reply::Array(claimed), Reply::Array(gone)])
    }

    /// Gives an entry that is there to the consumer.
    fn take(&mut self, id: Id, nack: Option<Nack>) -> Reply {
        let to = self.consumer();
        // An entry that is forced upon a consumer counts as delivered once before.
        let before = nack.map_or(1, |nack| nack.count);
        let more = u64::from(!self.just_id);
        self.group.assign(id, to, self.at_ms, self.count.unwrap_or(before.wrapping_add(more)));
        match self.entries.log().get(id) {
            Some(entry) if !self.just_id => shown(entry),
            _ => id.reply(),
        }
    }

    /// The consumer who claims, made when it gets something.
    fn consumer(&mut self) -> Place {
        let found = self.consumer.or_else(|| self.group.find(self.name));
        self.consumer_made |= found.is_none();
        let place = found.unwrap_or_else(|| self.group.add_consumer(self.name, self.cx.stamp.0));
        self.group.see(place, self.cx.stamp.0);
        self.consumer = Some(place);
        place
    }
}

fn check_group(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Result<(), Refused> {
    let stream = keyspace.container::<Stream>(cx, args[1])?;
    let there = stream.is_some_and(|stream| stream.group(args[2]).is_some());
    if there { Ok(()) } else { Err(no_group(args[1], args[2])) }
}

/// Claims in a group that is there; Redis breaks no WATCH by it.
fn in_group(
    keyspace: &mut Keyspace,
    cx: &Context,
    args: &[&[u8]],
    claim: impl FnOnce(&Entries, &mut Group) -> (Reply, bool),
) -> Outcome {
    let claim = |stream: &mut Stream| (stream.change_group(args[2], claim), Changed::No);
    let told = keyspace.change(cx, args[1], Absent::Leave, claim)?.flatten();
    let (reply, consumer_made) = told.expect("the group is there");
    if consumer_made {
        keyspace.notify(cx.db, Class::Stream, "xgroup-createconsumer", args[1]);
    }
    Ok(reply)
}
