//! `tidegate locks`: who holds which locks, and who waits, as a table; by the admin port's /v1/locks.
//!
//! Names and owners are whatever clients made of them, so what a terminal would obey is shown escaped.

use super::table::{Cell, Paint, Tone, aligned, head, list, word};
use super::{ask_of_dir, get, paint};
use crate::cli::Locks;
use serde_json::{Value, json};
use std::error::Error;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Between two looks of `--watch`.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Clears a terminal.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Prints the locks of a node, once or again and again.
pub fn run(options: &Locks) -> Result<(), Box<dyn Error>> {
    let admin = match &options.admin {
        Some(address) => address.clone(),
        None => ask_of_dir(&options.dir)?.0,
    };
    let mut stdout = std::io::stdout().lock();
    let terminal = stdout.is_terminal();
    let mut first = true;
    loop {
        let locks =
            look(&admin, options).map_err(|error| format!("the node at {admin} doesn't tell its locks: {error}"))?;
        let text = match (options.json, terminal) {
            (true, _) => format!("{}\n", json!({ "locks": locks })),
            (false, true) if options.watch => format!("{CLEAR}{}", table(&locks, paint(terminal))),
            (false, _) if first => table(&locks, paint(terminal)),
            (false, _) => format!("\n{}", table(&locks, paint(terminal))),
        };
        stdout.write_all(text.as_bytes())?;
        stdout.flush()?;
        if !options.watch {
            return Ok(());
        }
        first = false;
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The locks that the node lists, each as a majority knows it; what was given back meanwhile is left out.
fn look(admin: &str, options: &Locks) -> Result<Vec<Value>, Box<dyn Error>> {
    let password = options.password.as_deref();
    let like = options.like.as_ref().map_or(String::new(), |like| format!("&match={}", escaped(like)));
    let listed: Value =
        serde_json::from_str(&get(admin, &format!("/v1/locks?count={}{like}", options.count), password)?)?;
    let mut locks = Vec::new();
    for one in list(&listed["locks"]) {
        let path = one["path"].as_str().ok_or("what answers is no node")?;
        let lock: Value = serde_json::from_str(&get(admin, path, password)?)?;
        if lock["mode"] != "free" {
            locks.push(lock);
        }
    }
    Ok(locks)
}

fn escaped(text: &str) -> String {
    crate::http::spelling::encode(text.as_bytes())
}

const COLUMNS: [&str; 8] = ["lock", "mode", "fence", "waiting", "owner", "token", "renewals", "left"];

/// A row for each holder.
fn table(locks: &[Value], paint: Paint) -> String {
    let holders: usize = locks.iter().map(|lock| list(&lock["holders"]).len()).sum();
    let waiting: u64 = locks.iter().filter_map(|lock| lock["waiting"].as_u64()).sum();
    let mut out = format!("locks: {}, held by {holders}, waited for by {waiting}\n", locks.len());
    if !locks.is_empty() {
        let rows: Vec<Vec<Cell>> = std::iter::once(head(&COLUMNS)).chain(locks.iter().flat_map(rows)).collect();
        out += &aligned(&rows, paint);
    }
    out
}

fn rows(lock: &Value) -> Vec<Vec<Cell>> {
    let usual = |text: String| (text, Tone::Usual);
    let mode = match lock["permits"].as_u64() {
        Some(of) => {
            let taken: u64 = list(&lock["holders"]).iter().filter_map(|holder| holder["weight"].as_u64()).sum();
            format!("permits {taken}/{of}")
        }
        None => word(&lock["mode"]),
    };
    // Permits have no fence.
    let fence = if lock["permits"].is_null() { word(&lock["fence"]) } else { "-".to_owned() };
    let waiting = (word(&lock["waiting"]), if lock["waiting"] == 0 { Tone::Usual } else { Tone::Look });
    let row = |holder: &Value| {
        let left_ms = holder["remaining_ms"].as_u64().unwrap_or(0);
        let left = (duration(left_ms), if left_ms == 0 { Tone::Broken } else { Tone::Well });
        let mut row = vec![usual(shown(&lock["name"])), usual(mode.clone()), usual(fence.clone()), waiting.clone()];
        row.extend([shown(&holder["owner"]), word(&holder["token"]), word(&holder["renewals"])].map(usual));
        row.push(left);
        row
    };
    list(&lock["holders"]).iter().map(row).collect()
}

/// Text of a client, without what a terminal would obey, and not without end.
fn shown(value: &Value) -> String {
    let text = word(value);
    let mut out = String::new();
    for one in text.chars().take(SHOWN_MAX) {
        if one.is_control() { out.extend(one.escape_default()) } else { out.push(one) }
    }
    if text.chars().nth(SHOWN_MAX).is_some() { out + ".." } else { out }
}

const SHOWN_MAX: usize = 60;

fn duration(ms: u64) -> String {
    match ms {
        0 => "0".to_owned(),
        1..10_000 => format!("{ms} ms"),
        10_000..600_000 => format!("{} s", ms / 1_000),
        _ => format!("{} min", ms / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_row_for_each_holder_and_nothing_for_the_terminal_to_obey() {
        let holder = |owner: &str, left: u64| json!({ "owner": owner, "token": "7", "renewals": 2, "remaining_ms": left, "weight": 2 });
        let locks = [
            json!({ "name": "a\x1b[2J", "mode": "shared", "fence": "5", "waiting": 3, "holders": [holder("x", 29_999), holder("y", 0)] }),
            json!({ "name": "ü", "mode": "permits", "permits": 5, "fence": "0", "waiting": 0, "holders": [holder("z", 3_600_000)] }),
        ];
        let plain = "locks: 2, held by 3, waited for by 3\n\
                     lock        mode         fence  waiting  owner  token  renewals  left\n\
                     a\\u{1b}[2J  shared       5      3        x      7      2         29 s\n\
                     a\\u{1b}[2J  shared       5      3        y      7      2         0\n\
                     ü           permits 2/5  -      0        z      7      2         60 min\n";
        assert_eq!(table(&locks, Paint::Plain), plain);
        let colours = table(&locks, Paint::Colours);
        for painted in ["\x1b[33m3\x1b[0m ", "\x1b[31m0\x1b[0m\n", "\x1b[32m29 s\x1b[0m\n"] {
            assert!(colours.contains(painted), "{colours:?}");
        }
        assert_eq!(table(&[], Paint::Plain), "locks: 0, held by 0, waited for by 0\n");
        assert_eq!(shown(&json!("n".repeat(70))).len(), 62);
    }
}
