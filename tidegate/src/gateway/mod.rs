//! `tidegate gateway`: the HTTP front door. What it decides stands in `core/gateway`; here are its sockets, threads and files.
//!
//! Reading order: [`lane`] (a thread), [`visit`] (a connection of a client), [`inlet`] and [`strict`] (what may come in),
//! [`exchange`] (a request), [`upstream`] (a service), [`line`] and [`pool`] (connections to endpoints), [`body`] (what streams),
//! [`watch`] (bounds on time); and [`config`], [`control`] and [`admin`] above them.

mod access;
mod admin;
mod body;
mod check;
mod config;
mod control;
mod demo;
mod exchange;
mod follow;
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
    let listener = bind("gateway.listen", config.listen)?;
    let admin = bind("gateway.admin", config.admin)?;
    let addresses = (listener.local_addr()?, admin.local_addr()?);
    let mut roster = Roster::default();
    roster.follow(&config);
    let plan = Arc::new(Plan { lists: roster.lists(&config)?, config: config.clone() });
    let (mailboxes, inboxes): (Vec<_>, Vec<_>) = (0..config.lanes).map(|_| mpsc::unbounded_channel()).unzip();
    let open = (0..config.lanes).map(|_| AtomicU32::new(0)).collect();
    let crew = Arc::new(Crew { mailboxes, open });
    let (access, writer) = config.access_log.as_deref().map(AccessLog::open).transpose()?.unzip();
    let mut control = Control::new(options.config.clone(), text, config, roster, crew.clone());
    control.access.clone_from(&access);
    let lanes = start_lanes(&crew, inboxes, &plan, (listener, access))?;
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(tokio::runtime::LocalOptions::default())?;
    runtime.block_on(command(control, admin, addresses))?;
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

/// What the process's first thread does: it answers operators, follows the file and hears signals, until one says stop.
async fn command(
    control: Control,
    admin: TcpListener,
    (http, admin_at): (SocketAddr, SocketAddr),
) -> std::io::Result<()> {
    let (change, mut changed) = mpsc::unbounded_channel();
    if let Some(file) = &control.file {
        follow::start(file, change.clone())?;
    }
    let (hang_up, mut hung_up) = mpsc::unbounded_channel();
    on_signal(SignalKind::hangup(), hang_up)?;
    let control = Rc::new(RefCell::new(control));
    // It may have changed since it was read.
    let _ = control.borrow_mut().reload();
    tokio::task::spawn_local(admin::serve(tokio::net::TcpListener::from_std(admin)?, control.clone()));
    let (stop, mut stopped) = mpsc::unbounded_channel();
    on_signal(SignalKind::terminate(), stop.clone())?;
    on_signal(SignalKind::interrupt(), stop)?;
    let pid = std::process::id();
    println!("ready http={http} admin={admin_at} pid={pid}");
    std::io::stdout().flush()?;
    log::info("gateway", "ready", &[("http", &http), ("admin", &admin_at), ("pid", &pid)]);
    let of_file = control.clone();
    // What is wrong with the file is logged where it is found.
    tokio::task::spawn_local(async move {
        while changed.recv().await.is_some() {
            let _ = of_file.borrow_mut().reload();
        }
    });
    let access = control.borrow().access.clone();
    tokio::task::spawn_local(async move {
        while hung_up.recv().await.is_some() {
            access.iter().for_each(AccessLog::reopen);
            let _ = change.send(());
        }
    });
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
