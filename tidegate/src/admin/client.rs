//! CLIENT LIST, INFO and KILL: the connections of the node.

use super::error;
use crate::clients::Card;
use crate::clock;
use crate::lane::Conn;
use crate::shared::{Input, Shared, lock};
use base::{ClientId, Instant};
use data::waits::How;
use data::{Refused, Reply};

/// CLIENT; `sub` in lower case, its arguments behind it.
pub fn client(shared: &Shared, conn: &Conn, sub: &[u8], args: &[&[u8]]) -> Reply {
    match sub {
        b"list" => list(shared, conn, args),
        b"info" => {
            let clients = lock(&shared.clients);
            let card = clients.get(&conn.number);
            Reply::text(card.map(|card| line(conn.number, card, "client|info")).unwrap_or_default())
        }
        // A transaction is answered as a whole and at once: there it is not known yet whether something was served meanwhile.
        b"unblock" => match Unblock::parse(args) {
            Err(refused) => refused,
            Ok(unblock) => match unblock.target(shared) {
                None => Reply::Int(0),
                Some((lane, client)) => {
                    shared.mailboxes[lane].put(Input::Unblock { client, how: unblock.how, asker: None });
                    Reply::Int(1)
                }
            },
        },
        _ => kill(shared, conn, args),
    }
}

/// CLIENT UNBLOCK.
#[derive(Debug, PartialEq, Eq)]
pub struct Unblock {
    id: u64,
    pub how: How,
}

impl Unblock {
    /// Reads the arguments behind the subcommand.
    pub fn parse(args: &[&[u8]]) -> Result<Self, Reply> {
        let how = match args.get(1).map(|word| word.to_ascii_lowercase()).as_deref() {
            None | Some(b"timeout") => How::Nil,
            Some(b"error") => How::Error,
            Some(_) => return Err(error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
        };
        if args.len() > 2 {
            return Err(Reply::Error(Refused::Syntax));
        }
        let id = number(args.first().copied().unwrap_or_default()).ok_or(Reply::Error(Refused::NotAnInteger))?;
        Ok(Self { id, how })
    }

    /// The lane and the handle of the client, if it waits.
    pub fn target(&self, shared: &Shared) -> Option<(usize, ClientId)> {
        let clients = lock(&shared.clients);
        let card = clients.get(&self.id).filter(|card| card.vitals.see().blocked)?;
        Some((card.lane, card.handle))
    }
}

fn list(shared: &Shared, conn: &Conn, args: &[&[u8]]) -> Reply {
    let filter = match args {
        [] => Filter::default(),
        [word, kind] if word.eq_ignore_ascii_case(b"type") => match Filter::of_type(kind) {
            Ok(filter) => filter,
            Err(refused) => return refused,
        },
        [word, ids @ ..] if word.eq_ignore_ascii_case(b"id") && !ids.is_empty() => {
            let ids: Option<Vec<u64>> = ids.iter().map(|id| number(id)).collect();
            let Some(ids) = ids else { return error("ERR Invalid client ID") };
            Filter { ids: Some(ids), ..Filter::default() }
        }
        _ => return Reply::Error(Refused::Syntax),
    };
    let clients = lock(&shared.clients);
    let wanted = clients.iter().filter(|(number, card)| filter.takes(**number, card));
    let lines =
        wanted.map(|(number, card)| line(*number, card, if *number == conn.number { "client|list" } else { "" }));
    Reply::text(lines.collect::<String>())
}

/// A client's line. `running` is what it runs at this moment, or empty.
fn line(number: u64, card: &Card, running: &str) -> String {
    let (seen, now) = (card.vitals.see(), clock::boot());
    let seconds = |since: Instant| now.since_ns(since) / 1_000_000_000;
    let queued = seen.queued.map_or("-1".to_owned(), |count| count.to_string());
    let last = seen.command.and_then(|id| data::command::by_id(u64::from(id))).map_or("NULL", |row| row.name);
    format!(
        "id={number} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub=0 psub=0 ssub=0 multi={queued} \
         qbuf={} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl={} oll=0 omem=0 tot-mem={} events=r cmd={} \
         user=default redir=-1 resp={} lib-name={} lib-ver={}\n",
        card.addr,
        card.laddr,
        card.descriptor,
        String::from_utf8_lossy(&card.name),
        seconds(card.since),
        seconds(seen.active_at),
        match (seen.blocked, seen.queued) {
            (true, _) => "b",
            (_, Some(_)) => "x",
            _ => "N",
        },
        seen.db,
        seen.input_bytes,
        seen.output_bytes,
        seen.buffer_bytes,
        if running.is_empty() { last } else { running },
        seen.resp,
        String::from_utf8_lossy(&card.lib_name),
        String::from_utf8_lossy(&card.lib_ver),
    )
}

/// Which clients are meant; what is not given takes all.
#[derive(Debug, Default)]
struct Filter {
    ids: Option<Vec<u64>>,
    addr: Option<String>,
    laddr: Option<String>,
    not: Option<u64>,
    /// A type was asked for that no client here is of.
    nobody: bool,
}

impl Filter {
    fn takes(&self, number: u64, card: &Card) -> bool {
        !self.nobody
            && self.not != Some(number)
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&number))
            && self.addr.as_ref().is_none_or(|addr| *addr == card.addr.to_string())
            && self.laddr.as_ref().is_none_or(|laddr| *laddr == card.laddr.to_string())
    }

    /// By a type of client as Redis has them: all clients here are normal ones.
    fn of_type(kind: &[u8]) -> Result<Self, Reply> {
        match kind.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Self::default()),
            b"master" | b"slave" | b"replica" | b"pubsub" => Ok(Self { nobody: true, ..Self::default() }),
            _ => Err(error(&format!("ERR Unknown client type '{}'", String::from_utf8_lossy(kind)))),
        }
    }

    /// The filters of CLIENT KILL by the client `own`.
    fn of_kill(own: u64, args: &[&[u8]]) -> Result<Self, Reply> {
        let mut filter = Self { not: Some(own), ..Self::default() };
        for pair in args.chunks(2) {
            let [name, value] = pair else { return Err(Reply::Error(Refused::Syntax)) };
            let text = String::from_utf8_lossy(value).into_owned();
            match (name.to_ascii_lowercase().as_slice(), text.to_ascii_lowercase().as_str()) {
                (b"id", _) => match number(value) {
                    Some(id) if id > 0 => filter.ids = Some(vec![id]),
                    _ => return Err(error("ERR client-id should be greater than 0")),
                },
                (b"type", _) => filter.nobody |= Self::of_type(value)?.nobody,
                (b"addr", _) => filter.addr = Some(text),
                (b"laddr", _) => filter.laddr = Some(text),
                (b"user", "default") | (b"skipme", "yes") => {}
                (b"user", _) => return Err(error(&format!("ERR No such user '{text}'"))),
                (b"skipme", "no") => filter.not = None,
                _ => return Err(Reply::Error(Refused::Syntax)),
            }
        }
        Ok(filter)
    }
}

/// CLIENT KILL addr, or by filters. The connections close when their lanes have finished the turn.
fn kill(shared: &Shared, conn: &Conn, args: &[&[u8]]) -> Reply {
    let by_addr = |addr: &[u8]| Filter { addr: Some(String::from_utf8_lossy(addr).into_owned()), ..Filter::default() };
    let filter = match args {
        [addr] => Ok(by_addr(addr)),
        _ => Filter::of_kill(conn.number, args),
    };
    let filter = match filter {
        Ok(filter) => filter,
        Err(refused) => return refused,
    };
    let clients = lock(&shared.clients);
    let hit: Vec<&Card> =
        clients.iter().filter(|(number, card)| filter.takes(**number, card)).map(|(_, card)| card).collect();
    for card in &hit {
        shared.mailboxes[card.lane].put(Input::Kill(card.handle));
    }
    match (args, hit.len()) {
        ([_], 0) => error("ERR No such client"),
        ([_], _) => Reply::Ok,
        (_, count) => Reply::count(count),
    }
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
