//! `tidegate gateway`: the HTTP front door. What it decides stands in `core/gateway`; here are its sockets, threads and files.

mod body;
mod check;
mod config;
mod exchange;
mod headers;
mod inlet;
mod lane;
mod line;
mod pool;
mod record;
mod refusal;
mod report;
mod roster;
mod route;
mod strict;
mod timer;
mod upstream;
mod visit;
mod watch;

use crate::cli::Gateway as Options;
use crate::log;
use config::Config;
use lane::{Command, Crew, Plan};
use roster::Roster;
use std::error::Error;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use tokio::sync::mpsc;

/// Runs the gateway until it is told to stop.
pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    log::start(options.log_level, options.log_format);
    let config = Arc::new(Config::read(&options.config)?);
    if options.validate {
        println!("{} is sound: {} services", options.config.display(), config.services.len());
        return Ok(());
    }
    let listener = bind("gateway.listen", config.listen)?;
    let admin = bind("gateway.admin", config.admin)?;
    let (http, admin_at) = (listener.local_addr()?, admin.local_addr()?);
    let mut roster = Roster::default();
    roster.follow(&config);
    let plan = Arc::new(Plan { lists: roster.lists(&config)?, config: config.clone() });
    let (mailboxes, inboxes): (Vec<_>, Vec<_>) = (0..config.lanes).map(|_| mpsc::unbounded_channel()).unzip();
    let open = (0..config.lanes).map(|_| AtomicU32::new(0)).collect();
    let crew = Arc::new(Crew { mailboxes, open });
    let mut listener = Some(listener);
    let mut running = Vec::new();
    for (number, inbox) in inboxes.into_iter().enumerate() {
        let (crew, plan, listener) = (crew.clone(), plan.clone(), listener.take());
        let seed = seed()?;
        let thread = std::thread::Builder::new().name(format!("lane-{number}"));
        running.push(thread.spawn(move || lane::run(number, crew, inbox, &plan, listener, seed))?);
    }
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT])?;
    println!("ready http={http} admin={admin_at} pid={}", std::process::id());
    std::io::stdout().flush()?;
    signals.forever().next();
    log::info("gateway", "stopping: finishing what was begun", &[]);
    crew.mailboxes.iter().for_each(|mailbox| drop(mailbox.send(Command::Drain(config.drain))));
    for lane in running {
        lane.join().map_err(|_| "a lane ended by a panic")??;
    }
    log::info("gateway", "stopped", &[]);
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
