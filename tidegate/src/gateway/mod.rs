//! `tidegate gateway`: the HTTP front door. What it decides stands in `core/gateway`; here are its sockets, threads and files.
//!
//! Reading order: [`lane`] (a thread), [`door`], [`tls`] and [`visit`] (a connection of a client), [`inlet`] and [`strict`] (what may come in by
//! HTTP/1.1), [`streams`] (HTTP/2),
//! [`call`] and [`exchange`] (a request), [`upstream`] (a service), [`line`], [`pool`] and [`want`] (connections to endpoints), [`body`] (what streams),
//! [`watch`] (bounds on time); and [`config`], [`control`] and [`admin`] above them.

mod access;
mod admin;
mod aside;
mod body;
mod cache;
mod call;
mod check;
mod config;
mod control;
mod demo;
mod door;
mod exchange;
mod follow;
mod front;
mod grpc;
mod handover;
mod headers;
mod inlet;
mod lane;
mod limit;
mod line;
mod metrics;
mod mirror;
mod place;
mod pool;
mod record;
mod refusal;
mod report;
mod roster;
mod route;
mod security;
mod standing;
mod stream;
mod streams;
mod strict;
mod timer;
mod tls;
pub mod top;
mod trace;
mod trunk;
mod tunnel;
mod upstream;
mod visit;
mod want;
mod watch;
mod wire;

use crate::cli::Gateway as Options;
use crate::log;
use access::AccessLog;
use config::Config;
use control::{Control, Read};
use follow::Follower;
use handover::{Listeners, Offer, Predecessor};
use lane::{Command, Crew, Plan};
use roster::Roster;
use std::cell::RefCell;
use std::error::Error;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::thread::JoinHandle;
use std::time::Duration;
use tls::Files;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

/// Runs the gateway until it is told to stop.
pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    log::start(options.log_level, options.log_format);
    let text =
        options.config.as_deref().map_or_else(|| demo::start(options.port).map_err(Into::into), Config::text_of)?;
    let config = Arc::new(Config::of_text(options.config.as_deref(), &text)?);
    let named = Files::read(config.files());
    let tls = tls::make(&config.listeners, &named, &[])?;
    let securities = security::make(&config.services, &named, &[])?;
    if options.validate {
        tls::ends(&tls).iter().for_each(|(shown, message)| println!("{}: {message}", shown.file));
        println!("the file is sound; services: {}", config.services.len());
        return Ok(());
    }
    tls::warn_of_ends(&tls);
    let connections_most = connections_most(config.connections_max);
    let (listeners, predecessor) = listeners(&config)?;
    let mut roster = Roster::default();
    roster.follow(&config);
    let plan = Arc::new(Plan { lists: roster.lists(&config, &securities)?, config: config.clone(), tls });
    let (mailboxes, inboxes): (Vec<_>, Vec<_>) = (0..config.lanes).map(|_| mpsc::unbounded_channel()).unzip();
    let open = (0..config.lanes).map(|_| AtomicU32::new(0)).collect();
    let crew = Arc::new(Crew { mailboxes, open, connections_most, requests: AtomicU32::new(0) });
    let (access, writer) = config.access_log.as_deref().map(AccessLog::open).transpose()?.unzip();
    let mut control = Control::new(options.config.clone(), Read::new(text, &named), &plan, roster, crew.clone());
    control.access.clone_from(&access);
    let accepted = listeners.http.iter().map(TcpListener::try_clone).collect::<std::io::Result<_>>()?;
    let lanes = start_lanes(&crew, inboxes, &plan, (accepted, access))?;
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(tokio::runtime::LocalOptions::default())?;
    let offer = control.config.handover.as_deref().map(Offer::prepare).transpose()?;
    runtime.block_on(command(control, listeners, predecessor, offer))?;
    drop(runtime);
    for lane in lanes {
        lane.join().map_err(|_| "a lane ended by a panic")??;
    }
    if let Some(writer) = writer {
        writer.end(LOG_TIME_MAX)?;
    }
    log::info("gateway", "stopped", &[]);
    Ok(())
}

/// How long the last lines of the access log may take to be written.
const LOG_TIME_MAX: Duration = Duration::from_secs(5);
/// Files that are none of a request's.
const FILES_RESERVED: u64 = 100;

/// As many connections of clients as the limit of open files allows, of which a quarter is for endpoints: they share theirs.
fn connections_most(wanted: u32) -> u32 {
    let files = crate::descriptors::raise();
    let most = u32::try_from((files - files / 4).saturating_sub(FILES_RESERVED)).unwrap_or(u32::MAX).max(1);
    if most < wanted {
        let fields: log::Fields<'_> = &[("from", &wanted), ("to", &most), ("open_files_max", &files)];
        log::warn("gateway", "limits.connections is lowered to what the limit of open files allows", fields);
    }
    most
}

type Running = JoinHandle<std::io::Result<()>>;

fn start_lanes(
    crew: &Arc<Crew>,
    inboxes: Vec<UnboundedReceiver<Command>>,
    plan: &Arc<Plan>,
    (mut listeners, access): (Vec<TcpListener>, Option<AccessLog>),
) -> std::io::Result<Vec<Running>> {
    let start = |(number, inbox)| {
        let hands = (std::mem::take(&mut listeners), access.clone());
        let (crew, plan, seed) = (crew.clone(), plan.clone(), seed()?);
        let thread = std::thread::Builder::new().name(format!("lane-{number}"));
        thread.spawn(move || lane::run(number, crew, inbox, &plan, hands, seed))
    };
    inboxes.into_iter().enumerate().map(start).collect()
}

/// What the process's first thread does: it answers operators, follows the file and hears signals, until one says stop, or another
/// process has taken over.
async fn command(
    control: Control,
    listeners: Listeners,
    predecessor: Option<Predecessor>,
    offer: Option<Offer>,
) -> std::io::Result<()> {
    let control = Rc::new(RefCell::new(control));
    follow_file(&control)?;
    let (http, admin) = (addresses(&control.borrow().config, &listeners.http)?, listeners.admin.local_addr()?);
    let operators = tokio::net::TcpListener::from_std(listeners.admin.try_clone()?)?;
    let operators = tokio::task::spawn_local(admin::serve(operators, control.clone()));
    if let Some(predecessor) = predecessor {
        // If it has died meanwhile, the listeners are here all the same.
        match predecessor.release() {
            Ok(()) => log::info("gateway", "the process that ran before takes no more connections", &[]),
            Err(error) => log::warn("gateway", "the process that ran before didn't answer", &[("error", &error)]),
        }
    }
    let (hand_over, mut handed_over) = mpsc::unbounded_channel();
    let kept = hand_over.clone();
    if let Some(Err(error)) = offer.map(|offer| offer.begin(listeners, hand_over)) {
        // The process that ran before has gone already: clients come first.
        log::error("gateway", "no other process can take over from this one", &[("error", &error)]);
    }
    let (stop, mut stopped) = mpsc::unbounded_channel();
    on_signal(SignalKind::terminate(), stop.clone())?;
    on_signal(SignalKind::interrupt(), stop.clone())?;
    tokio::task::spawn_local(async move {
        if handed_over.recv().await.is_some() {
            log::info("gateway", "another process serves from now on", &[]);
            operators.abort();
            let _ = stop.send(());
        }
    });
    let pid = std::process::id();
    println!("ready {http} admin={admin} pid={pid}");
    std::io::stdout().flush()?;
    log::info("gateway", "ready", &[("at", &http), ("admin", &admin), ("pid", &pid)]);
    stopped.recv().await;
    drop(kept);
    log::info("gateway", "stopping: finishing what was begun", &[]);
    control.borrow_mut().stop();
    let crew = control.borrow().crew.clone();
    // The admin endpoint answers until the last lane has ended.
    for mailbox in &crew.mailboxes {
        mailbox.closed().await;
    }
    Ok(())
}

/// Goes by the file as it is, from now on; SIGHUP has it read too, and the access log opened anew.
fn follow_file(control: &admin::Shared) -> std::io::Result<()> {
    // One that waits is enough: all is read anew.
    let (change, mut changed) = mpsc::channel(1);
    let file = control.borrow().file.clone();
    if let Some(file) = file {
        let mut control = control.borrow_mut();
        let follower = Follower::start(change.clone())?;
        follower.follow_all(control.config.files().chain([&file]));
        control.follower = Some(follower);
        // They may have changed since they were read.
        let _ = change.try_send(());
    }
    control.borrow_mut().change = Some(change.clone());
    let (hang_up, mut hung_up) = mpsc::unbounded_channel();
    on_signal(SignalKind::hangup(), hang_up)?;
    let access = control.borrow().access.clone();
    tokio::task::spawn_local(async move {
        while hung_up.recv().await.is_some() {
            access.iter().for_each(AccessLog::reopen);
            let _ = change.try_send(());
        }
    });
    let control = control.clone();
    // What is wrong with the file is logged where it is found.
    tokio::task::spawn_local(async move {
        while changed.recv().await.is_some() {
            control::reload(&control).await;
        }
    });
    Ok(())
}

/// The listeners: those of the process that runs, if it hands them over, or new ones.
fn listeners(config: &Config) -> Result<(Listeners, Option<Predecessor>), Box<dyn Error>> {
    let taken = config.handover.as_deref().map(handover::take).transpose();
    let taken = taken.map_err(|error| format!("gateway.handover: {error}; stop the process there, and start again"))?;
    let Some((listeners, predecessor)) = taken.flatten() else {
        let http = config.listeners.iter().map(|listener| bind("gateway.listen", listener.address));
        let http = http.collect::<Result<Vec<_>, _>>()?;
        return Ok((Listeners { http, admin: bind("gateway.admin", config.admin)? }, None));
    };
    let there = listeners.admin.local_addr()?;
    if config.admin.port() != 0 && config.admin != there {
        let why = format!("gateway.admin is {}, and the process that runs listens at {there}", config.admin);
        return Err(format!("{why}: stop it first").into());
    }
    let wanted: Vec<SocketAddr> = config.listeners.iter().map(|listener| listener.address).collect();
    let http = matched(&wanted, listeners.http)?.into_iter().zip(&wanted);
    let http = http.map(|(there, wanted)| there.map_or_else(|| bind("gateway.listen", *wanted), Ok));
    let http = http.collect::<Result<Vec<_>, _>>()?;
    Ok((Listeners { http, admin: listeners.admin }, Some(predecessor)))
}

/// Those that were handed over at the places of the addresses that they have; where a free port will do, the others in their order.
fn matched(wanted: &[SocketAddr], there: Vec<TcpListener>) -> std::io::Result<Vec<Option<TcpListener>>> {
    let mut there: Vec<(SocketAddr, TcpListener)> =
        there.into_iter().map(|listener| Ok((listener.local_addr()?, listener))).collect::<std::io::Result<_>>()?;
    let mut places: Vec<Option<TcpListener>> = wanted.iter().map(|_| None).collect();
    for any_port in [false, true] {
        for (place, wanted) in places.iter_mut().zip(wanted).filter(|(_, wanted)| (wanted.port() == 0) == any_port) {
            let fits = |at: &SocketAddr| at == wanted || (any_port && at.ip() == wanted.ip());
            let found = there.iter().position(|(at, _)| fits(at));
            *place = found.map(|found| there.remove(found).1);
        }
    }
    Ok(places)
}

/// Their addresses, for the ready line.
fn addresses(config: &Config, listeners: &[TcpListener]) -> std::io::Result<String> {
    let (mut clear, mut secured) = (Vec::new(), Vec::new());
    for (listener, socket) in config.listeners.iter().zip(listeners) {
        let told = if listener.tls.is_some() { &mut secured } else { &mut clear };
        told.push(socket.local_addr()?.to_string());
    }
    let kinds = [("http", clear), ("https", secured)].into_iter().filter(|(_, all)| !all.is_empty());
    Ok(kinds.map(|(kind, all)| format!("{kind}={}", all.join(","))).collect::<Vec<_>>().join(" "))
}

/// Each signal of a kind is a message from now on.
fn on_signal(kind: SignalKind, told: UnboundedSender<()>) -> std::io::Result<()> {
    let mut signals = signal(kind)?;
    tokio::task::spawn_local(async move { while signals.recv().await.is_some() && told.send(()).is_ok() {} });
    Ok(())
}

fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, Box<dyn Error>> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into()).and_then(|()| socket.listen(4096)).map_err(|error| {
        format!("{address} can't be listened on: {error}; choose another by {key}, or port 0 for a free one")
    })?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Chance for one lane.
fn seed() -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
