//! `tidegate bench`: a load generator for any server that speaks RESP.
//!
//! It exists because most generators are closed loops: they wait for a reply before they send the next request, so
//! a target that stalls is asked less while it stalls, and the percentiles flatter it. Here `--rate` makes an open loop,
//! whose latencies count from when a request was due. Without it the loop is closed, and the output says so.
//!
//! Each thread has a readiness loop over its share of the connections and shares nothing with the others.

mod chance;
mod connection;
mod load;
pub mod options;
mod reply;
mod report;
mod schedule;
mod tally;
mod target;
mod window;
mod worker;

use base::rng::Rng;
use load::Load;
use options::Options;
use report::Report;
use schedule::Schedule;
use std::error::Error;
use std::io::{IsTerminal, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use tally::Tally;
use target::Target;
use window::Window;
use worker::{Live, Pace, Worker};

/// Runs the load and prints what came of it.
pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let load = Load::new(options)?;
    let target = Target::find(options)?;
    let threads = options.threads();
    let live = Live::default();
    let mut rng = Rng::new(options.seed);
    let mut workers = Vec::new();
    for number in 0..threads {
        let count = share(u64::from(options.connections), number, threads);
        let password = options.password.as_deref();
        let streams = (0..count).map(|_| target.connect(password)).collect::<Result<Vec<TcpStream>, _>>()?;
        let pipeline = usize::try_from(options.pipeline)?;
        let pace = pace(options, number, rng.next_u64());
        workers.push(Worker::new(&load, &live, pipeline, pace, window(options, number), rng.next_u64(), streams)?);
    }
    let tally = measure(workers, &live, load.names().len())?;
    let report = Report { target: &target.name, options, threads, names: load.names(), tally };
    let mut stdout = std::io::stdout().lock();
    if options.json {
        writeln!(stdout, "{}", report.json())?;
    } else {
        write!(stdout, "{}", report.text())?;
    }
    stdout.flush()?;
    report.failure().map_or(Ok(()), |why| Err(why.into()))
}

fn measure(workers: Vec<Worker<'_>>, live: &Live, ops: usize) -> Result<Tally, Box<dyn Error>> {
    std::thread::scope(|scope| {
        let (done, results) = channel();
        let count = workers.len();
        let start = Instant::now();
        for worker in workers {
            let done = done.clone();
            scope.spawn(move || {
                // The receiver is gone only when another thread's failure has ended the run.
                let _ = done.send(worker.run(start));
            });
        }
        drop(done);
        collect(&results, count, live, ops)
    })
}

/// Sums what the threads send at their ends; each second of waiting makes a progress line, on a terminal only.
fn collect(
    results: &Receiver<std::io::Result<Tally>>,
    mut count: usize,
    live: &Live,
    ops: usize,
) -> Result<Tally, Box<dyn Error>> {
    let mut sum = Tally::new(ops);
    let mut before = 0;
    let shown = std::io::stderr().is_terminal();
    let mut next = Instant::now() + PROGRESS_TIME;
    while count > 0 {
        match results.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(tally) => {
                sum.add(&tally?);
                count -= 1;
            }
            Err(RecvTimeoutError::Timeout) => {
                next += PROGRESS_TIME;
                let replies = live.replies.load(Ordering::Relaxed);
                if shown {
                    let errors = live.errors.load(Ordering::Relaxed);
                    eprint!("\r{:>9} replies/s, {replies} in all, {errors} errors\x1b[K", replies - before);
                }
                before = replies;
            }
            Err(RecvTimeoutError::Disconnected) => return Err("a thread of the generator ended by a panic".into()),
        }
    }
    if shown {
        eprint!("\r\x1b[K");
    }
    Ok(sum)
}

fn pace(options: &Options, number: u32, seed: u64) -> Pace {
    match options.rate {
        None => Pace::Closed,
        Some(rate) => Pace::open(Schedule::new(options.arrivals, rate, number, options.threads(), seed)),
    }
}

fn window(options: &Options, number: u32) -> Window {
    match options.requests {
        None => Window::of_time(options.warmup, options.duration),
        Some(requests) => Window::of_count(options.warmup, share(requests, number, options.threads())),
    }
}

/// The share of one thread; the shares of all sum up to the total.
fn share(total: u64, number: u32, threads: u32) -> u64 {
    let (number, threads) = (u64::from(number), u64::from(threads));
    total / threads + u64::from(number < total % threads)
}

const PROGRESS_TIME: Duration = Duration::from_secs(1);
