//! Commands about the node itself: INFO, CONFIG, CLIENT LIST and KILL, COMMAND, DEBUG.

mod info;

use crate::clients::Card;
use crate::clock;
use crate::lane::Conn;
use crate::meters::totals::Totals;
use crate::shared::{Input, Shared, lock};
use base::Instant;
use data::{Command, Refused, Reply};

/// Runs a command of [`data::Run::Node`].
pub fn run(shared: &Shared, lane: usize, conn: &Conn, command: &Command, args: &[&[u8]]) -> Reply {
    let sub = args.get(1).map(|arg| arg.to_ascii_lowercase()).unwrap_or_default();
    match (command.name, sub.as_slice()) {
        ("info", _) => Reply::Verbatim(info::info(shared, &args[1..])),
        ("command", _) => data::command::docs::command(args).into(),
        ("config", b"get") if args.len() >= 3 => config_get(shared, &args[2..]),
        ("config", b"set") => error("ERR CONFIG SET: no setting can be changed while the node runs; use its flags"),
        ("config", b"resetstat") => {
            *lock(&shared.reset_at) = Totals::of(shared);
            Reply::Ok
        }
        ("client", b"list") => Reply::text(list(shared)),
        ("client", b"info") => {
            let clients = lock(&shared.clients);
            Reply::text(clients.get(&conn.number).map(|card| line(conn.number, card)).unwrap_or_default())
        }
        ("client", b"kill") => kill(shared, lane, conn, &args[2..]),
        ("debug", b"sleep") => error("ERR DEBUG SLEEP would stop every client of this lane: it is not offered"),
        ("debug", b"error") if args.len() == 3 => error(&String::from_utf8_lossy(args[2])),
        _ => error(&format!(
            "ERR unknown subcommand '{}'. Try {} HELP.",
            String::from_utf8_lossy(args.get(1).copied().unwrap_or_default()),
            command.name.to_uppercase()
        )),
    }
}

/// The answer to writes while the disk has no room.
pub fn disk_full() -> Reply {
    error(
        "MISCONF the disk has no room for the write-ahead log; nothing was changed. Reads go on. \
         Free space in the data directory and writes go on by themselves",
    )
}

/// Keeps the client's card true; its lane calls this when the session has answered by itself.
pub fn note_session(shared: &Shared, conn: &Conn) {
    let (Some(command), _) = conn.session.last() else { return };
    if !matches!(command.name, "client" | "hello" | "reset") {
        return;
    }
    let mut clients = lock(&shared.clients);
    let Some(card) = clients.get_mut(&conn.number) else { return };
    card.name = conn.session.name().to_vec();
    card.lib_name = conn.session.lib_name().to_vec();
    card.lib_ver = conn.session.lib_ver().to_vec();
}

fn error(text: &str) -> Reply {
    Reply::Error(Refused::Text(text.to_owned()))
}

fn config_get(shared: &Shared, patterns: &[&[u8]]) -> Reply {
    let settings = [
        ("appendfsync", "always".to_owned()),
        ("appendonly", "yes".to_owned()),
        ("bind", "127.0.0.1".to_owned()),
        ("databases", "16".to_owned()),
        ("dir", shared.dir.display().to_string()),
        ("maxmemory", "0".to_owned()),
        ("maxmemory-policy", "noeviction".to_owned()),
        ("port", shared.ports.resp.to_string()),
        ("proto-max-bulk-len", base::limits::BULK_BYTES_MAX.to_string()),
        ("requirepass", shared.requirepass.as_ref().map_or(String::new(), |p| String::from_utf8_lossy(p).into_owned())),
        ("save", String::new()),
    ];
    let matching = settings.iter().filter(|(name, _)| {
        patterns.iter().any(|pattern| data::command::glob::glob(&pattern.to_ascii_lowercase(), name.as_bytes()))
    });
    Reply::Map(matching.map(|(name, value)| (Reply::text(name), Reply::text(value))).collect())
}

fn list(shared: &Shared) -> String {
    lock(&shared.clients).iter().fold(String::new(), |out, (number, card)| out + &line(*number, card))
}

fn line(number: u64, card: &Card) -> String {
    let (seen, now) = (card.vitals.see(), clock::boot());
    let seconds = |since: Instant| now.since_ns(since) / 1_000_000_000;
    let queued = seen.queued.map_or("-1".to_owned(), |count| count.to_string());
    let row = seen.command.and_then(|id| data::command::by_id(u64::from(id)));
    format!(
        "id={number} addr={} laddr={} fd=-1 name={} age={} idle={} flags={} db={} sub=0 psub=0 ssub=0 multi={queued} \
         qbuf={} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl={} oll=0 omem=0 tot-mem={} events=r cmd={} \
         user=default redir=-1 resp={} lib-name={} lib-ver={}\n",
        card.addr,
        card.laddr,
        String::from_utf8_lossy(&card.name),
        seconds(card.since),
        seconds(seen.active_at),
        if seen.queued.is_some() { "x" } else { "N" },
        seen.db,
        seen.input_bytes,
        seen.output_bytes,
        seen.buffer_bytes,
        row.map_or("NULL", |row| row.name),
        seen.resp,
        String::from_utf8_lossy(&card.lib_name),
        String::from_utf8_lossy(&card.lib_ver),
    )
}

/// CLIENT KILL addr, or filters ID, ADDR, LADDR, SKIPME.
fn kill(shared: &Shared, lane: usize, conn: &Conn, args: &[&[u8]]) -> Reply {
    let _ = lane;
    if let [addr] = args {
        let wanted = String::from_utf8_lossy(addr);
        let hit = lock(&shared.clients).values().find(|card| card.addr.to_string() == wanted).cloned();
        return hit.map_or_else(
            || error("ERR No such client"),
            |card| {
                shared.mailboxes[card.lane].put(Input::Kill(card.handle));
                Reply::Ok
            },
        );
    }
    let mut skip_me = true;
    let mut filters = Vec::new();
    for pair in args.chunks(2) {
        let [name, value] = pair else { return Reply::Error(Refused::Syntax) };
        let value = String::from_utf8_lossy(value).into_owned();
        match name.to_ascii_lowercase().as_slice() {
            b"skipme" => skip_me = !value.eq_ignore_ascii_case("no"),
            b"id" if value.parse::<u64>().is_err() => return error("ERR client-id should be greater than 0"),
            b"id" | b"addr" | b"laddr" => filters.push((name.to_ascii_lowercase(), value)),
            _ => return Reply::Error(Refused::Syntax),
        }
    }
    let matches = |number: u64, card: &Card| {
        filters.iter().all(|(name, value)| match name.as_slice() {
            b"id" => *value == number.to_string(),
            b"addr" => *value == card.addr.to_string(),
            _ => *value == card.laddr.to_string(),
        }) && !(skip_me && number == conn.number)
    };
    let hits: Vec<Card> = lock(&shared.clients)
        .iter()
        .filter(|(number, card)| matches(**number, card))
        .map(|(_, card)| card.clone())
        .collect();
    for card in &hits {
        shared.mailboxes[card.lane].put(Input::Kill(card.handle));
    }
    Reply::count(hits.len())
}
