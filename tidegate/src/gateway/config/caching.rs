//! What the file says of the cache: how much it may hold, and which routes have it.

use super::Wrong;
use super::values::{Size, Time};
use crate::gateway::cache::{Limits, Store};
use gateway::cache::Rules;
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use std::sync::Arc;

/// One cache for all routes that have it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// All that is stored, heads and keys too.
    pub bytes: Size,
    /// The body of one response.
    pub object_bytes: Size,
}

impl Default for Cache {
    fn default() -> Self {
        Self { bytes: Size(64 << 20), object_bytes: Size(1 << 20) }
    }
}

/// A shard has room for several of the largest.
const OBJECTS_LEAST: u64 = 4;

impl Cache {
    pub fn store(self) -> Result<Arc<Store>, Wrong> {
        let limits = Limits { bytes_max: self.bytes.0, object_bytes_max: self.object_bytes.0 };
        if limits.object_bytes_max == 0 || limits.bytes_max / OBJECTS_LEAST < limits.object_bytes_max {
            return Err(Wrong::whole("cache.bytes wants room for at least four bodies of cache.object_bytes"));
        }
        Ok(Store::new(limits, crate::gateway::seed().map_err(Wrong::whole)?))
    }
}

/// Of a route: `true`, or a table with more.
#[derive(Clone, Copy, Debug, Default)]
pub struct RouteCache(Option<RouteTable>);

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RouteTable {
    stale_while_revalidate: Time,
    stale_if_error: Time,
}

impl Default for RouteTable {
    fn default() -> Self {
        Self { stale_while_revalidate: Time::seconds(0), stale_if_error: Time::seconds(0) }
    }
}

impl RouteCache {
    pub fn rules(self) -> Option<Rules> {
        let seconds = |time: Time| u32::try_from(time.ms() / 1000).unwrap_or(u32::MAX);
        self.0.map(|table| Rules {
            stale_while_revalidate_s: seconds(table.stale_while_revalidate),
            stale_if_error_s: seconds(table.stale_if_error),
        })
    }
}

impl<'de> Deserialize<'de> for RouteCache {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(from)? {
            toml::Value::Boolean(on) => Ok(Self(on.then(RouteTable::default))),
            toml::Value::Table(table) => table.try_into().map(|table| Self(Some(table))).map_err(Error::custom),
            other => {
                Err(Error::custom(format!("{other} is no cache; give true, false or {{ stale_if_error = \"1m\" }}")))
            }
        }
    }
}
