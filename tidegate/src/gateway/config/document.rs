//! The file as it is written: sections and keys, their defaults, and what each is for. Keys that don't exist are refused.

use super::Protocol;
use super::key::Key;
use super::listener;
use super::values::{Address, Network, Size, Time};
use gateway::Policy;
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub gateway: Gateway,
    #[serde(default)]
    pub listener: Vec<listener::Section>,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub timeouts: Timeouts,
    #[serde(default)]
    pub cache: super::caching::Cache,
    /// By name.
    #[serde(default)]
    pub service: BTreeMap<String, Service>,
    /// By name.
    #[serde(default)]
    pub limit: BTreeMap<String, Quota>,
    /// The first that matches a request counts.
    #[serde(default)]
    pub route: Vec<Spanned<Route>>,
}

impl Document {
    /// Paths that are relative go from `folder`, wherever the process was started.
    pub fn place_in(&mut self, folder: &Path) {
        let of_process = self.gateway.access_log.iter_mut().filter(|path| path.as_os_str() != "-");
        let of_process = of_process.chain(&mut self.gateway.handover);
        let of_listeners = self.listener.iter_mut().flat_map(listener::Section::files_mut);
        let of_services = self.service.values_mut().filter_map(|service| service.tls.as_mut());
        let of_services = of_services.flat_map(|tls| tls.get_mut().files_mut());
        of_process.chain(of_listeners).chain(of_services).for_each(|path| *path = folder.join(&path));
    }
}

/// The process.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// Where clients connect, in clear; more of them are `[[listener]]` tables.
    pub listen: Option<Address>,
    /// Where operators ask: metrics, services, changes of endpoints.
    #[serde(default = "default_admin")]
    pub admin: Address,
    /// By which names it may be asked for, besides that in its address, addresses and localhost.
    #[serde(default)]
    pub admin_names: Vec<String>,
    /// Lets the listening addresses, and that for operators, be others than this machine's own.
    #[serde(default)]
    pub public: bool,
    /// Threads that serve; one less than there are cores if not given.
    pub lanes: Option<u16>,
    /// How long requests may go on when the gateway is told to stop.
    #[serde(default = "default_drain")]
    pub drain: Time,
    /// A file that gets one JSON object for each request; "-" for stdout; none if not given.
    pub access_log: Option<PathBuf>,
    /// A Unix socket by which a process that is started anew takes the listening sockets over from the one that runs.
    pub handover: Option<PathBuf>,
    /// Proxies whose word about clients (`X-Forwarded-*`, `Forwarded`) is believed.
    #[serde(default)]
    pub trusted: Vec<Network>,
    #[serde(default)]
    pub forwarded: Forwarded,
}

/// Which headers tell the upstream of the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forwarded {
    /// `Forwarded` (RFC 7239) and `X-Forwarded-For`, `-Proto` and `-Host`.
    #[default]
    Both,
    /// `Forwarded` alone.
    Standard,
    /// `X-Forwarded-*` alone.
    #[serde(rename = "x-forwarded")]
    Customary,
    /// None.
    Off,
}

impl Forwarded {
    pub fn standard(self) -> bool {
        matches!(self, Self::Both | Self::Standard)
    }

    pub fn customary(self) -> bool {
        matches!(self, Self::Both | Self::Customary)
    }
}

/// What a client may send.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The request line and all headers.
    pub header: Size,
    /// How many headers.
    pub headers: u16,
    /// The target of the request line.
    pub uri: Size,
    /// A request's body.
    pub body: Size,
    /// Bytes of it per second while the client is waited for, on average; 0 for any.
    pub body_rate: Size,
    /// Connections of clients at once.
    pub connections: u32,
    /// Requests at once on a connection of HTTP/2.
    pub streams: u32,
    /// Requests at once over all connections; twice as many as connections if not given.
    pub requests: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header: Size(32 << 10),
            headers: 100,
            uri: Size(8 << 10),
            body: Size(1 << 40),
            body_rate: Size(240),
            connections: 10_000,
            streams: 100,
            requests: None,
        }
    }
}

/// How long each phase of a request may take.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// From the first byte of a request's head to its last.
    pub header: Time,
    /// A request's body: without a byte of it.
    pub body: Time,
    /// The same: waited for, until `limits.body_rate` counts.
    pub body_grace: Time,
    /// A client's connection: without a request.
    pub idle: Time,
    /// To connect to an endpoint.
    pub connect: Time,
    /// From the end of the request to the head of the response.
    pub response: Time,
    /// A response's body: without a byte of it, from the endpoint or to the client.
    pub download: Time,
    /// A connection to an endpoint: without a request.
    pub upstream_idle: Time,
    /// A connection that carries another protocol, as WebSocket: without a byte, either way.
    pub tunnel: Time,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            header: Time::seconds(10),
            body: Time::seconds(30),
            body_grace: Time::seconds(10),
            idle: Time::seconds(75),
            connect: Time::seconds(3),
            response: Time::seconds(60),
            download: Time::seconds(60),
            upstream_idle: Time::seconds(30),
            tunnel: Time::seconds(300),
        }
    }
}

/// Those who can answer the same requests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub endpoints: Vec<Spanned<Endpoint>>,
    /// How one of them is picked.
    #[serde(default, deserialize_with = "policy")]
    pub policy: Policy,
    /// What the policies by key go by.
    pub key: Option<Key>,
    /// The `Host` that endpoints get; the client's if not given.
    pub host: Option<Spanned<String>>,
    /// How long a new endpoint takes to get its full share.
    pub slow_start: Option<Time>,
    /// How long a phase of this service's requests may take, where not as for all.
    pub connect: Option<Time>,
    pub response: Option<Time>,
    pub download: Option<Time>,
    /// How long a request may take as a whole, and at most where it has its own deadline.
    pub deadline: Option<Time>,
    /// Protocols that clients may go on with (`Upgrade`).
    #[serde(default = "websocket")]
    pub upgrade: Vec<Spanned<String>>,
    /// Connections that do, at once, at each lane.
    #[serde(default = "tunnels")]
    pub tunnels: u32,
    /// TLS to the endpoints; in the clear if not given.
    pub tls: Option<Spanned<EndpointTls>>,
    /// What is spoken to them.
    #[serde(default = "http")]
    pub protocol: Protocol,
    pub checks: Option<Checks>,
    #[serde(default)]
    pub ejection: Ejection,
    #[serde(default)]
    pub breaker: Breaker,
    #[serde(default)]
    pub retries: Retries,
    #[serde(default)]
    pub admission: Admission,
}

fn websocket() -> Vec<Spanned<String>> {
    vec![Spanned::new(0..0, "websocket".to_owned())]
}

fn http() -> Protocol {
    Protocol::H1
}

fn tunnels() -> u32 {
    10_000
}

/// One of them: an address, or a table with more.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub address: Address,
    pub weight: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndpointTable {
    address: Address,
    #[serde(default = "one")]
    weight: u32,
}

fn one() -> u32 {
    1
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Seen;
        impl<'de> serde::de::Visitor<'de> for Seen {
            type Value = Endpoint;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an address as \"127.0.0.1:9001\", or { address = .., weight = .. }")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Endpoint, E> {
                let address = Address::deserialize(serde::de::value::StrDeserializer::new(text))?;
                Ok(Endpoint { address, weight: 1 })
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Endpoint, A::Error> {
                let table = EndpointTable::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(Endpoint { address: table.address, weight: table.weight })
            }
        }
        from.deserialize_any(Seen)
    }
}

/// TLS to endpoints: whom to believe, and what to show. Files are of PEM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointTls {
    /// The authorities whose certificates are believed; those of the system if not given.
    pub ca: Option<PathBuf>,
    /// The name that an endpoint's certificate must be for; the host of its address if not given.
    pub server_name: Option<String>,
    /// What the gateway shows of its own, with its key, where endpoints want that.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// Believes any certificate.
    #[serde(default)]
    pub insecure: bool,
}

impl EndpointTls {
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.ca, &self.certificate, &self.key].into_iter().flatten()
    }

    fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        [&mut self.ca, &mut self.certificate, &mut self.key].into_iter().flatten()
    }
}

/// The policies by their names.
pub const POLICIES: [(&str, Policy); 7] = [
    ("round-robin", Policy::RoundRobin),
    ("weighted", Policy::Weighted),
    ("random", Policy::Random),
    ("least-connections", Policy::LeastConnections),
    ("peak-ewma", Policy::PeakEwma),
    ("ring-hash", Policy::RingHash { bound_percent: 125 }),
    ("maglev", Policy::Maglev),
];

fn policy<'de, D: Deserializer<'de>>(from: D) -> Result<Policy, D::Error> {
    let text = String::deserialize(from)?;
    let found = POLICIES.iter().find(|(name, _)| *name == text).map(|(_, policy)| *policy);
    let names = || POLICIES.map(|(name, _)| name).join(", ");
    found.ok_or_else(|| Error::custom(format!("'{text}' is no policy; give one of {}", names())))
}

/// Active checks of each endpoint.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checks {
    /// What is asked for by GET, and must be answered by 2xx; without it, a connection is enough.
    pub path: Option<String>,
    #[serde(default = "second")]
    pub interval: Time,
    #[serde(default = "second")]
    pub timeout: Time,
    /// Passed one behind another until an endpoint is used again.
    #[serde(default = "two")]
    pub rise: u32,
    /// Failed one behind another until it isn't.
    #[serde(default = "three")]
    pub fall: u32,
}

fn second() -> Time {
    Time::seconds(1)
}

fn two() -> u32 {
    2
}

fn three() -> u32 {
    3
}

/// Endpoints that fail where others don't get nothing for a while.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ejection {
    /// Errors one behind another that eject; 0 for never.
    pub errors: u32,
    /// The first ejection's length.
    pub time: Time,
    /// How many percent of the endpoints at once.
    pub percent: u8,
}

impl Default for Ejection {
    fn default() -> Self {
        let core = gateway::config::Ejection::default();
        let time = Time(std::time::Duration::from_millis(core.base_ms));
        Self { errors: core.consecutive_errors, time, percent: core.percent_max }
    }
}

/// A breaker for each endpoint.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// Requests in flight at one endpoint, at each lane; 0 for any number.
    pub in_flight: u32,
    /// Percent of errors among the last requests that open it; 0 for never.
    pub errors: u8,
}

/// Whether what failed is tried again, where it can do no harm.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retries {
    /// Tries of one request, the first included; 1 for no retries.
    pub tries: u32,
    /// Retries per hundred requests.
    pub budget: u32,
}

impl Default for Retries {
    fn default() -> Self {
        let core = gateway::config::Retries::default();
        Self { tries: core.tries_max, budget: core.budget_percent }
    }
}

/// How many requests are let in at once.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admission {
    /// "adaptive", "off", or a number for each lane.
    pub limit: Limit,
    /// How many may wait at each lane.
    pub queue: u32,
    /// How long at most, while the service keeps up now and then; a few times what a request takes, if not given.
    pub wait: Option<Time>,
}

impl Default for Admission {
    fn default() -> Self {
        Self { limit: Limit::Adaptive, queue: gateway::config::Admission::default().queue_max, wait: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Adaptive,
    Off,
    Fixed(u32),
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(from)? {
            toml::Value::String(text) if text == "adaptive" => Ok(Self::Adaptive),
            toml::Value::String(text) if text == "off" => Ok(Self::Off),
            toml::Value::Integer(number) if number > 0 => {
                u32::try_from(number).map(Self::Fixed).map_err(|_| Error::custom("the limit is too large"))
            }
            other => Err(Error::custom(format!("{other} is no limit; give \"adaptive\", \"off\" or a number above 0"))),
        }
    }
}

/// How many requests there may be of each client, or of whatever else they are told apart by.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    pub by: Key,
    pub requests: Spanned<u32>,
    /// In so much time.
    pub per: Time,
    /// How many at once, where they come evenly else; as many as `requests` if not given.
    pub burst: Option<u32>,
    /// Counts all of the last `per` instead, so that a burst needs as long to be forgotten.
    #[serde(default)]
    pub sliding: bool,
}

/// Which requests go where.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Without a port; "*.example.com" for all below it.
    pub host: Option<Spanned<String>>,
    /// The path itself.
    pub path: Option<Spanned<String>>,
    /// What the path begins with; "/api" holds "/api" and "/api/x", not "/apis".
    pub prefix: Option<Spanned<String>>,
    /// What the whole path matches.
    pub regex: Option<Spanned<String>>,
    #[serde(default)]
    pub methods: Vec<Spanned<String>>,
    /// Headers that must be there with these values; "*" for any value.
    #[serde(default)]
    pub headers: BTreeMap<Spanned<String>, String>,
    pub service: Option<Spanned<String>>,
    /// Several services by weight, instead of one.
    #[serde(default)]
    pub split: Vec<Split>,
    /// Names of the limits that its requests count for.
    #[serde(default)]
    pub limits: Vec<Spanned<String>>,
    /// 0 is the most important, 3 the least; 1 if not given.
    pub class: Option<u8>,
    /// Whether its responses may be stored for others.
    #[serde(default)]
    pub cache: super::caching::RouteCache,
    /// Another service that gets copies of its requests.
    pub mirror: Option<super::mirroring::Mirror>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    pub service: Spanned<String>,
    pub weight: u32,
}

fn default_admin() -> Address {
    Address("127.0.0.1:7379".to_owned())
}

fn default_drain() -> Time {
    Time::seconds(30)
}
