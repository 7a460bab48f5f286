//! The endpoints of a service as one immutable snapshot, which is swapped whole: a request sees all of a change or nothing of it.
//!
//! What policies need to find an endpoint by a key (the ring, Maglev's table) is a function of the snapshot, so it is made once
//! here, off the path of requests, and shared by all lanes.

use crate::pick::maglev::Maglev;
use crate::pick::ring::KeyRing;
use std::collections::BTreeSet;
use std::sync::Arc;

/// An endpoint's number, the same as long as it is the same endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub u32);

impl std::fmt::Display for EndpointId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One of those who can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub id: EndpointId,
    /// Its share, relative to the others'; 0 gets no new requests.
    pub weight: u32,
    /// A hash of its address that is the same on every machine and for ever: where it lies on the ring and in Maglev's table.
    pub identity: u64,
}

/// How an endpoint is picked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// One behind another, weights ignored.
    RoundRobin,
    /// One behind another, by weight, as evenly spread as can be.
    Weighted,
    /// By chance and weight.
    Random,
    /// Who has the fewest requests in flight for its weight.
    LeastConnections,
    /// The best of three by chance: who is expected to answer first.
    #[default]
    PeakEwma,
    /// By key on a consistent-hash ring; who has more than so many percent of its share of those in flight is passed over (100 or
    /// more; 0 for no bound).
    RingHash { bound_percent: u32 },
    /// By key through Maglev's table.
    Maglev,
}

impl Policy {
    /// Each of them, the ring with a bound of a quarter above the share.
    pub const EACH: [Self; 7] = [
        Self::RoundRobin,
        Self::Weighted,
        Self::Random,
        Self::LeastConnections,
        Self::PeakEwma,
        Self::RingHash { bound_percent: 125 },
        Self::Maglev,
    ];
}

/// One snapshot.
#[derive(Debug)]
pub struct Endpoints {
    list: Vec<Endpoint>,
    pub(crate) table: Table,
}

/// How keys find endpoints, as places in the list.
#[derive(Debug)]
pub(crate) enum Table {
    None,
    Ring(KeyRing),
    Maglev(Maglev),
}

/// Why a list of endpoints is no snapshot. The service keeps the one that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Two have the same number.
    DoubleId(EndpointId),
    /// Two have the same identity: they would share their places on the ring.
    DoubleIdentity(EndpointId),
    /// More than a service can have.
    TooMany { most: usize },
}

impl Endpoints {
    /// A snapshot with what the policy needs to find endpoints by keys. A service whose policy goes by keys must get snapshots that
    /// were made for it; without a table it goes by turns.
    pub fn new(list: Vec<Endpoint>, policy: Policy) -> Result<Arc<Self>, Refused> {
        if list.len() > ENDPOINT_COUNT_MAX {
            return Err(Refused::TooMany { most: ENDPOINT_COUNT_MAX });
        }
        let (mut ids, mut identities) = (BTreeSet::new(), BTreeSet::new());
        for endpoint in &list {
            if !ids.insert(endpoint.id) {
                return Err(Refused::DoubleId(endpoint.id));
            }
            if !identities.insert(endpoint.identity) {
                return Err(Refused::DoubleIdentity(endpoint.id));
            }
        }
        let table = match policy {
            Policy::RingHash { .. } => Table::Ring(KeyRing::new(&list)),
            Policy::Maglev => Table::Maglev(Maglev::new(&list)),
            _ => Table::None,
        };
        Ok(Arc::new(Self { list, table }))
    }

    #[must_use]
    pub fn list(&self) -> &[Endpoint] {
        &self.list
    }
}

/// The most endpoints of a service: the ring of `base` has room for so many.
pub const ENDPOINT_COUNT_MAX: usize = base::limits::NODE_COUNT_MAX as usize;
