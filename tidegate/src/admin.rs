//! Commands about the node itself: INFO, CONFIG, CLIENT LIST and KILL, COMMAND, DEBUG.

use crate::lane::Conn;
use crate::shared::{Card, Input, Shared, lock};
use data::{Command, Refused, Reply};
use std::fmt::Write;
use std::sync::atomic::Ordering;

/// Runs a command of [`data::Run::Node`].
pub fn run(shared: &Shared, lane: usize, conn: &Conn, command: &Command, args: &[&[u8]]) -> Reply {
    let sub = args.get(1).map(|arg| arg.to_ascii_lowercase()).unwrap_or_default();
    match (command.name, sub.as_slice()) {
        ("info", _) => Reply::Verbatim(info(shared, &args[1..])),
        ("command", _) => data::command::docs::command(args).into(),
        ("config", b"get") if args.len() >= 3 => config_get(shared, &args[2..]),
        ("config", b"set") => error("ERR CONFIG SET: no setting can be changed while the node runs; use its flags"),
        ("config", b"resetstat") => {
            shared.commands.store(0, Ordering::Relaxed);
            shared.connections.store(0, Ordering::Relaxed);
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

/// Keeps the client's line in CLIENT LIST true.
pub fn note_session(shared: &Shared, conn: &Conn) {
    let session = &conn.session;
    let mut clients = lock(&shared.clients);
    let Some(card) = clients.get_mut(&conn.number) else { return };
    if card.name != session.name() {
        card.name = session.name().to_vec();
    }
    card.lib_name = session.lib_name().to_vec();
    card.lib_ver = session.lib_ver().to_vec();
    card.db = session.db();
    card.resp = session.resp();
}

fn error(text: &str) -> Reply {
    Reply::Error(Refused::Text(text.to_owned()))
}

fn info(shared: &Shared, sections: &[&[u8]]) -> String {
    let wanted = |name: &str| {
        let every =
            sections.iter().any(|s| matches!(s.to_ascii_lowercase().as_slice(), b"all" | b"default" | b"everything"));
        sections.is_empty() || every || sections.iter().any(|s| s.eq_ignore_ascii_case(name.as_bytes()))
    };
    let mut out = String::new();
    let mut section = |name: &str, lines: &[(&str, String)]| {
        if wanted(name) {
            let separator = if out.is_empty() { "" } else { "\r\n" };
            let body = lines.iter().fold(String::new(), |mut body, (key, value)| {
                let _ = write!(body, "{key}:{value}\r\n");
                body
            });
            let _ = write!(out, "{separator}# {name}\r\n{body}");
        }
    };
    let uptime = shared.started.elapsed().as_secs();
    section(
        "Server",
        &[
            ("redis_version", "7.0.15".into()),
            ("redis_mode", "standalone".into()),
            ("tidegate_version", env!("CARGO_PKG_VERSION").into()),
            ("os", std::env::consts::OS.into()),
            ("arch_bits", "64".into()),
            ("process_id", std::process::id().to_string()),
            ("tcp_port", shared.ports.resp.to_string()),
            ("uptime_in_seconds", uptime.to_string()),
            ("uptime_in_days", (uptime / 86_400).to_string()),
        ],
    );
    section(
        "Clients",
        &[("connected_clients", lock(&shared.clients).len().to_string()), ("blocked_clients", "0".into())],
    );
    let rss = rss_bytes();
    section(
        "Memory",
        &[
            ("used_memory", rss.to_string()),
            ("used_memory_rss", rss.to_string()),
            ("used_memory_human", format!("{:.2}M", rss_mib(rss))),
            ("maxmemory", "0".into()),
            ("maxmemory_policy", "noeviction".into()),
        ],
    );
    section(
        "Persistence",
        &[
            ("loading", "0".into()),
            ("aof_enabled", "1".into()),
            ("aof_last_write_status", if shared.disk_full.load(Ordering::Relaxed) { "err" } else { "ok" }.into()),
        ],
    );
    section(
        "Stats",
        &[
            ("total_connections_received", shared.connections.load(Ordering::Relaxed).to_string()),
            ("total_commands_processed", shared.commands.load(Ordering::Relaxed).to_string()),
        ],
    );
    section("Replication", &[("role", "master".into()), ("connected_slaves", "0".into())]);
    section("Cluster", &[("cluster_enabled", "0".into())]);
    let keys = key_lines(shared);
    section("Keyspace", &keys.iter().map(|(name, line)| (name.as_str(), line.clone())).collect::<Vec<_>>());
    out
}

fn key_lines(shared: &Shared) -> Vec<(String, String)> {
    let lanes = lock(&shared.keys);
    (0..16)
        .map(|db| lanes.iter().fold((0, 0), |sum, lane| (sum.0 + lane[db].0, sum.1 + lane[db].1)))
        .enumerate()
        .filter(|(_, (keys, _))| *keys > 0)
        .map(|(db, (keys, expires))| (format!("db{db}"), format!("keys={keys},expires={expires},avg_ttl=0")))
        .collect()
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
    format!(
        "id={number} addr={} laddr={} fd=0 name={} age={} idle=0 flags=N db={} sub=0 psub=0 ssub=0 multi=-1 \
         qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=NULL \
         user=default redir=-1 resp={} lib-name={} lib-ver={}\n",
        card.addr,
        card.laddr,
        String::from_utf8_lossy(&card.name),
        card.since.elapsed().as_secs(),
        card.db,
        card.resp,
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

/// Resident memory of this process, or 0 where the kernel doesn't tell.
fn rss_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = pages.split(' ').nth(1).and_then(|field| field.parse().ok()).unwrap_or(0);
    pages * 4096
}

fn rss_mib(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) / 1024.0
}
