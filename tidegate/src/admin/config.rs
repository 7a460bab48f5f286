//! CONFIG: one table of knobs, and what can be done with it.
//!
//! CONFIG SET changes all that it names or nothing: every value is checked against its knob before the first is set.
//! The texts are those of Redis 7.0.

use super::{error, limit};
use crate::lane::{tell_listening, tell_memory};
use crate::log::{self, Level};
use crate::meters::totals::Totals;
use crate::settings::{Notified, OnLostLeader};
use crate::shared::{Shared, lock};
use data::value::ENCODING_OPTIONS;
use data::{Refused, Reply};

/// A setting.
struct Knob {
    name: &'static str,
    get: fn(&Shared) -> String,
    kind: Kind,
}

/// What a knob takes, and who takes it. A setter is given what its kind allows only.
enum Kind {
    /// Fixed when the node starts.
    Fixed,
    Integer {
        least: i64,
        most: i64,
        set: fn(&Shared, i64),
    },
    /// A number of clients: no more than there can be descriptors for.
    Clients,
    Word {
        words: &'static [&'static str],
        set: fn(&Shared, &str),
    },
    /// What it takes it knows by itself.
    Own(fn(&str) -> Result<Change, String>),
}

/// All knobs, by name.
const KNOBS: &[Knob] = &[
    fixed("appendfsync", |_| "always".to_owned()),
    fixed("appendonly", |_| "yes".to_owned()),
    fixed("bind", |_| "127.0.0.1".to_owned()),
    busy("busy-reply-threshold"),
    Knob {
        name: "client-output-buffer-limit",
        get: |shared| super::output_limits::show(&shared.settings),
        kind: Kind::Own(|value| {
            let limits = super::output_limits::parse(value)?;
            Ok(Box::new(move |shared| {
                limits.iter().for_each(|(class, limit)| shared.settings.set_output_limit(*class, *limit));
            }))
        }),
    },
    fixed("databases", |_| base::limits::DATABASE_COUNT.to_string()),
    fixed("dir", |shared| shared.dir.display().to_string()),
    encoding::<0>(),
    encoding::<1>(),
    Knob {
        name: "latency-monitor-threshold",
        get: |shared| shared.settings.latency_from_ms().to_string(),
        kind: Kind::Integer {
            least: 0,
            most: i64::MAX,
            set: |shared, ms| shared.settings.set_latency_from_ms(ms.unsigned_abs()),
        },
    },
    Knob {
        name: "lfu-decay-time",
        get: |shared| shared.settings.lfu_decay_minutes().to_string(),
        kind: Kind::Integer {
            least: 0,
            most: i32::MAX as i64,
            set: |shared, number| {
                shared.settings.set_lfu_decay_minutes(number.unsigned_abs());
                tell_memory(shared);
            },
        },
    },
    Knob {
        name: "lfu-log-factor",
        get: |shared| shared.settings.lfu_log_factor().to_string(),
        kind: Kind::Integer {
            least: 0,
            most: i32::MAX as i64,
            set: |shared, number| {
                shared.settings.set_lfu_log_factor(number.unsigned_abs());
                tell_memory(shared);
            },
        },
    },
    Knob {
        name: "loglevel",
        get: |_| Level::current().redis_name().to_owned(),
        kind: Kind::Word {
            words: &["debug", "verbose", "notice", "warning"],
            set: |_, word| Level::of_redis(word).set(),
        },
    },
    busy("lua-time-limit"),
    Knob { name: "maxclients", get: |shared| shared.settings.clients_max().to_string(), kind: Kind::Clients },
    Knob {
        name: "maxmemory",
        get: |shared| shared.settings.memory_bytes_max().to_string(),
        kind: Kind::Own(|value| {
            let bytes = limit::bytes(value).ok_or("argument must be a memory value")?;
            Ok(Box::new(move |shared| {
                shared.settings.set_memory_bytes_max(bytes);
                tell_memory(shared);
            }))
        }),
    },
    Knob {
        name: "maxmemory-policy",
        get: |shared| limit::NAMES[usize::from(shared.settings.memory_policy())].to_owned(),
        kind: Kind::Word {
            words: &limit::NAMES,
            set: |shared, word| {
                shared.settings.set_memory_policy(limit::policy(word).unwrap_or(limit::NO_EVICTION));
                tell_memory(shared);
            },
        },
    },
    Knob {
        name: "maxmemory-samples",
        get: |shared| shared.settings.memory_samples().to_string(),
        kind: Kind::Integer {
            least: 1,
            most: i32::MAX as i64,
            set: |shared, number| {
                shared.settings.set_memory_samples(number.unsigned_abs());
                tell_memory(shared);
            },
        },
    },
    Knob {
        name: "notify-keyspace-events",
        get: |shared| shared.settings.notified().to_string(),
        kind: Kind::Own(|value| {
            let notified = Notified::parse(value).ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")?;
            Ok(Box::new(move |shared| {
                shared.settings.set_notified(notified);
                tell_listening(shared, None);
            }))
        }),
    },
    Knob {
        name: "on-lost-leader",
        get: |shared| OnLostLeader::NAMES[shared.settings.on_lost_leader() as usize].to_owned(),
        kind: Kind::Word {
            words: &OnLostLeader::NAMES,
            set: |shared, word| {
                let what = if word == "close" { OnLostLeader::Close } else { OnLostLeader::Error };
                shared.settings.set_on_lost_leader(what);
            },
        },
    },
    Knob {
        name: "output-timeout",
        get: |shared| shared.settings.output_timeout_s().to_string(),
        kind: Kind::Integer {
            least: 0,
            most: i32::MAX as i64,
            set: |shared, seconds| shared.settings.set_output_timeout_s(seconds.unsigned_abs()),
        },
    },
    fixed("port", |shared| shared.ports.resp.to_string()),
    fixed("proto-max-bulk-len", |_| base::limits::BULK_BYTES_MAX.to_string()),
    Knob {
        name: "replica-staleness-max-ms",
        get: |shared| shared.settings.replica_staleness_ms().to_string(),
        kind: Kind::Integer {
            // Replicas hear from their leaders each 50 ms, and know it 50 ms later.
            least: 0,
            most: 3_600_000,
            set: |shared, ms| shared.settings.set_replica_staleness_ms(ms.unsigned_abs()),
        },
    },
    fixed("requirepass", |shared| {
        shared.requirepass.as_ref().map_or(String::new(), |password| String::from_utf8_lossy(password).into_owned())
    }),
    fixed("save", |_| String::new()),
    Knob {
        name: "script-memory-limit",
        get: |shared| shared.settings.script_limits().bytes.to_string(),
        kind: Kind::Integer {
            least: 1 << 20,
            most: 16 << 30,
            set: |shared, bytes| shared.settings.set_script_bytes(bytes.unsigned_abs()),
        },
    },
    Knob {
        name: "script-time-limit",
        get: |shared| shared.settings.script_times().limit_ms.to_string(),
        kind: Kind::Integer {
            least: 0,
            most: 3_600_000,
            set: |shared, ms| shared.settings.set_script_limit_ms(ms.unsigned_abs()),
        },
    },
    encoding::<2>(),
    Knob {
        name: "slowlog-log-slower-than",
        get: |shared| shared.settings.slower_than_us().to_string(),
        kind: Kind::Integer { least: -1, most: i64::MAX, set: |shared, us| shared.settings.set_slower_than_us(us) },
    },
    Knob {
        name: "slowlog-max-len",
        get: |shared| shared.settings.slow_entries_max().to_string(),
        kind: Kind::Integer {
            least: 0,
            // An entry may take four kilobytes.
            most: 65_536,
            set: |shared, count| shared.settings.set_slow_entries_max(count.unsigned_abs()),
        },
    },
    fixed("tcp-keepalive", |_| "0".to_owned()),
    Knob {
        name: "timeout",
        get: |shared| shared.settings.timeout_s().to_string(),
        kind: Kind::Integer {
            least: 0,
            most: i32::MAX as i64,
            set: |shared, seconds| shared.settings.set_timeout_s(seconds.unsigned_abs()),
        },
    },
    Knob {
        name: "tracking-table-max-keys",
        get: |shared| shared.settings.tracked_keys_max().to_string(),
        kind: Kind::Integer {
            least: 0,
            most: i64::MAX,
            set: |shared, count| shared.settings.set_tracked_keys_max(count.unsigned_abs()),
        },
    },
    encoding::<3>(),
    encoding::<4>(),
];

/// One of the options that say which encoding OBJECT ENCODING tells.
const fn encoding<const AT: usize>() -> Knob {
    fixed(ENCODING_OPTIONS[AT].0, |_| ENCODING_OPTIONS[AT].1.to_string())
}

/// When those who wait for a script are told so, by either of its names.
const fn busy(name: &'static str) -> Knob {
    Knob {
        name,
        get: |shared| shared.settings.script_times().busy_ms.to_string(),
        kind: Kind::Integer {
            least: 0,
            most: i32::MAX as i64,
            set: |shared, ms| shared.settings.set_script_busy_ms(ms.unsigned_abs()),
        },
    }
}

const fn fixed(name: &'static str, get: fn(&Shared) -> String) -> Knob {
    Knob { name, get, kind: Kind::Fixed }
}

/// CONFIG; `sub` in lower case, its arguments behind it.
pub fn config(shared: &Shared, sub: &[u8], args: &[&[u8]]) -> Reply {
    match sub {
        b"get" => get(shared, args),
        b"set" => set(shared, args),
        b"resetstat" => {
            *lock(&shared.reset_at) = Totals::of(shared);
            Reply::Ok
        }
        _ => error("ERR The server is running without a config file"),
    }
}

fn get(shared: &Shared, patterns: &[&[u8]]) -> Reply {
    let wanted = |knob: &&Knob| {
        let name = knob.name.as_bytes();
        patterns.iter().any(|pattern| data::command::glob::glob(&pattern.to_ascii_lowercase(), name))
    };
    let pair = |knob: &Knob| (Reply::text(knob.name), Reply::text((knob.get)(shared)));
    Reply::Map(KNOBS.iter().filter(wanted).map(pair).collect())
}

fn set(shared: &Shared, args: &[&[u8]]) -> Reply {
    if !args.len().is_multiple_of(2) {
        return Reply::Error(Refused::Syntax);
    }
    let pairs: Vec<(String, String)> = args
        .chunks(2)
        .map(|pair| (String::from_utf8_lossy(pair[0]).into_owned(), String::from_utf8_lossy(pair[1]).into_owned()))
        .collect();
    let mut checked = Vec::new();
    for (name, value) in &pairs {
        let Some(knob) = KNOBS.iter().find(|knob| knob.name.eq_ignore_ascii_case(name)) else {
            return error(&format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'"));
        };
        let again = checked.iter().any(|(other, _): &(&Knob, Change)| other.name == knob.name);
        match if again { Err("duplicate parameter".to_owned()) } else { knob.kind.check(shared, value) } {
            Ok(change) => checked.push((knob, change)),
            Err(why) => {
                return error(&format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}"));
            }
        }
    }
    for ((knob, change), (_, value)) in checked.iter().zip(&pairs) {
        change(shared);
        log::info("config", "changed", &[("setting", &knob.name), ("value", value)]);
    }
    Reply::Ok
}

type Change = Box<dyn Fn(&Shared)>;

impl Kind {
    /// The change that a value makes, or why it makes none.
    fn check(&self, shared: &Shared, value: &str) -> Result<Change, String> {
        match *self {
            Self::Fixed => Err("can't set immutable config".to_owned()),
            Self::Integer { least, most, set } => {
                let number = integer(value, least, most)?;
                Ok(Box::new(move |shared| set(shared, number)))
            }
            Self::Clients => {
                let (number, most) = (integer(value, 1, 1_000_000)?.unsigned_abs(), shared.settings.clients_most());
                if number > most {
                    let why = "The operating system is not able to handle the specified number of clients";
                    return Err(format!("{why}, try with {most}"));
                }
                Ok(Box::new(move |shared| shared.settings.set_clients_max(number)))
            }
            Self::Own(parse) => parse(value),
            Self::Word { words, set } => {
                let word = words.iter().find(|word| word.eq_ignore_ascii_case(value));
                let word =
                    *word.ok_or_else(|| format!("argument(s) must be one of the following: {}", words.join(", ")))?;
                Ok(Box::new(move |shared| set(shared, word)))
            }
        }
    }
}

fn integer(value: &str, least: i64, most: i64) -> Result<i64, String> {
    let number = value.parse::<i64>().map_err(|_| "argument couldn't be parsed into an integer")?;
    match (least..=most).contains(&number) {
        true => Ok(number),
        false => Err(format!("argument must be between {least} and {most} inclusive")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knobs_are_sorted_and_unique() {
        assert!(KNOBS.windows(2).all(|pair| pair[0].name < pair[1].name));
    }
}
