//! CLIENT LIST, INFO and KILL: the connections of the node; and CLIENT PAUSE, which holds all of them back.

use super::error;
use crate::clients::Card;
use crate::clock;
use crate::lane::{Conn, tell_resumed};
use crate::shared::{Input, Shared, lock};
use base::{ClientId, Instant};
use data::command::containers;
use data::waits::How;
use data::{Refused, Reply};

/// CLIENT; `sub` in lower case, its arguments behind it.
pub fn client(shared: &Shared, conn: &Conn, sub: &[u8], args: &[&[u8]]) -> Reply {
    match sub {
        b"list" => list(shared, args),
        b"info" => {
            let clients = lock(&shared.clients);
            let card = clients.get(&conn.number);
            Reply::Verbatim(card.map(|card| line(conn.number, card)).unwrap_or_default())
        }
        b"pause" => pause(shared, args),
        b"unpause" => {
            tell_resumed(shared);
            Reply::Ok
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
        let card = clients.get(&self.id).filter(|card| card.vitals.see().flags.blocked)?;
        Some((card.lane, card.handle))
    }
}

fn list(shared: &Shared, args: &[&[u8]]) -> Reply {
    let filter = match args {
        [] => Filter::default(),
        [word, kind] if word.eq_ignore_ascii_case(b"type") => match Kind::parse(kind) {
            Ok(kind) => Filter { kind: Some(kind), ..Filter::default() },
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
    Reply::Verbatim(wanted.map(|(number, card)| line(*number, card)).collect())
}

/// CLIENT PAUSE timeout_ms [WRITE|ALL]
fn pause(shared: &Shared, args: &[&[u8]]) -> Reply {
    let all = match args {
        [_] => true,
        [_, mode] if mode.eq_ignore_ascii_case(b"all") => true,
        [_, mode] if mode.eq_ignore_ascii_case(b"write") => false,
        [_, _] => return error("ERR CLIENT PAUSE mode must be WRITE or ALL"),
        _ => return error("ERR unknown subcommand or wrong number of arguments for 'pause'. Try CLIENT HELP."),
    };
    let ms: Option<i64> = std::str::from_utf8(args[0]).ok().and_then(|text| text.parse().ok());
    match ms.map(u64::try_from) {
        None => error("ERR timeout is not an integer or out of range"),
        Some(Err(_)) => error("ERR timeout is negative"),
        Some(Ok(ms)) => {
            shared.pause.begin(clock::boot(), ms, all);
            Reply::Ok
        }
    }
}

/// A client's line.
fn line(number: u64, card: &Card) -> String {
    let (seen, now) = (card.vitals.see(), clock::boot());
    let seconds = |since: Instant| now.since_ns(since) / 1_000_000_000;
    let signed = |value: Option<u64>| value.map_or("-1".to_owned(), |count| count.to_string());
    let command = seen.command.and_then(|id| data::command::by_id(u64::from(id)));
    let command = command.map_or("NULL".to_owned(), |row| containers::full_name(row, seen.sub));
    let [channels, patterns, shard_channels] = seen.subscriptions;
    let total_bytes = seen.input_bytes + seen.input_room_bytes + seen.output_room_bytes + seen.shared_bytes;
    format!(
        "id={number} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={channels} psub={patterns} \
         ssub={shard_channels} multi={} qbuf={} qbuf-free={} argv-mem=0 multi-mem=0 rbs={} rbp={} obl={} oll={} omem={} \
         tot-mem={total_bytes} events={} cmd={command} user=default redir={} resp={} lib-name={} lib-ver={} tot-net-in={} \
         tot-net-out={}\n",
        card.addr,
        card.laddr,
        card.descriptor,
        String::from_utf8_lossy(&card.name),
        seconds(card.since),
        seconds(seen.active_at),
        seen.flags,
        seen.db,
        signed(seen.queued),
        seen.input_bytes,
        seen.input_room_bytes,
        seen.output_room_bytes,
        seen.output_bytes,
        seen.output_bytes,
        seen.shared_count,
        seen.shared_bytes,
        if seen.output_bytes + seen.shared_bytes > 0 { "rw" } else { "r" },
        signed(seen.redirect),
        seen.resp,
        String::from_utf8_lossy(&card.lib_name),
        String::from_utf8_lossy(&card.lib_ver),
        seen.read_bytes,
        seen.written_bytes,
    )
}

/// Which clients are meant; what is not given takes all.
#[derive(Debug, Default)]
struct Filter {
    ids: Option<Vec<u64>>,
    addr: Option<String>,
    laddr: Option<String>,
    not: Option<u64>,
    kind: Option<Kind>,
}

/// Types of clients as Redis has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Pubsub,
    /// Of another server: nobody here is.
    Server,
}

impl Kind {
    fn parse(word: &[u8]) -> Result<Self, Reply> {
        match word.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Self::Normal),
            b"pubsub" => Ok(Self::Pubsub),
            b"master" | b"slave" | b"replica" => Ok(Self::Server),
            _ => Err(error(&format!("ERR Unknown client type '{}'", String::from_utf8_lossy(word)))),
        }
    }

    fn of(card: &Card) -> Self {
        if card.vitals.see().flags.subscribed { Self::Pubsub } else { Self::Normal }
    }
}

impl Filter {
    fn takes(&self, number: u64, card: &Card) -> bool {
        self.not != Some(number)
            && self.kind.is_none_or(|kind| kind == Kind::of(card))
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&number))
            && self.addr.as_ref().is_none_or(|addr| *addr == card.addr.to_string())
            && self.laddr.as_ref().is_none_or(|laddr| *laddr == card.laddr.to_string())
    }

    /// The filters of CLIENT KILL by the client `own`.
    fn of_kill(own: u64, args: &[&[u8]]) -> Result<Self, Reply> {
        let mut filter = Self { not: Some(own), ..Self::default() };
        for pair in args.chunks(2) {
            let [name, value] = pair else { return Err(Reply::Error(Refused::Syntax)) };
            let text = String::from_utf8_lossy(value).into_owned();
            // As in Redis, the last filter of a kind counts.
            match (name.to_ascii_lowercase().as_slice(), text.to_ascii_lowercase().as_str()) {
                (b"id", _) => match number(value) {
                    Some(id) if id > 0 => filter.ids = Some(vec![id]),
                    _ => return Err(error("ERR client-id should be greater than 0")),
                },
                (b"type", _) => filter.kind = Some(Kind::parse(value)?),
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
