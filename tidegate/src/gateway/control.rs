//! What stands above the lanes: the configuration in force, the endpoints, and the ways by which both change.
//!
//! A change is made whole: a new plan is built and checked here, and if it is sound, each lane swaps it in between two requests. A
//! plan that isn't leaves the old one in force and is told, with its line and reason, to whoever asked for it, to the log, and to
//! whoever looks at the admin endpoint later.

use super::access::AccessLog;
use super::aside::aside;
use super::config::values::Address;
use super::config::{Config, Endpoint};
use super::follow::Follower;
use super::lane::{Command, Crew, Plan};
use super::report::LaneReport;
use super::roster::Roster;
use super::security::{self, Securities};
use super::tls::{self, Files, Tls};
use crate::http::port::Port;
use crate::log;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// See the module.
#[derive(Debug)]
pub struct Control {
    /// None for the demo.
    pub file: Option<PathBuf>,
    /// Has the file read.
    pub change: Option<mpsc::Sender<()>>,
    /// Who wants to know what comes of the next reading.
    asked: Vec<oneshot::Sender<Reloaded>>,
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
    /// Names that operators have given, while they are resolved.
    pub resolving: Arc<Semaphore>,
    /// Where operators ask.
    pub port: Rc<Port>,
    /// Times that a file was taken, and was refused.
    pub reloads: u64,
    pub reloads_refused: u64,
    /// Why the file as it is now is not in force.
    pub refused: Option<String>,
    pub draining: bool,
}

/// True if the file was another; the reason if it isn't in force.
type Reloaded = Result<bool, String>;

/// What a file is, read with all that it names.
struct Reading {
    read: Read,
    config: Result<Config, String>,
    files: Files,
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
/// Names at once.
const RESOLVING_MAX: usize = 8;
/// A file is read in far less.
const READING_SLOW: Duration = Duration::from_secs(5);

impl Control {
    /// The first plan is in force before the lanes are.
    pub fn new(file: Option<PathBuf>, read: Read, plan: &Plan, roster: Roster, crew: Arc<Crew>) -> Self {
        Self {
            file,
            change: None,
            asked: Vec::new(),
            read,
            config: plan.config.clone(),
            tls: plan.tls.clone(),
            securities: plan.lists.iter().map(|list| list.security.clone()).collect(),
            follower: None,
            roster,
            crew,
            access: None,
            resolving: Arc::new(Semaphore::new(RESOLVING_MAX)),
            port: Rc::default(),
            reloads: 0,
            reloads_refused: 0,
            refused: None,
            draining: false,
        }
    }

    /// Has the file read: what comes of it.
    pub fn ask_reload(&mut self) -> Result<oneshot::Receiver<Reloaded>, String> {
        let change = self.change.as_ref().filter(|_| self.file.is_some());
        let change = change.ok_or("the demo goes by no file: start the gateway with --config FILE")?;
        let (tell, told) = oneshot::channel();
        // Who has waited too long hears nothing any more.
        self.asked.retain(|tell| !tell.is_closed());
        self.asked.push(tell);
        // Where a change waits to be read already, that is enough.
        let _ = change.try_send(());
        Ok(told)
    }

    /// Goes by the file as it was read, if it is another and sound. The reason if it isn't sound.
    fn go_by(&mut self, file: &Path, reading: Reading) -> Reloaded {
        let Reading { read, config, files } = reading;
        if read == self.read {
            return self.refused.clone().map_or(Ok(false), Err);
        }
        self.read = read;
        let taken = config.and_then(|config| self.take(file, config, &files));
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

    /// Adds an endpoint, or changes the weight of one that is there.
    pub fn add(&mut self, service: &str, name: Address, at: SocketAddr, weight: u32) -> Result<(), Unchanged> {
        self.alter(service, |endpoints| {
            match endpoints.iter_mut().find(|endpoint| endpoint.address == at) {
                Some(endpoint) => endpoint.weight = weight,
                None => endpoints.push(Endpoint { name: name.0, address: at, weight }),
            }
            Ok(())
        })
    }

    /// An endpoint gets no new requests.
    pub fn drain(&mut self, service: &str, address: &str) -> Result<(), Unchanged> {
        self.alter(service, |endpoints| {
            let mut all = endpoints.iter_mut();
            let endpoint = all.find(|endpoint| endpoint.is(address)).ok_or(Unchanged::NoEndpoint)?;
            endpoint.weight = 0;
            Ok(())
        })
    }

    /// An endpoint is gone once it has ended what it has.
    pub fn remove(&mut self, service: &str, address: &str) -> Result<(), Unchanged> {
        self.alter(service, |endpoints| {
            let before = endpoints.len();
            endpoints.retain(|endpoint| !endpoint.is(address));
            if endpoints.len() == before { Err(Unchanged::NoEndpoint) } else { Ok(()) }
        })
    }

    fn alter(
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

impl Reading {
    /// May take as long as file systems and servers of names like.
    fn of(file: &Path, follower: Option<&Follower>) -> Result<Self, String> {
        let text = Config::text_of(file).map_err(|error| error.to_string())?;
        let config = Config::of_text(Some(file), &text);
        // They are followed before they are read, so that no change is missed.
        if let (Some(follower), Ok(config)) = (follower, &config) {
            follower.follow_all(config.files());
        }
        let files = config.as_ref().map(|config| Files::read(config.files())).unwrap_or_default();
        Ok(Self { read: Read::new(text, &files), config, files })
    }
}

/// Reads the file aside, and goes by it. Whoever calls it does so once at a time, so that one thread hangs where all would.
pub async fn reload(control: &RefCell<Control>) {
    let (file, follower, asked) = {
        let mut control = control.borrow_mut();
        (control.file.clone(), control.follower.clone(), std::mem::take(&mut control.asked))
    };
    let Some(file) = file else { return };
    let path = file.clone();
    let mut reading = aside(move || Reading::of(&path, follower.as_ref()));
    let read = match tokio::time::timeout(READING_SLOW, &mut reading).await {
        Ok(read) => read,
        Err(_) => {
            let message = "the file is still being read: a file system or a server of names doesn't answer";
            log::warn("gateway", message, &[("file", &file.display())]);
            reading.await
        }
    };
    let read = read.unwrap_or_else(|_| Err(format!("{} can't be read: see the log", file.display())));
    let reloaded = read.and_then(|reading| control.borrow_mut().go_by(&file, reading));
    for tell in asked {
        // Some have gone.
        let _ = tell.send(reloaded.clone());
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
