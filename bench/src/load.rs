//! Open load: requests come by chance at a rate, whatever became of those before, each from a client of its own.

use crate::exchange::Connection;
use crate::figures::Figures;
use crate::{Load, Phase};
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// What all clients share.
#[derive(Debug)]
struct World {
    options: Load,
    /// Connections that nobody uses: clients come and go, their connections are kept.
    idle: RefCell<Vec<Connection>>,
    figures: RefCell<Figures>,
    clients: Cell<usize>,
    crowded: Cell<bool>,
}

/// Waits grow with each try, and are drawn between half and one and a half of this.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs all phases.
pub async fn run(options: Load) -> Result<(), Box<dyn Error>> {
    let phases = options.phases.clone();
    let world = Rc::new(World {
        options,
        idle: RefCell::default(),
        figures: RefCell::new(Figures::new()),
        clients: Cell::new(0),
        crowded: Cell::new(false),
    });
    let mut second = 0;
    for (number, phase) in phases.into_iter().enumerate() {
        let mut all = Figures::new();
        let begun = Instant::now();
        let mut due = begun;
        for at in 0..phase.seconds {
            let end = begun + Duration::from_secs(at + 1);
            due = world.arrivals(phase, due, end).await;
            sleep_until(end).await;
            let figures = world.figures.replace(Figures::new());
            if !world.options.quiet {
                println!("second={second} phase={number} {}", figures.line(1.0));
            }
            all.merge(&figures);
            second += 1;
        }
        #[expect(clippy::cast_precision_loss, reason = "an hour at most")]
        let seconds = phase.seconds as f64;
        println!("phase={number} asked_per_s={} seconds={} {}", phase.per_s, phase.seconds, all.line(seconds));
        if world.crowded.get() {
            return Err("more clients than --clients-max waited at once: the figures are not those of open load".into());
        }
    }
    Ok(())
}

impl World {
    /// Sends out the clients who are due before `end`. Returns when the next one is.
    async fn arrivals(self: &Rc<Self>, phase: Phase, mut due: Instant, end: Instant) -> Instant {
        while due < end {
            sleep_until(due).await;
            if self.clients.get() < self.options.clients_max {
                self.clients.set(self.clients.get() + 1);
                tokio::task::spawn_local(self.clone().client(due));
            } else {
                self.crowded.set(true);
            }
            due += Duration::from_secs_f64(-(1.0 - fastrand::f64()).ln() / phase.per_s);
        }
        due
    }

    /// One request, with its tries.
    async fn client(self: Rc<Self>, due: Instant) {
        self.figures.borrow_mut().offered += 1;
        let mut tries = 0;
        loop {
            tries += 1;
            let begun = Instant::now();
            self.figures.borrow_mut().tries += 1;
            let time = Duration::from_millis(self.options.timeout_ms);
            let answer = timeout(time, self.attempt(self.options.target)).await.ok();
            let is_last = tries > self.options.retries;
            if self.figures.borrow_mut().note(answer, (begun.elapsed(), due.elapsed())) || is_last {
                break;
            }
            tokio::time::sleep(PAUSE.mul_f64(f64::from(tries) * (0.5 + fastrand::f64()))).await;
        }
        self.clients.set(self.clients.get() - 1);
    }

    /// One try: its status. A kept connection that was closed meanwhile is no answer of the service, so another is used.
    async fn attempt(&self, target: SocketAddr) -> std::io::Result<u16> {
        let kept = self.idle.borrow_mut().pop();
        let was_kept = kept.is_some();
        let mut connection = match kept {
            Some(connection) => connection,
            None => Connection::open(target).await?,
        };
        let mut answer = connection.ask(&self.options.path).await;
        if was_kept && answer.is_err() {
            connection = Connection::open(target).await?;
            answer = connection.ask(&self.options.path).await;
        }
        let (status, keep) = answer?;
        if keep {
            self.idle.borrow_mut().push(connection);
        }
        Ok(status)
    }
}
