//! The configuration as the gateway uses it: one immutable value, made of a file that was understood as a whole or not at all.

mod caching;
pub mod document;
mod key;
pub mod listener;
mod mirroring;
mod told;
pub mod values;

use super::cache::Store;
use super::limit::Limit as ClientLimit;
use super::route::{self, Routes};
use super::security;
use super::strict::HeadLimits;
pub use document::Forwarded;
use document::{Document, EndpointTls, Limit};
use gateway::config as core;
use gateway::quota::Rule;
use hyper::header::HeaderValue;
pub use key::Key;
pub use listener::{Listener, Protocol};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
pub use told::{Wrong, nearest};
use toml::Spanned;
use values::Address;
pub use values::Network;

/// The whole of it.
#[derive(Debug)]
pub struct Config {
    /// Their number and addresses stay while the process runs.
    pub listeners: Vec<Listener>,
    pub admin: SocketAddr,
    /// Whom requests to it may name as their host, besides addresses.
    pub admin_names: Vec<String>,
    pub lanes: u16,
    pub drain: Duration,
    pub access_log: Option<PathBuf>,
    pub handover: Option<PathBuf>,
    pub trusted: Vec<Network>,
    pub forwarded: Forwarded,
    pub head: HeadLimits,
    pub body_bytes_max: u64,
    pub connections_max: u32,
    /// Requests at once on a connection of HTTP/2.
    pub streams_max: u32,
    /// Requests at once over all connections.
    pub requests_max: u32,
    pub client_times: ClientTimes,
    pub services: Vec<Arc<Service>>,
    pub limits: Vec<Arc<ClientLimit>>,
    pub routes: Routes,
    /// None if no route has one.
    pub cache: Option<Arc<Store>>,
}

/// How long phases may take that belong to no service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientTimes {
    pub header: Duration,
    pub body: Duration,
    pub idle: Duration,
    /// Bytes of a body per second that a client must come to, and how long it may take until that counts.
    pub body_rate: u64,
    pub body_grace: Duration,
}

/// A service of the file.
#[derive(Clone, Debug)]
pub struct Service {
    pub name: String,
    pub core: core::Config,
    pub endpoints: Vec<Endpoint>,
    pub key: Option<Key>,
    pub host: Option<HeaderValue>,
    pub times: UpstreamTimes,
    pub probe: Option<Probe>,
    /// Protocols that clients may go on with.
    pub upgrade: Vec<HeaderValue>,
    pub tunnels_max: u32,
    /// In the clear if there is none.
    pub tls: Option<EndpointTls>,
    pub protocol: Protocol,
}

/// How long phases of a service's requests may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamTimes {
    pub connect: Duration,
    pub response: Duration,
    pub download: Duration,
    pub idle: Duration,
    pub tunnel: Duration,
    pub deadline: Option<Duration>,
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// As the file or the admin API named it.
    pub name: String,
    pub address: SocketAddr,
    pub weight: u32,
}

/// How an endpoint is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What is asked for; a connection is enough if there is none.
    pub path: Option<String>,
    pub time: Duration,
}

impl Endpoint {
    /// True if it is called so, or is there.
    pub fn is(&self, address: &str) -> bool {
        self.name == address || self.address.to_string() == address
    }
}

impl Service {
    /// True if nothing but the endpoints, and TLS to them, may differ.
    pub fn has_settings_of(&self, other: &Self) -> bool {
        let Self { name, core, endpoints: _, key, host, times, probe, upgrade, tunnels_max, tls: _, protocol } = self;
        (name, core, key, host, times, probe)
            == (&other.name, &other.core, &other.key, &other.host, &other.times, &other.probe)
            && (upgrade, tunnels_max, protocol) == (&other.upgrade, &other.tunnels_max, &other.protocol)
    }
}

const WEIGHT_MAX: u32 = 1000;
const LANES_MAX: u16 = 64;

impl Config {
    /// Limits that are alike keep what they know of their clients, and a cache of the same size what it has stored.
    pub fn keep_known(&mut self, old: &Self) {
        if let (Some(new), Some(old)) = (&mut self.cache, &old.cache)
            && new.limits == old.limits
        {
            new.clone_from(old);
        }
        for limit in &mut self.limits {
            if let Some(same) = old.limits.iter().find(|old| old.is_like(limit)) {
                *limit = same.clone();
            }
        }
    }

    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let of_services = self.services.iter().filter_map(|service| service.tls.as_ref()).flat_map(EndpointTls::files);
        self.listeners.iter().flat_map(Listener::files).chain(of_services)
    }

    /// The text of a file.
    pub fn text_of(path: &Path) -> Result<String, Box<dyn std::error::Error>> {
        std::fs::read_to_string(path).map_err(|error| format!("{} can't be read: {error}", path.display()).into())
    }

    /// Understands the text of the file at `path`; what is wrong is told with its line.
    pub fn of_text(path: Option<&Path>, text: &str) -> Result<Self, String> {
        let name = path.map_or_else(|| "the demo".to_owned(), |path| path.display().to_string());
        let folder = path.and_then(Path::parent).unwrap_or(Path::new(""));
        Self::parse(folder, text).map_err(|wrong| format!("{name}, {wrong}"))
    }

    /// Understands the text of a file in `folder`, from where the paths in it go.
    pub fn parse(folder: &Path, text: &str) -> Result<Self, Wrong> {
        let mut document: Document = toml::from_str(text).map_err(|error| Wrong::of(text, &error))?;
        document.place_in(folder);
        let Document { gateway, listener, limits, timeouts, cache, service, limit, route } = document;
        let services = service.into_iter().map(|(name, section)| make_service(text, name, section, &timeouts));
        let services = services.collect::<Result<Vec<_>, Wrong>>()?;
        if route.is_empty() {
            return Err(Wrong::whole("there is no [[route]]: say which requests go to which service"));
        }
        let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
        let quotas = limit.into_iter().map(|(name, section)| make_limit(text, name, &section));
        let quotas = quotas.collect::<Result<Vec<_>, Wrong>>()?;
        let limit_names: Vec<&str> = quotas.iter().map(|limit| limit.name.as_str()).collect();
        let routes = route.into_iter().map(|route| route::compile(text, route, &names, &limit_names));
        let routes = Routes::new(routes.collect::<Result<Vec<_>, Wrong>>()?);
        let store = cache.store()?;
        let cache = routes.any_caches().then_some(store);
        let lanes = gateway.lanes.unwrap_or_else(default_lanes);
        if lanes == 0 || lanes > LANES_MAX {
            return Err(Wrong::whole(format!("gateway.lanes is {lanes}; give 1 to {LANES_MAX}")));
        }
        let head = head_limits(&limits)?;
        check_requests(&limits)?;
        let listeners = listener::listeners(text, &gateway, listener)?;
        let admin = resolve(&gateway.admin).map_err(|why| Wrong::whole(format!("gateway.admin: {why}")))?;
        let mut open = listeners.iter().map(|one| one.address).chain([admin]).filter(|at| !at.ip().is_loopback());
        if let (Some(open), false) = (open.next(), gateway.public) {
            return Err(Wrong::whole(format!(
                "{open} is to be listened on, which other machines can reach, and there is no authentication: say \
                 gateway.public = true if that is meant"
            )));
        }
        Ok(Self {
            listeners,
            admin,
            admin_names: admin_names(gateway.admin_names, &gateway.admin)?,
            lanes,
            drain: gateway.drain.0,
            access_log: gateway.access_log,
            handover: gateway.handover,
            trusted: gateway.trusted,
            forwarded: gateway.forwarded,
            head,
            body_bytes_max: limits.body.0,
            connections_max: limits.connections,
            streams_max: limits.streams,
            requests_max: limits.requests.unwrap_or(limits.connections.saturating_mul(REQUESTS_EACH)),
            client_times: ClientTimes {
                header: timeouts.header.0,
                body: timeouts.body.0,
                idle: timeouts.idle.0,
                body_rate: limits.body_rate.0,
                body_grace: timeouts.body_grace.0,
            },
            services: services.into_iter().map(Arc::new).collect(),
            limits: quotas,
            routes,
            cache,
        })
    }
}

fn head_limits(limits: &document::Limits) -> Result<HeadLimits, Wrong> {
    let head = HeadLimits {
        bytes_max: small(limits.header.0),
        headers_max: usize::from(limits.headers),
        target_bytes_max: small(limits.uri.0),
    };
    let fits = (256..=HEAD_BYTES_MOST).contains(&head.bytes_max) && (1..=HEADERS_MOST).contains(&head.headers_max);
    fits.then_some(head)
        .ok_or_else(|| Wrong::whole("limits.header wants 256 bytes to 1 MiB, and limits.headers 1 to 10000"))
}

fn admin_names(mut names: Vec<String>, address: &Address) -> Result<Vec<String>, Wrong> {
    if let Some(name) = names.iter().find(|name| name.is_empty() || name.contains([':', '/', '*'])) {
        let why = format!(
            "gateway.admin_names has '{name}', which is no name; give one as \"gateway.internal\", without a port"
        );
        return Err(Wrong::whole(why));
    }
    names.push(address.host().to_owned());
    Ok(names)
}

const HEAD_BYTES_MOST: usize = 1 << 20;
/// What holds them has an end of its own.
const HEADERS_MOST: usize = 10_000;
/// A connection's window, which has an end of its own, holds that of all its streams.
pub const STREAMS_MOST: u32 = 10_000;
/// Requests for each connection there may be, where no number is given: those of HTTP/1.1, which carries one, never come to that.
const REQUESTS_EACH: u32 = 2;

fn check_requests(limits: &document::Limits) -> Result<(), Wrong> {
    if limits.streams == 0 || limits.streams > STREAMS_MOST {
        return Err(Wrong::whole(format!("limits.streams is {}; give 1 to {STREAMS_MOST}", limits.streams)));
    }
    if limits.requests == Some(0) {
        return Err(Wrong::whole("limits.requests is 0, which lets nothing through; give 1 or more, or leave it out"));
    }
    Ok(())
}

fn small(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Lanes take all cores but one, which is left to the kernel and the upstreams.
fn default_lanes() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(cores.saturating_sub(1)).unwrap_or(LANES_MAX).clamp(1, LANES_MAX)
}

fn make_service(
    text: &str,
    name: String,
    section: document::Service,
    times: &document::Timeouts,
) -> Result<Service, Wrong> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for spanned in &section.endpoints {
        let (span, endpoint) = (spanned.span(), spanned.get_ref());
        let address = resolve(&endpoint.address).map_err(|why| Wrong::at(text, &span, why))?;
        if endpoints.iter().any(|other| other.address == address) {
            return Err(Wrong::at(text, &span, format!("service '{name}' names {} twice", endpoint.address.0)));
        }
        if endpoint.weight > WEIGHT_MAX {
            let why = format!("the weight of {} is {}; give 0 to {WEIGHT_MAX}", endpoint.address.0, endpoint.weight);
            return Err(Wrong::at(text, &span, why));
        }
        endpoints.push(Endpoint { name: endpoint.address.0.clone(), address, weight: endpoint.weight });
    }
    let host = section.host.as_ref().map(|host| header_value(text, host)).transpose()?;
    let probe = section.checks.as_ref().map(|checks| Probe { path: checks.path.clone(), time: checks.timeout.0 });
    let times = UpstreamTimes {
        connect: section.connect.unwrap_or(times.connect).0,
        response: section.response.unwrap_or(times.response).0,
        download: section.download.unwrap_or(times.download).0,
        idle: times.upstream_idle.0,
        tunnel: times.tunnel.0,
        deadline: section.deadline.map(|time| time.0),
    };
    let core = core_config(&section);
    let protocol = section.protocol;
    if let Some(tls) = &section.tls {
        let check = security::check(tls.get_ref());
        check.map_err(|why| Wrong::at(text, &tls.span(), format!("service '{name}': {why}")))?;
    }
    let tls = section.tls.map(Spanned::into_inner);
    let upgrade = section.upgrade.iter().map(|protocol| upgrade(text, protocol)).collect::<Result<_, Wrong>>()?;
    let (key, tunnels_max) = (section.key, section.tunnels);
    Ok(Service { name, core, endpoints, key, host, times, probe, upgrade, tunnels_max, tls, protocol })
}

/// HTTP itself is no protocol to go on with: it would not be looked at.
fn upgrade(text: &str, protocol: &Spanned<String>) -> Result<HeaderValue, Wrong> {
    let name = protocol.get_ref().to_ascii_lowercase();
    if name.is_empty() || name.contains(',') || name.starts_with("h2") || name.starts_with("http") {
        return Err(Wrong::at(
            text,
            &protocol.span(),
            format!("'{name}' is no protocol for upgrade; give \"websocket\""),
        ));
    }
    header_value(text, protocol)
}

fn make_limit(text: &str, name: String, section: &document::Quota) -> Result<Arc<ClientLimit>, Wrong> {
    let (requests, per) = (*section.requests.get_ref(), section.per.ms());
    if requests == 0 || per == 0 {
        return Err(Wrong::at(
            text,
            &section.requests.span(),
            format!("limit '{name}' lets nothing through; give requests and per above 0"),
        ));
    }
    let rule = match (section.sliding, section.burst) {
        (true, Some(_)) => {
            let why = format!("limit '{name}' is sliding and has a burst; a sliding one has none");
            return Err(Wrong::at(text, &section.requests.span(), why));
        }
        (true, None) => Rule::SlidingWindow { most: requests, window_ms: per },
        (false, burst) => Rule::TokenBucket { rate: requests, period_ms: per, burst: burst.unwrap_or(requests).max(1) },
    };
    Ok(Arc::new(ClientLimit::new(name, section.by.clone(), rule, super::seed().map_err(Wrong::whole)?)))
}

fn core_config(section: &document::Service) -> core::Config {
    let document::Service { ejection, breaker, retries, admission, checks, .. } = section;
    let usual = core::Config::default();
    let checks = checks.as_ref().map_or(usual.checks.clone(), |checks| core::Checks {
        interval_ms: checks.interval.ms(),
        rise: checks.rise,
        fall: checks.fall,
        ..usual.checks.clone()
    });
    core::Config {
        policy: section.policy,
        checks,
        ejection: core::Ejection {
            consecutive_errors: ejection.errors,
            base_ms: ejection.time.ms(),
            percent_max: ejection.percent,
            ..usual.ejection
        },
        breaker: core::Breaker { in_flight_max: breaker.in_flight, error_percent: breaker.errors, ..usual.breaker },
        retries: core::Retries { tries_max: retries.tries.max(1), budget_percent: retries.budget, ..usual.retries },
        admission: core::Admission {
            limit: match admission.limit {
                Limit::Adaptive => usual.admission.limit,
                Limit::Off => core::Limit::Off,
                Limit::Fixed(limit) => core::Limit::Fixed(limit),
            },
            queue_max: admission.queue,
            wait_max_ms: admission.wait.map_or(usual.admission.wait_max_ms, values::Time::ms),
        },
        slow_start_ms: section.slow_start.map_or(0, values::Time::ms),
    }
}

fn header_value(text: &str, value: &Spanned<String>) -> Result<HeaderValue, Wrong> {
    let why = || format!("'{}' can be no header's value", value.get_ref());
    HeaderValue::from_str(value.get_ref()).map_err(|_| Wrong::at(text, &value.span(), why()))
}

/// The first address that a name stands for.
pub fn resolve(address: &Address) -> Result<SocketAddr, String> {
    let mut all = address.0.to_socket_addrs().map_err(|error| format!("{} can't be resolved: {error}", address.0))?;
    all.next().ok_or_else(|| format!("{} stands for no address", address.0))
}

#[cfg(test)]
mod tests;
