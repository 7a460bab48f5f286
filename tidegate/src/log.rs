//! The log: one line on stderr for each thing that an operator should know of.
//!
//! ```text
//! 2026-11-21T06:33:39.123Z warn keeper the snapshot was given up shard=0 error="no space left"
//! {"time":"2026-11-21T06:33:39.123Z","level":"warn","area":"keeper","message":"the snapshot was given up","shard":"0",..}
//! ```
//!
//! Nothing is logged on a request's way, so there is no buffer and no thread. Level and format belong to the process
//! as stderr does, and CONFIG SET may change the level: they are the two globals of the binary. A logging framework
//! would bring some fifteen packages for what is a hundred lines here.

use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::sync::atomic::{AtomicU8, Ordering};

/// How much a line matters; a level shows what matters as much or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// What a line tells besides its message.
pub type Fields<'a> = &'a [(&'a str, &'a dyn Display)];

static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);
static FORMAT: AtomicU8 = AtomicU8::new(Format::Text as u8);

const LEVELS: [(Level, &str, &str); 5] = [
    (Level::Error, "error", "warning"),
    (Level::Warn, "warn", "warning"),
    (Level::Info, "info", "notice"),
    (Level::Debug, "debug", "verbose"),
    (Level::Trace, "trace", "debug"),
];

/// The process begins to log.
pub fn start(level: Level, format: Format) {
    level.set();
    FORMAT.store(format as u8, Ordering::Relaxed);
}

pub fn error(area: &str, message: &str, fields: Fields<'_>) {
    log(Level::Error, area, message, fields);
}

pub fn warn(area: &str, message: &str, fields: Fields<'_>) {
    log(Level::Warn, area, message, fields);
}

pub fn info(area: &str, message: &str, fields: Fields<'_>) {
    log(Level::Info, area, message, fields);
}

pub fn debug(area: &str, message: &str, fields: Fields<'_>) {
    log(Level::Debug, area, message, fields);
}

impl Level {
    /// The level that is set.
    pub fn current() -> Self {
        LEVELS[usize::from(LEVEL.load(Ordering::Relaxed))].0
    }

    /// From now on.
    pub fn set(self) {
        LEVEL.store(self as u8, Ordering::Relaxed);
    }

    /// What CONFIG GET loglevel tells.
    pub fn redis_name(self) -> &'static str {
        LEVELS[self as usize].2
    }

    /// The level of a word that CONFIG SET loglevel takes.
    pub fn of_redis(word: &str) -> Self {
        LEVELS.iter().rev().find(|(_, _, name)| *name == word).map_or(Self::Info, |(level, ..)| *level)
    }

    fn name(self) -> &'static str {
        LEVELS[self as usize].1
    }
}

fn log(level: Level, area: &str, message: &str, fields: Fields<'_>) {
    if level > Level::current() {
        return;
    }
    let json = FORMAT.load(Ordering::Relaxed) == Format::Json as u8;
    let write = if json { json_line } else { text_line };
    let line = write(&time(crate::clock::wall_ms()), level.name(), area, message, fields);
    // A closed stderr is no reason to stop serving.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

fn text_line(time: &str, level: &str, area: &str, message: &str, fields: Fields<'_>) -> String {
    let mut line = format!("{time} {level} {area} {}", message.replace('\n', " "));
    for (key, value) in fields {
        let value = value.to_string();
        let bare = !value.is_empty() && !value.contains([' ', '"', '=', '\\']) && !value.contains(char::is_control);
        let _ = if bare { write!(line, " {key}={value}") } else { write!(line, " {key}={}", quoted(&value)) };
    }
    line.push('\n');
    line
}

fn json_line(time: &str, level: &str, area: &str, message: &str, fields: Fields<'_>) -> String {
    let mut line = format!("{{\"time\":\"{time}\",\"level\":\"{level}\",\"area\":\"{area}\"");
    let _ = write!(line, ",\"message\":{}", quoted(message));
    for (key, value) in fields {
        let _ = write!(line, ",\"{key}\":{}", quoted(&value.to_string()));
    }
    line.push_str("}\n");
    line
}

/// As JSON has strings.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// RFC 3339 in UTC, from milliseconds since the epoch.
pub fn time(ms: u64) -> String {
    let (days, second) = (ms / 86_400_000, ms / 1000 % 86_400);
    // Days are counted from 1 March of year 0, so that the leap day is the last of its year; eras have 400 years.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + carry;
    let (hour, minute, second, ms) = (second / 3600, second / 60 % 60, second % 60, ms % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(time(951_868_799_999), "2000-02-29T23:59:59.999Z");
        assert_eq!(time(1_709_251_200_000), "2024-03-01T00:00:00.000Z");
        assert_eq!(time(4_102_444_799_001), "2099-12-31T23:59:59.001Z");
    }

    #[test]
    fn lines_hold_what_they_are_given() {
        let fields: Fields<'_> = &[("shard", &3), ("error", &"no \"room\"\n"), ("none", &"")];
        let text = text_line("T", "warn", "keeper", "given up", fields);
        assert_eq!(text, "T warn keeper given up shard=3 error=\"no \\\"room\\\"\\n\" none=\"\"\n");
        let json = json_line("T", "warn", "keeper", "given up", fields);
        let wanted = "{\"time\":\"T\",\"level\":\"warn\",\"area\":\"keeper\",\"message\":\"given up\",\"shard\":\"3\",\
                      \"error\":\"no \\\"room\\\"\\n\",\"none\":\"\"}\n";
        assert_eq!(json, wanted);
    }

    #[test]
    fn levels_of_redis_come_back_as_they_were_set() {
        for word in ["debug", "verbose", "notice", "warning"] {
            assert_eq!(Level::of_redis(word).redis_name(), word);
        }
    }
}
