//! ACL: what users may do. There is one user, `default`, who may do everything; with a password if the node was given one.

use super::error;
use crate::shared::Shared;
use data::command::{self, about};
use data::{Refused, Reply};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::io::Read;

const DEFAULT: &[u8] = b"default";
/// Of a password that is made here.
const BITS: u64 = 256;
const BITS_MAX: u64 = 4096;

/// ACL; `sub` in lower case, its arguments behind it.
pub fn acl(shared: &Shared, sub: &[u8], args: &[&[u8]]) -> Reply {
    match (sub, args) {
        (b"whoami", _) => Reply::bulk(DEFAULT),
        (b"users", _) => Reply::Array(vec![Reply::bulk(DEFAULT)]),
        (b"list", _) => {
            let password = password(shared).map_or("nopass".to_owned(), |hash| format!("#{hash}"));
            Reply::Array(vec![Reply::text(format_args!("user default on {password} ~* &* +@all"))])
        }
        (b"getuser", [name]) if *name == DEFAULT => user(shared),
        (b"getuser", _) => Reply::Nil,
        (b"cat", []) => Reply::Array(about::CATEGORIES.map(Reply::text).to_vec()),
        (b"cat", [name]) => category(name),
        (b"dryrun", [name, call @ ..]) => dry_run(name, call),
        (b"genpass", []) => generate(BITS),
        (b"genpass", [bits]) => match std::str::from_utf8(bits).ok().and_then(|bits| bits.parse::<i64>().ok()) {
            Some(bits) => match u64::try_from(bits).ok().filter(|bits| (1..=BITS_MAX).contains(bits)) {
                Some(bits) => generate(bits),
                None => error(
                    "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
                ),
            },
            None => Reply::Error(Refused::NotAnInteger),
        },
        (b"log", []) => Reply::Array(Vec::new()),
        (b"log", [word]) if word.eq_ignore_ascii_case(b"reset") => Reply::Ok,
        (b"log", [count]) => match std::str::from_utf8(count).ok().and_then(|count| count.parse::<i64>().ok()) {
            Some(_) => Reply::Array(Vec::new()),
            None => Reply::Error(Refused::NotAnInteger),
        },
        (b"deluser", names) if names.contains(&DEFAULT) => error("ERR The 'default' user cannot be removed"),
        (b"deluser", _) => Reply::Int(0),
        (b"setuser", _) => error("ERR 'default' is the only user, and may do everything; nothing was changed"),
        _ => error("ERR there is no file of users: 'default' is the only one"),
    }
}

/// The password's hash, as lists of users show it.
fn password(shared: &Shared) -> Option<String> {
    shared.requirepass.as_ref().map(|password| hexadecimal(&Sha256::digest(password)))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn user(shared: &Shared) -> Reply {
    let password = password(shared);
    let mut flags = vec![Reply::text("on")];
    flags.extend(password.is_none().then(|| Reply::text("nopass")));
    let field = |name: &str, value: Reply| (Reply::text(name), value);
    Reply::Map(vec![
        field("flags", Reply::Set(flags)),
        field("passwords", Reply::Array(password.iter().map(Reply::text).collect())),
        field("commands", Reply::text("+@all")),
        field("keys", Reply::text("~*")),
        field("channels", Reply::text("&*")),
        field("selectors", Reply::Array(Vec::new())),
    ])
}

fn category(name: &[u8]) -> Reply {
    let text = String::from_utf8_lossy(name).to_lowercase();
    if !about::CATEGORIES.contains(&text.as_str()) {
        return error(&format!("ERR Unknown category '{}'", String::from_utf8_lossy(name)));
    }
    Reply::Array(command::all().filter(|row| about::is_in(row, &text)).map(|row| Reply::text(row.name)).collect())
}

fn dry_run(name: &[u8], call: &[&[u8]]) -> Reply {
    let shown = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    if name != DEFAULT {
        return error(&format!("ERR User '{}' not found", shown(name)));
    }
    match command::find(call[0]) {
        None => error(&format!("ERR Command '{}' not found", shown(call[0]))),
        Some(row) if !row.accepts(call.len()) => Reply::Error(Refused::Arity(row.name.to_owned())),
        Some(_) => Reply::Ok,
    }
}

/// Chance of so many bits, in hexadecimal digits.
fn generate(bits: u64) -> Reply {
    let digits = usize::try_from(bits.div_ceil(4)).expect("some thousands");
    let mut bytes = vec![0; digits.div_ceil(2)];
    match std::fs::File::open("/dev/urandom").and_then(|mut chance| chance.read_exact(&mut bytes)) {
        Ok(()) => Reply::text(&hexadecimal(&bytes)[..digits]),
        Err(why) => error(&format!("ERR no chance could be had: {why}")),
    }
}
