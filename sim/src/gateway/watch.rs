//! What must hold at every step of a gateway, counted a second time by the world: names are the rules.

use gateway::{Config, EndpointId, Event, Service};
use std::collections::{BTreeMap, VecDeque};

/// The world's own counts.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) in_flight: BTreeMap<EndpointId, u32>,
    pub(super) inside: u32,
    pub(super) waiting: usize,
    present: Vec<EndpointId>,
    ejected: Vec<EndpointId>,
    /// Breakers that are open: since when, and the flights begun since then that haven't ended.
    open: BTreeMap<EndpointId, (u64, u32)>,
    tries: VecDeque<u64>,
    retries: VecDeque<u64>,
}

impl Watch {
    pub(super) fn on_swap(&mut self, present: Vec<EndpointId>) {
        self.ejected.retain(|id| present.contains(id));
        self.open.retain(|id, _| present.contains(id));
        self.present = present;
    }

    pub(super) fn on_pick(&mut self, now: u64, id: EndpointId, config: &Config) {
        assert!(self.present.contains(&id), "only_endpoints_of_the_snapshot_are_picked: {id}");
        let in_flight = self.in_flight.entry(id).or_default();
        *in_flight += 1;
        let most = config.breaker.in_flight_max;
        assert!(most == 0 || *in_flight <= most, "no_endpoint_has_more_than_its_breaker_allows: {in_flight}");
        if let Some((since, probes)) = self.open.get_mut(&id) {
            *probes += 1;
            assert!(now >= *since + config.breaker.open_ms * 1_000_000, "an_open_breaker_lets_nothing_through");
            assert!(*probes <= config.breaker.probes, "a_half_open_breaker_lets_few_through: {probes}");
        }
        self.tries.push_back(now);
    }

    pub(super) fn on_end(&mut self, id: EndpointId, begun: u64) {
        *self.in_flight.get_mut(&id).expect("who ends was picked") -= 1;
        if let Some((since, probes)) = self.open.get_mut(&id)
            && begun >= *since
        {
            *probes = probes.saturating_sub(1);
        }
    }

    pub(super) fn on_retry(&mut self, now: u64, config: &Config) {
        self.retries.push_back(now);
        // A second more than the window: the budget counts whole seconds.
        for times in [&mut self.retries, &mut self.tries] {
            while times.front().is_some_and(|at| *at + 11_000_000_000 < now) {
                times.pop_front();
            }
        }
        let retries = self.retries.iter().filter(|at| **at + 9_000_000_000 >= now).count() as u64;
        let requests = self.tries.len() as u64;
        let most =
            requests * u64::from(config.retries.budget_percent) / 100 + u64::from(config.retries.budget_min_per_s) * 10;
        assert!(retries <= most, "retries_keep_to_their_budget: {retries} of {requests} requests");
    }

    pub(super) fn on_event(&mut self, now: u64, event: Event, config: &Config) {
        match event {
            Event::Ejected { id, .. } => {
                self.ejected.push(id);
                let all = self.present.len();
                let most = (all * usize::from(config.ejection.percent_max) / 100).max(usize::from(all >= 2));
                assert!(self.ejected.len() <= most, "few_are_ejected_at_once: {} of {all}", self.ejected.len());
            }
            Event::Returned(id) => self.ejected.retain(|ejected| *ejected != id),
            // One that drains begins anew if it comes back.
            Event::BreakerOpened(id) if self.present.contains(&id) => {
                self.open.insert(id, (now, 0));
            }
            Event::BreakerClosed(id) => {
                self.open.remove(&id);
            }
            Event::Drained(id) => {
                let in_flight = self.in_flight.remove(&id).unwrap_or(0);
                assert_eq!(in_flight, 0, "a_drained_endpoint_has_ended_all: {id}");
            }
            _ => {}
        }
    }

    /// All counts of the service are those of the world.
    pub(super) fn check(&self, now: base::Instant, service: &Service, config: &Config) {
        for view in service.views(now) {
            let counted = self.in_flight.get(&view.id).copied().unwrap_or(0);
            assert_eq!(view.in_flight, counted, "in_flight_is_exact: {}", view.id);
        }
        self.check_counts(service, config);
    }

    pub(super) fn check_counts(&self, service: &Service, config: &Config) {
        assert_eq!(service.inside(), self.inside, "those_inside_are_exact");
        assert_eq!(service.waiting(), self.waiting, "those_who_wait_are_exact");
        let most = config.admission.queue_max as usize;
        assert!(self.waiting <= most, "the_queue_is_bounded: {}", self.waiting);
        let room = service.inside() < service.limit();
        assert!(!room || self.waiting == 0, "nobody_waits_while_there_is_room");
    }
}
