//! What stands above the lanes: the configuration in force, the endpoints, and the ways by which both change.
//!
//! A change is made whole: a new plan is built and checked here, and if it is sound, each lane swaps it in between two requests. A
//! plan that isn't leaves the old one in force and is told, with its line and reason, to whoever asked for it, to the log, and to
//! whoever looks at the admin endpoint later.

use super::access::AccessLog;
use super::config::values::Address;
use super::config::{Config, Endpoint, resolve};
use super::follow::Follower;
use super::lane::{Command, Crew, Plan};
use super::report::LaneReport;
use super::roster::Roster;
use super::security::{self, Securities};
use super::tls::{self, Files, Tls};
use crate::http::port::Port;
use crate::log;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// See the module.
#[derive(Debug)]
pub struct Control {
    /// None for the demo.
    pub file: Option<PathBuf>,
    /// What was read last, whether it is in force or not.
    read: Read,
    pub config: Arc<Config>,
    pub tls: Vec<Option<Arc<Tls>>>,
    securities: Securities,
    roster: Roster,
    /// Told when files in the folders change that the configuration names.
    pub follower: Option<Follower>,
    pub crew: Arc<Crew>,
    pub access: Option<AccessLog>,
    /// Where operators ask.
    pub port: Rc<Port>,
    /// Times that a file was taken, and was refused.
    pub reloads: u64,
    pub reloads_refused: u64,
    /// Why the file as it is now is not in force.
    pub refused: Option<String>,
    pub draining: bool,
}

/// The file, and digests of those that it names.
#[derive(Debug, PartialEq, Eq)]
pub struct Read {
    text: String,
    named: BTreeMap<PathBuf, Result<tls::Digest, String>>,
}

/// Why a change of endpoints is not made.
#[derive(Debug)]
pub enum Unchanged {
    NoService,
    NoEndpoint,
    Bad(String),
}

/// How long lanes may take to tell how they stand.
const REPORT_TIME_MAX: Duration = Duration::from_secs(2);

impl Control {
    /// The first plan is in force before the lanes are.
    pub fn new(file: Option<PathBuf>, read: Read, plan: &Plan, roster: Roster, crew: Arc<Crew>) -> Self {
        Self {
            file,
            read,
            config: plan.config.clone(),
            tls: plan.tls.clone(),
            securities: plan.lists.iter().map(|list| list.security.clone()).collect(),
            follower: None,
            roster,
            crew,
            access: None,
            port: Rc::default(),
            reloads: 0,
            reloads_refused: 0,
            refused: None,
            draining: false,
        }
    }

    /// Reads the file, and goes by it if it is another and sound. The reason if it isn't sound.
    pub fn reload(&mut self) -> Result<bool, String> {
        let file = self.file.clone().ok_or("the demo goes by no file: start the gateway with --config FILE")?;
        let text = Config::text_of(&file).map_err(|error| error.to_string())?;
        let config = Config::of_text(Some(&file), &text);
        let files = config.as_ref().map(|config| Files::read(config.files())).unwrap_or_default();
        let read = Read::new(text, &files);
        if read == self.read {
            return self.refused.clone().map_or(Ok(false), Err);
        }
        self.read = read;
        let taken = config.and_then(|config| self.take(&file, config, &files));
        match &taken {
            Ok(()) => {
                self.reloads += 1;
                self.refused = None;
                log::info("gateway", "goes by the changed file from now on", &[("file", &file.display())]);
                tls::warn_of_ends(&self.tls);
            }
            Err(why) => {
                self.reloads_refused += 1;
                self.refused = Some(why.clone());
                log::error("gateway", "the changed file is refused, and the old one stays in force", &[("why", why)]);
            }
        }
        taken.map(|()| true)
    }

    fn take(&mut self, file: &Path, mut config: Config, files: &Files) -> Result<(), String> {
        self.follow(&config);
        config.keep_known(&self.config);
        let fixed = [
            ("the address of a listener", addresses(&config).ne(addresses(&self.config))),
            ("gateway.admin", config.admin != self.config.admin),
            ("gateway.lanes", config.lanes != self.config.lanes),
            ("gateway.handover", config.handover != self.config.handover),
            ("gateway.access_log", config.access_log != self.config.access_log),
        ];
        if let Some((key, _)) = fixed.iter().find(|(_, changed)| *changed) {
            return Err(format!("{}: {key} can't change while the gateway runs: restart it", file.display()));
        }
        let mut roster = self.roster.clone();
        roster.follow(&config);
        let tls = tls::make(&config.listeners, files, &self.tls).map_err(|why| format!("{}: {why}", file.display()))?;
        let securities = security::make(&config.services, files, &self.securities);
        let securities = securities.map_err(|why| format!("{}: {why}", file.display()))?;
        self.put(Arc::new(config), roster, tls, securities)
    }

    /// Makes a plan of both, and hands it to the lanes.
    fn put(
        &mut self,
        config: Arc<Config>,
        roster: Roster,
        tls: Vec<Option<Arc<Tls>>>,
        securities: Securities,
    ) -> Result<(), String> {
        let plan =
            Arc::new(Plan { lists: roster.lists(&config, &securities)?, config: config.clone(), tls: tls.clone() });
        for mailbox in &self.crew.mailboxes {
            let _ = mailbox.send(Command::Apply(plan.clone()));
        }
        (self.config, self.roster, self.tls, self.securities) = (config, roster, tls, securities);
        Ok(())
    }

    /// Follows the folders of all files that the configuration names.
    pub fn follow(&self, config: &Config) {
        let files = self.file.iter().chain(config.files());
        for file in files.filter(|_| self.follower.is_some()) {
            let followed = self.follower.iter().try_for_each(|follower| follower.follow(file));
            if let Err(error) = followed {
                let fields: log::Fields<'_> = &[("file", &file.display()), ("error", &error)];
                log::warn("gateway", "changes of a file aren't noticed: send SIGHUP when it has changed", fields);
            }
        }
    }

    /// Adds an endpoint, or changes the weight of one that is there.
    pub fn add(&mut self, service: &str, address: &str, weight: u32) -> Result<(), Unchanged> {
        let address = Address::parse(address).ok_or_else(|| {
            Unchanged::Bad(format!("'{address}' is no address; give host and port, as \"127.0.0.1:9001\""))
        })?;
        let at = resolve(&address).map_err(Unchanged::Bad)?;
        self.change(service, |endpoints| {
            match endpoints.iter_mut().find(|endpoint| endpoint.address == at) {
                Some(endpoint) => endpoint.weight = weight,
                None => endpoints.push(Endpoint { name: address.0, address: at, weight }),
            }
            Ok(())
        })
    }

    /// An endpoint gets no new requests.
    pub fn drain(&mut self, service: &str, address: &str) -> Result<(), Unchanged> {
        self.change(service, |endpoints| {
            let mut all = endpoints.iter_mut();
            let endpoint = all.find(|endpoint| endpoint.is(address)).ok_or(Unchanged::NoEndpoint)?;
            endpoint.weight = 0;
            Ok(())
        })
    }

    /// An endpoint is gone once it has ended what it has.
    pub fn remove(&mut self, service: &str, address: &str) -> Result<(), Unchanged> {
        self.change(service, |endpoints| {
            let before = endpoints.len();
            endpoints.retain(|endpoint| !endpoint.is(address));
            if endpoints.len() == before { Err(Unchanged::NoEndpoint) } else { Ok(()) }
        })
    }

    fn change(
        &mut self,
        service: &str,
        change: impl FnOnce(&mut Vec<Endpoint>) -> Result<(), Unchanged>,
    ) -> Result<(), Unchanged> {
        let mut roster = self.roster.clone();
        change(roster.of(service).ok_or(Unchanged::NoService)?)?;
        roster.renumber();
        self.put(self.config.clone(), roster, self.tls.clone(), self.securities.clone()).map_err(Unchanged::Bad)?;
        log::info("gateway", "the endpoints of a service were changed by an operator", &[("service", &service)]);
        Ok(())
    }

    /// No more connections; those that are there end as their requests do.
    pub fn stop(&mut self) {
        self.draining = true;
        // The lane that accepts passes it on when it has accepted its last.
        let _ = self.crew.mailboxes[0].send(Command::Drain(self.config.drain));
    }
}

impl Read {
    pub fn new(text: String, files: &Files) -> Self {
        Self { text, named: files.digests() }
    }
}

fn addresses(config: &Config) -> impl Iterator<Item = SocketAddr> {
    config.listeners.iter().map(|listener| listener.address)
}

/// How all lanes stand; those that don't answer in time are left out.
pub async fn reports(crew: &Crew) -> Vec<LaneReport> {
    let mut asked = Vec::new();
    for mailbox in &crew.mailboxes {
        let (answer, answered) = oneshot::channel();
        let _ = mailbox.send(Command::Report(answer));
        asked.push(answered);
    }
    let until = tokio::time::Instant::now() + REPORT_TIME_MAX;
    let mut all = Vec::new();
    for answered in asked {
        if let Ok(Ok(report)) = tokio::time::timeout_at(until, answered).await {
            all.push(report);
        }
    }
    all
}
