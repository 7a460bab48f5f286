//! File descriptors: as many as the system gives to the process, and no more clients than they are enough for.
//!
//! What the node opens for itself must not fail because clients have taken everything, so a part is kept for it, and
//! `maxclients` is lowered to the rest.

use crate::cli::Dev;
use crate::log;
use crate::settings::Settings;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for files, the admin port's connections, and what comes and goes.
const RESERVED: u64 = 128;
/// For the poll of a lane and what wakes it.
const RESERVED_PER_LANE: u64 = 2;
/// For a snapshot in the making.
const RESERVED_PER_SHARD: u64 = 1;

/// Raises the limit of this process as far as it may, and lowers `maxclients` if that is not enough; an error if there is
/// none left for clients.
pub fn fit(options: &Dev, settings: &Settings) -> Result<(), String> {
    let limit = raise();
    let reserved =
        RESERVED + RESERVED_PER_LANE * u64::from(options.lanes) + RESERVED_PER_SHARD * u64::from(options.shards);
    let Some(most) = limit.checked_sub(reserved).filter(|most| *most > 0) else {
        return Err(format!(
            "{limit} open files are too few: the node needs {reserved} for itself and one for each client; raise the \
             limit, by `ulimit -n` or LimitNOFILE="
        ));
    };
    settings.set_clients_most(most);
    let wanted = settings.clients_max();
    if wanted > most {
        settings.set_clients_max(most);
        let fields: log::Fields<'_> =
            &[("from", &wanted), ("to", &most), ("open_files_max", &limit), ("reserved", &reserved)];
        log::warn("node", "maxclients is lowered to what the limit of open files allows", fields);
    }
    Ok(())
}

/// How many files may be open now.
pub fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// The limit, after it was raised.
pub fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current.unwrap_or(u64::MAX);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(error) => {
            log::warn("node", "the limit of open files can't be raised", &[("error", &error)]);
            current.unwrap_or(u64::MAX)
        }
    }
}
