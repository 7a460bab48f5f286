//! `client-output-buffer-limit`: classes of clients, each with a hard limit, a soft one, and how long that may be exceeded.
//!
//! The texts are those of Redis 7.0. Classes that a value doesn't name keep their limits.

use crate::settings::{OutputClass, OutputLimit, Settings};

const CLASSES: [(&str, OutputClass); 3] =
    [("normal", OutputClass::Normal), ("slave", OutputClass::Replica), ("pubsub", OutputClass::Pubsub)];

/// All limits, in bytes and seconds.
pub fn show(settings: &Settings) -> String {
    let one = |(name, class): (&str, OutputClass)| {
        let OutputLimit { hard_bytes, soft_bytes, soft_seconds } = settings.output_limit(class);
        format!("{name} {hard_bytes} {soft_bytes} {soft_seconds}")
    };
    CLASSES.map(one).join(" ")
}

/// The limits that a value names, or why it makes no sense.
pub fn parse(value: &str) -> Result<Vec<(OutputClass, OutputLimit)>, String> {
    let words: Vec<&str> = value.split_whitespace().collect();
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
    }
    let one = |words: &[&str]| {
        let name = if words[0].eq_ignore_ascii_case("replica") { "slave" } else { words[0] };
        let class = CLASSES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, class)| *class);
        let class = class.ok_or("Invalid client class specified in buffer limit configuration.")?;
        let limit = || {
            let (hard_bytes, soft_bytes) = (bytes(words[1])?, bytes(words[2])?);
            Some(OutputLimit { hard_bytes, soft_bytes, soft_seconds: words[3].parse().ok()? })
        };
        let why = "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
        Ok((class, limit().ok_or(why)?))
    };
    words.chunks(4).map(one).collect()
}

/// A number with a unit: k is 1000, kb 1024.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|one: char| !one.is_ascii_digit()).unwrap_or(text.len());
    let unit: u64 = match text[digits..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1024,
        "m" => 1_000_000,
        "mb" => 1024 * 1024,
        "g" => 1_000_000_000,
        "gb" => 1024 * 1024 * 1024,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_shown_as_redis_does() {
        let settings = Settings::default();
        assert_eq!(show(&settings), "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60");
        for (class, limit) in parse("replica 1mb 2 3 NORMAL 1k 2 3").expect("two classes") {
            settings.set_output_limit(class, limit);
        }
        assert_eq!(show(&settings), "normal 1000 2 3 slave 1048576 2 3 pubsub 33554432 8388608 60");
        for (value, why) in [
            ("x", "Wrong number of arguments in buffer limit configuration."),
            ("pubsub 1mb 2mb", "Wrong number of arguments in buffer limit configuration."),
            ("foo 1mb 2mb 3", "Invalid client class specified in buffer limit configuration."),
            ("pubsub 1mb -2 3", "Error in hard, soft or soft_seconds setting in buffer limit configuration."),
            ("pubsub 1xb 2 3", "Error in hard, soft or soft_seconds setting in buffer limit configuration."),
        ] {
            assert_eq!(parse(value), Err(why.to_owned()), "{value}");
        }
    }
}
