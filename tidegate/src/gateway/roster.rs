//! Which endpoints each service has: those of the file, as operators have changed them since.
//!
//! Wherever endpoints come from, this is the one place where a list becomes what the lanes go by: each gets a number, which stays its
//! own as long as the service has it. What an operator changes lasts until the file is read anew.

use super::config::{Config, Endpoint};
use super::security::{Securities, Security};
use super::upstream::EndpointList;
use gateway::{EndpointId, Endpoints};
use siphasher::sip::SipHasher13;
use std::collections::BTreeMap;
use std::hash::Hasher;
use std::net::SocketAddr;
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    services: BTreeMap<String, Known>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    endpoints: Vec<Endpoint>,
    ids: BTreeMap<SocketAddr, EndpointId>,
    next: u32,
}

impl Roster {
    /// The endpoints are those of the file from now on.
    pub fn follow(&mut self, config: &Config) {
        self.services.retain(|name, _| config.services.iter().any(|service| service.name == *name));
        for service in &config.services {
            let known = self.services.entry(service.name.clone()).or_default();
            known.endpoints.clone_from(&service.endpoints);
            known.number();
        }
    }

    /// What the lanes go by, in the order of the configuration.
    pub fn lists(&self, config: &Config, securities: &Securities) -> Result<Vec<EndpointList>, String> {
        let list = |(service, security): (&Arc<super::config::Service>, &Option<_>)| {
            let known = self.services.get(&service.name).ok_or("the service is not known")?;
            known.list(service, security.clone()).map_err(|why| format!("service '{}': {why}", service.name))
        };
        config.services.iter().zip(securities).map(list).collect()
    }

    /// The endpoints of a service.
    pub fn of(&mut self, service: &str) -> Option<&mut Vec<Endpoint>> {
        self.services.get_mut(service).map(|known| &mut known.endpoints)
    }

    /// After endpoints were put in or taken out.
    pub fn renumber(&mut self) {
        self.services.values_mut().for_each(Known::number);
    }
}

impl Known {
    fn number(&mut self) {
        self.ids.retain(|address, _| self.endpoints.iter().any(|endpoint| endpoint.address == *address));
        for endpoint in &self.endpoints {
            self.ids.entry(endpoint.address).or_insert_with(|| {
                self.next += 1;
                EndpointId(self.next)
            });
        }
    }

    fn list(&self, service: &super::config::Service, security: Option<Arc<Security>>) -> Result<EndpointList, String> {
        let places = self.endpoints.iter().map(|endpoint| (self.ids[&endpoint.address], endpoint.clone()));
        let places: BTreeMap<EndpointId, Endpoint> = places.collect();
        let list = places.iter().map(|(id, endpoint)| gateway::Endpoint {
            id: *id,
            weight: endpoint.weight,
            identity: identity(endpoint.address),
        });
        let snapshot = Endpoints::new(list.collect(), service.core.policy).map_err(|why| format!("{why:?}"))?;
        Ok(EndpointList { snapshot, places: Arc::new(places), security })
    }
}

/// Where an endpoint lies on the ring: the same on every machine.
fn identity(address: SocketAddr) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(address.to_string().as_bytes());
    hasher.finish()
}
