//! How a lane stands, for those who look: what it counts itself, and what its services know.

use super::lane::Lane;
use super::tls::Reason;
use super::upstream::Counts;
use super::want::Want;
use crate::meters::Sums;
use gateway::{EndpointView, Meter};

/// See the module.
#[derive(Debug)]
pub struct LaneReport {
    pub open: usize,
    pub accepted: u64,
    pub refused: u64,
    pub cache: super::cache::page::Sums,
    pub unproxied: u64,
    pub many_at_once: u64,
    pub floods: u64,
    pub overfull: u64,
    pub handshakes: u64,
    pub resumed: u64,
    pub handshakes_waiting: u64,
    /// By their reason.
    pub handshakes_failed: [u64; Reason::ALL.len()],
    /// In the order of the configuration.
    pub services: Vec<ServiceReport>,
}

/// A service on one lane.
#[derive(Debug)]
pub struct ServiceReport {
    pub name: String,
    pub answers: [u64; 6],
    pub shed: u64,
    pub retried: u64,
    pub connected: u64,
    pub connect_failed: u64,
    /// By what was wanting.
    pub wants: [u64; Want::ALL.len()],
    pub reused: u64,
    pub mirrored: u64,
    pub mirror_skipped: u64,
    pub time_ns: Sums,
    pub inside: u32,
    pub waiting: usize,
    pub meter: Meter,
    pub endpoints: Vec<EndpointReport>,
}

/// An endpoint, as one lane sees it.
#[derive(Debug)]
pub struct EndpointReport {
    pub name: String,
    pub view: EndpointView,
    pub idle: usize,
}

impl LaneReport {
    pub fn of(lane: &Lane) -> Self {
        let table = lane.table();
        let services = table.upstreams.iter().map(|upstream| {
            let counts = &upstream.counts;
            let Counts { answers, shed, retried, time_ns, connected, connect_failed, reused, .. } = counts;
            let (inside, waiting, meter, views) = upstream.look(|core, now| {
                (core.inside(), core.waiting(), core.meter(now), core.views(now).collect::<Vec<_>>())
            });
            let endpoints = views.into_iter().map(|view| {
                let target = upstream.target(view.id);
                let name = target.as_ref().map_or_else(|| "removed".to_owned(), |target| target.name.clone());
                let idle = target.map_or(0, |target| target.pool.idle_count() + target.trunks.idle_count());
                EndpointReport { name, view, idle }
            });
            ServiceReport {
                name: upstream.plan.name.clone(),
                answers: std::array::from_fn(|class| answers[class].get()),
                shed: shed.get(),
                retried: retried.get(),
                connected: connected.get(),
                connect_failed: connect_failed.get(),
                wants: counts.wants.counts(),
                reused: reused.get(),
                mirrored: counts.mirrored.get(),
                mirror_skipped: counts.mirror_skipped.get(),
                time_ns: Sums::from(time_ns),
                inside,
                waiting,
                meter,
                endpoints: endpoints.collect(),
            }
        });
        Self {
            open: lane.open(),
            accepted: lane.accepted.get(),
            refused: lane.refused.get(),
            cache: super::cache::page::Sums::of(lane),
            unproxied: lane.unproxied.get(),
            many_at_once: lane.many_at_once.get(),
            floods: lane.floods.get(),
            overfull: lane.overfull.get(),
            handshakes: lane.handshakes.done.get(),
            resumed: lane.handshakes.resumed.get(),
            handshakes_waiting: lane.handshakes.turns.waiting(),
            handshakes_failed: std::array::from_fn(|reason| lane.handshakes.failed[reason].get()),
            services: services.collect(),
        }
    }
}
