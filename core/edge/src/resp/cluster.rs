//! A connection of the cluster endpoint: which commands it may run here, and what it answers of the cluster by itself.
//!
//! On the routing endpoint the same commands say that there is no cluster, as a Redis that stands alone does.

use super::session::{Session, SessionConfig, error};
use super::step::QueuedCall;
use crate::cluster::check::Alone;
use crate::cluster::{Map, Place, View};
use data::{Command, Refused, Reply};
use std::sync::Arc;

impl Session {
    pub(super) fn view(config: &SessionConfig) -> Option<View> {
        config.cluster.as_ref().map(|map| View { map: map.clone(), readonly: false })
    }

    /// The cluster has changed.
    pub fn see(&mut self, map: &Arc<Map>) {
        if let Some(view) = &mut self.cluster
            && !Arc::ptr_eq(&view.map, map)
        {
            view.map = map.clone();
        }
    }

    /// What the connection sees of the cluster; nothing on the routing endpoint.
    #[must_use]
    pub fn cluster(&self) -> Option<&View> {
        self.cluster.as_ref()
    }

    /// Where a command runs; its refusal if that is not this node.
    pub(super) fn place(&self, command: &Command, args: &[&[u8]]) -> Result<Place, Refused> {
        let Some(view) = &self.cluster else { return Ok(Place::Leader) };
        view.check(command, args, if self.transaction.is_some() { Alone::No } else { Alone::Yes })
    }

    /// Refuses a transaction that is not for this node.
    pub(super) fn check_transaction(&self, queued: &[QueuedCall]) -> Result<(), Refused> {
        let Some(view) = &self.cluster else { return Ok(()) };
        view.check_all(queued.iter().map(|one| (one.command, one.args.iter().map(Vec::as_slice).collect())))
    }

    /// As [`Session::of_cluster`], for a command of a transaction.
    pub(super) fn of_cluster_in_exec(&self, queued: &QueuedCall) -> Option<Reply> {
        if queued.command.name != "cluster" {
            return None;
        }
        let args: Vec<&[u8]> = queued.args.iter().map(Vec::as_slice).collect();
        self.of_cluster(queued.command, &args)
    }

    /// The answer to CLUSTER; nothing for other commands, and where a shard answers.
    pub(super) fn of_cluster(&self, command: &Command, args: &[&[u8]]) -> Option<Reply> {
        if command.name != "cluster" {
            return None;
        }
        self.cluster.as_ref().map_or_else(|| Some(disabled()), |view| view.map.answer(command, args))
    }

    /// READONLY, READWRITE and ASKING.
    pub(super) fn route_reads(&mut self, command: &Command) -> Reply {
        let Some(view) = &mut self.cluster else { return disabled() };
        match command.name {
            "readonly" => view.readonly = true,
            "readwrite" => view.readonly = false,
            // ASK is never said here, so nothing depends on it.
            _ => {}
        }
        Reply::Ok
    }

    /// The database that SELECT names: the first one alone in a cluster.
    pub(super) fn select(&self, number: &[u8]) -> Result<u8, Refused> {
        match Self::database(number) {
            Ok(0) | Err(Refused::NotAnInteger | Refused::NotAnInt) => Self::database(number),
            _ if self.cluster.is_some() => Err(Refused::Text("ERR SELECT is not allowed in cluster mode".to_owned())),
            other => other,
        }
    }
}

fn disabled() -> Reply {
    error("ERR This instance has cluster support disabled")
}
