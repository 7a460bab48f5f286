//! `tidegate gateway`: the HTTP front door. What it decides stands in `core/gateway`; here are its sockets, threads and files.
//!
//! Reading order: [`lane`] (a thread), [`visit`] (a connection of a client), [`inlet`] and [`strict`] (what may come in),
//! [`call`] and [`exchange`] (a request), [`upstream`] (a service), [`line`] and [`pool`] (connections to endpoints), [`body`] (what streams),
//! [`watch`] (bounds on time); and [`config`], [`control`] and [`admin`] above them.

mod access;
mod admin;
mod body;
mod cache;
mod call;
mod check;
mod config;
mod control;
mod demo;
mod exchange;
mod follow;
mod handover;
mod headers;
mod inlet;
mod lane;
mod limit;
mod line;
mod metrics;
mod pool;
mod record;
mod refusal;
mod report;
mod roster;
mod route;
mod standing;
mod strict;
mod timer;
mod trace;
mod upstream;
mod visit;
mod watch;

use crate::cli::Gateway as Options;
use crate::log;
use access::AccessLog;
use config::Config;
use control::Control;
use handover::{Listeners, Predecessor};
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
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

/// Runs the gateway until it is told to stop.
pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    log::start(options.log_level, options.log_format);
    let text =
        options.config.as_deref().map_or_else(|| demo::start(options.port).map_err(Into::into), Config::text_of)?;
    let config = Arc::new(Config::of_text(options.config.as_deref(), &text)?);
    if options.validate {
        println!("the file is sound; services: {}", config.services.len());
        return Ok(());
    }
    // A request takes two: its client's connection, and its endpoint's.
    let (files, wanted) = (crate::descriptors::raise(), 2 * u64::from(config.connections_max));
    if files < wanted {
        let fields: log::Fields<'_> = &[("open_files_max", &files), ("wanted", &wanted)];
        log::warn(
            "gateway",
            "the limit of open files is too low for limits.connections: raise it, or lower that",
            fields,
        );
    }
    let (listeners, predecessor) = listeners(&config)?;
    let mut roster = Roster::default();
    roster.follow(&config);
    let plan = Arc::new(Plan { lists: roster.lists(&config)?, config: config.clone() });
    let (mailboxes, inboxes): (Vec<_>, Vec<_>) = (0..config.lanes).map(|_| mpsc::unbounded_channel()).unzip();
    let open = (0..config.lanes).map(|_| AtomicU32::new(0)).collect();
    let crew = Arc::new(Crew { mailboxes, open });
    let (access, writer) = config.access_log.as_deref().map(AccessLog::open).transpose()?.unzip();
    let mut control = Control::new(options.config.clone(), text, config, roster, crew.clone());
    control.access.clone_from(&access);
    let lanes = start_lanes(&crew, inboxes, &plan, (listeners.http.try_clone()?, access))?;
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(tokio::runtime::LocalOptions::default())?;
    runtime.block_on(command(control, listeners, predecessor))?;
    drop(runtime);
    for lane in lanes {
        lane.join().map_err(|_| "a lane ended by a panic")??;
    }
    if let Some(writer) = writer {
        writer.join().map_err(|_| "the access log ended by a panic")?;
    }
    log::info("gateway", "stopped", &[]);
    Ok(())
}

type Running = JoinHandle<std::io::Result<()>>;

fn start_lanes(
    crew: &Arc<Crew>,
    inboxes: Vec<UnboundedReceiver<Command>>,
    plan: &Arc<Plan>,
    (listener, access): (TcpListener, Option<AccessLog>),
) -> std::io::Result<Vec<Running>> {
    let mut listener = Some(listener);
    let start = |(number, inbox)| {
        let (crew, plan, hands, seed) = (crew.clone(), plan.clone(), (listener.take(), access.clone()), seed()?);
        let thread = std::thread::Builder::new().name(format!("lane-{number}"));
        thread.spawn(move || lane::run(number, crew, inbox, &plan, hands, seed))
    };
    inboxes.into_iter().enumerate().map(start).collect()
}

/// What the process's first thread does: it answers operators, follows the file and hears signals, until one says stop, or another
/// process has taken over.
async fn command(control: Control, listeners: Listeners, predecessor: Option<Predecessor>) -> std::io::Result<()> {
    let control = Rc::new(RefCell::new(control));
    follow_file(&control)?;
    let (http, admin) = (listeners.http.local_addr()?, listeners.admin.local_addr()?);
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
    let path = control.borrow().config.handover.clone();
    let _kept = match &path {
        Some(path) => handover::offer(path, listeners, hand_over).map(|()| None)?,
        None => Some((listeners.admin, hand_over)),
    };
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
    println!("ready http={http} admin={admin} pid={pid}");
    std::io::stdout().flush()?;
    log::info("gateway", "ready", &[("http", &http), ("admin", &admin), ("pid", &pid)]);
    stopped.recv().await;
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
    let (change, mut changed) = mpsc::unbounded_channel();
    if let Some(file) = &control.borrow().file {
        follow::start(file, change.clone())?;
        // It may have changed since it was read.
        let _ = change.send(());
    }
    let (hang_up, mut hung_up) = mpsc::unbounded_channel();
    on_signal(SignalKind::hangup(), hang_up)?;
    let access = control.borrow().access.clone();
    tokio::task::spawn_local(async move {
        while hung_up.recv().await.is_some() {
            access.iter().for_each(AccessLog::reopen);
            let _ = change.send(());
        }
    });
    let control = control.clone();
    // What is wrong with the file is logged where it is found.
    tokio::task::spawn_local(async move {
        while changed.recv().await.is_some() {
            let _ = control.borrow_mut().reload();
        }
    });
    Ok(())
}

/// The listeners: those of the process that runs, if it hands them over, or new ones.
fn listeners(config: &Config) -> Result<(Listeners, Option<Predecessor>), Box<dyn Error>> {
    let taken = config.handover.as_deref().map(handover::take).transpose();
    let taken = taken.map_err(|error| format!("gateway.handover: {error}; stop the process there, and start again"))?;
    let Some((listeners, predecessor)) = taken.flatten() else {
        let http = bind("gateway.listen", config.listen)?;
        return Ok((Listeners { http, admin: bind("gateway.admin", config.admin)? }, None));
    };
    for (key, listener, wanted) in
        [("gateway.listen", &listeners.http, config.listen), ("gateway.admin", &listeners.admin, config.admin)]
    {
        let there = listener.local_addr()?;
        if wanted.port() != 0 && wanted != there {
            return Err(
                format!("{key} is {wanted}, and the process that runs listens at {there}: stop it first").into()
            );
        }
    }
    Ok((listeners, Some(predecessor)))
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
