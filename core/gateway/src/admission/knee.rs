//! How many requests a service can bear at once: an adaptive limit at the knee, where throughput has stopped rising and latency has
//! not begun to.
//!
//! By L = λW, a service with W seconds of work per request and room for μ requests per second needs L = μW inside; all beyond
//! that only waits. Below the knee W doesn't depend on L, above it W grows with L. So the limit follows the gradient
//! of W against the W without load: `limit * W0 / W + q`, with q of the order of the limit's root for what arrives unevenly.
//!
//! All of it hangs on W0. Taken as the least W of late, it creeps up under lasting overload, since no W is without load then, and
//! the limit with it; taken once, it is wrong as soon as the service changes. So this asks the service itself. **A probe**
//! lowers the limit for a moment to where q isn't and at least a quarter less is inside, waits until those who are too many have
//! left, and measures. What counts is the pair of W before and W in the probe:
//!
//! * W fell with L: the limit stands above the knee. W0 is at most what the probe saw, and is never raised.
//! * W stayed: there is no queueing in it, however long it is. That is W0, also if it is twice what it was: the service has become
//!   slower, or is asked for other things.
//!
//! A probe comes when the limit was cut much or W stays above W0, else seldom; by the time that the last one took, probes are
//! bounded to a few percent of time, each of which costs a part of the throughput, never all. While the limit doesn't bind, nothing is
//! limited and W is W0 for free; a limit that was not needed for a while isn't believed to be of use, and shrinks to twice what is.
//!
//! `sim gateway compare` has this beside Vegas, Netflix' gradient2, Envoy's gradient controller, AIMD by latency, and a limit by the
//! largest throughput and the least W as BBR has; docs/gateway-overload.md has the figures.

use crate::numbers::{count, real, whole};
use base::Instant;
use base::mutation::{self, Mutation};
use base::time::NS_PER_MS;

/// The limit.
#[derive(Debug)]
pub(crate) struct Knee {
    least: f64,
    first: f64,
    most: f64,
    limit: f64,
    no_load: Option<Mean>,
    phase: Phase,
    window: Window,
    /// Who leaves before this tells of another phase.
    count_from: Instant,
    /// W of the last window that was no probe.
    cruise: Option<Mean>,
    /// Below this the limit grows by factors: it has been there before, or nothing has ever spoken against it.
    fast_below: f64,
    /// While it is being cut: the window of the largest W, and the limit then.
    cuts: Option<(Mean, f64)>,
    slow_windows: u32,
    probe: ProbePlan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Cruise,
    /// Waits until no more are inside than the probe wants.
    Draining {
        limit: u32,
        since: Instant,
    },
    Probing {
        limit: u32,
        since: Instant,
    },
}

#[derive(Clone, Copy, Debug)]
struct ProbePlan {
    last_end: Instant,
    last_took_ns: u64,
    /// The limit behind the last probe.
    limit: f64,
}

/// What is measured until there is enough of it.
#[derive(Clone, Copy, Debug)]
struct Window {
    begun: Instant,
    samples: Samples,
    inside: u32,
    counted: Instant,
    area: f64,
    /// True if somebody had to wait or was shed.
    bound: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Samples {
    n: u32,
    sum: f64,
    sum_of_squares: f64,
}

/// A mean and the variance of that mean.
#[derive(Clone, Copy, Debug)]
struct Mean {
    us: f64,
    variance: f64,
}

impl Knee {
    pub(crate) fn new(now: Instant, least: u32, first: u32, most: u32) -> Self {
        let least = f64::from(least.max(1));
        let first = f64::from(first).max(least);
        Self {
            least,
            first,
            most: f64::from(most).max(first),
            limit: first,
            no_load: None,
            phase: Phase::Cruise,
            window: Window::new(now, 0),
            count_from: now,
            cruise: None,
            fast_below: f64::INFINITY,
            cuts: None,
            slow_windows: 0,
            probe: ProbePlan { last_end: now, last_took_ns: 0, limit: first },
        }
    }

    pub(crate) fn limit(&self) -> u32 {
        match self.phase {
            Phase::Cruise => count(self.limit.floor()),
            Phase::Draining { limit, .. } | Phase::Probing { limit, .. } => limit,
        }
    }

    pub(crate) fn no_load_us(&self) -> Option<f64> {
        self.no_load.map(|mean| mean.us)
    }

    /// So many are inside from now on.
    pub(crate) fn on_inside(&mut self, now: Instant, inside: u32) {
        self.window.count(now, inside);
        if let Phase::Draining { limit, since } = self.phase
            && inside <= limit
        {
            self.phase = Phase::Probing { limit, since };
            self.begin_window(now);
            // Those that are left are the slow ones: they leave before anything is counted.
            self.count_from = Instant(now.0 + self.cruise.map_or(0, |w| whole(w.us * SETTLE_TIMES * 1e3)));
        }
    }

    /// Somebody has to wait, or is shed.
    pub(crate) fn on_bound(&mut self) {
        self.window.bound = true;
    }

    /// A request has been served in so long.
    pub(crate) fn on_sample(&mut self, now: Instant, us: u64) {
        if now < self.count_from {
            return self.window.begin_again(now);
        }
        // One that took a hundred times as long as others is no measure of a queue.
        let most = self.no_load.map_or(f64::INFINITY, |no_load| no_load.us * OUTLIER_TIMES);
        self.window.samples.add(real(us.max(1)).min(most));
        let n = f64::from(self.window.samples.n);
        let age = real(now.since_ns(self.window.begun));
        // Soon after a beginning, those who leave are the quick ones.
        let old_enough = age >= self.window.samples.mean().us * 1e3 * AGE_TIMES;
        match self.phase {
            Phase::Cruise
                if old_enough && (n >= self.samples_wanted() || (age >= WINDOW_NS_MAX && n >= SAMPLES_LEAST)) =>
            {
                self.on_window(now);
            }
            Phase::Probing { limit, .. } if old_enough && n >= self.probe_samples(limit) => self.on_probed(now),
            Phase::Cruise | Phase::Draining { .. } | Phase::Probing { .. } => self.give_up_long_probe(now),
        }
    }

    fn samples_wanted(&self) -> f64 {
        if self.limit < self.fast_below { self.limit.max(FAST_SAMPLES) } else { (3.0 * self.limit).max(SLOW_SAMPLES) }
    }

    /// So many that the mean is known to some percent, whatever the spread of W.
    fn probe_samples(&self, limit: u32) -> f64 {
        let spread = self.window.samples.cv2() / PROBE_DOUBT.powi(2);
        spread.clamp(PROBE_SAMPLES, PROBE_SAMPLES_MOST).max(2.0 * f64::from(limit))
    }

    /// A window of ordinary work is full.
    fn on_window(&mut self, now: Instant) {
        let window = self.window;
        let w = window.samples.mean();
        let used = window.mean_inside(now) / self.limit;
        self.begin_window(now);
        let no_load = *self.no_load.get_or_insert(w);
        if !window.bound && used < UNLOADED {
            return self.on_unbound(w, no_load, window.peak_wanted(now));
        }
        let alone = w;
        let w = match self.cruise {
            // The same as before as far as chance allows: both together tell more.
            Some(before) if (w.us - before.us).abs() < 3.0 * w.doubt() => before.with(w, 0.3),
            _ => w,
        };
        self.cruise = Some(w);
        // W without load is at most W.
        let no_load = if w.us + 2.0 * w.doubt_with(no_load) < no_load.us { no_load.with(w, 0.5) } else { no_load };
        self.no_load = Some(no_load);
        // What chance alone can make of W is no reason to cut.
        let surely = (w.us - w.doubt_with(no_load)).max(no_load.us / 2.0);
        let gradient = (no_load.us * TOLERANCE / surely).clamp(0.5, 1.0);
        if gradient < 1.0 {
            self.cut(gradient, alone);
        } else if window.bound || used >= BINDING {
            self.grow();
        }
        self.slow_windows = if surely > no_load.us * SUSPECT { self.slow_windows + 1 } else { 0 };
        if self.probe_due(now) && !mutation::on(Mutation::NoLoadNeverProbed) {
            self.begin_probe(now);
        }
    }

    fn cut(&mut self, gradient: f64, w: Mean) {
        let worst = match self.cuts {
            Some(worst) if worst.0.us >= w.us => worst,
            Some(_) => (w, self.limit),
            None => {
                self.fast_below = self.limit * 0.8;
                (w, self.limit)
            }
        };
        self.cuts = Some(worst);
        // Cuts that don't help are a probe as well.
        let asks = !mutation::on(Mutation::NoLoadNeverProbed);
        if asks && self.limit <= worst.1 * 0.7 && !fell(worst, (w, self.limit)) {
            self.cuts = None;
            return self.on_flat(w);
        }
        let wanted = self.limit * gradient + slack(self.limit);
        let part = if gradient > 0.9 { 0.3 } else { 0.7 };
        self.limit = (self.limit + (wanted - self.limit) * part).clamp(self.least, self.most);
    }

    /// W is the same with fewer inside: it is W0.
    fn on_flat(&mut self, w: Mean) {
        let no_load = self.no_load.unwrap_or(w);
        let changed = (w.us - no_load.us).abs() > 3.0 * w.doubt_with(no_load);
        let flat = no_load.with(w, if changed { 0.9 } else { 0.5 });
        if flat.us > no_load.us * 1.1 {
            // What was cut, was cut for the wrong reason.
            self.fast_below = self.fast_below.max(self.probe.limit * 0.8);
        }
        self.no_load = Some(flat);
    }

    fn grow(&mut self) {
        self.cuts = None;
        let fast = self.limit < self.fast_below;
        let slack = slack(self.limit);
        let grown = if fast { (self.limit * 1.5).min(self.fast_below) } else { self.limit };
        self.limit = grown.max(self.limit + slack * 0.3).min(self.most);
    }

    /// A window in which all that came had room: W is W0, and the limit is what was needed lately, twice.
    fn on_unbound(&mut self, w: Mean, no_load: Mean, needed: f64) {
        self.cuts = None;
        self.no_load = Some(no_load.with(w, 0.2));
        let of_use = (2.0 * needed).max(self.first.min(self.limit));
        if self.limit > of_use {
            self.limit += (of_use - self.limit) * 0.05;
        }
    }

    fn probe_due(&self, now: Instant) -> bool {
        let since = now.since_ns(self.probe.last_end);
        let suspicious = self.slow_windows >= 3 || self.limit < self.probe.limit * 0.8;
        let times = if suspicious { SUSPICIOUS_PROBE_TIMES } else { PROBE_TIMES };
        let least_ns = if suspicious { 100 * NS_PER_MS } else { 1_000 * NS_PER_MS };
        since >= self.probe.last_took_ns.saturating_mul(times).max(least_ns)
    }

    fn begin_probe(&mut self, now: Instant) {
        let lower = (self.limit - 2.0 * slack(self.limit)).clamp(self.limit / 2.0, self.limit * 0.75);
        self.phase = Phase::Draining { limit: count(lower.floor()).max(1), since: now };
        let inside = self.window.inside;
        self.on_inside(now, inside);
    }

    /// A probe has measured what it wanted.
    fn on_probed(&mut self, now: Instant) {
        let probed = self.window.samples.mean();
        let cruise = self.cruise.unwrap_or(probed);
        let no_load = self.no_load.unwrap_or(probed);
        let Phase::Probing { limit, .. } = self.phase else { return };
        if !fell((cruise, self.limit), (probed, f64::from(limit))) {
            self.on_flat(probed);
        } else if probed.us < no_load.us {
            self.no_load = Some(no_load.with(probed, 0.5));
        }
        self.end_probe(now);
    }

    fn give_up_long_probe(&mut self, now: Instant) {
        let (Phase::Draining { since, .. } | Phase::Probing { since, .. }) = self.phase else { return };
        let most_ns = self.no_load.map_or(0.0, |no_load| no_load.us * 1e3 * PROBE_AGE_TIMES);
        if real(now.since_ns(since)) <= most_ns.max(real(200 * NS_PER_MS)) {
            return;
        }
        let enough = matches!(self.phase, Phase::Probing { .. }) && f64::from(self.window.samples.n) >= SAMPLES_LEAST;
        if enough { self.on_probed(now) } else { self.end_probe(now) }
    }

    fn end_probe(&mut self, now: Instant) {
        let (Phase::Draining { since, .. } | Phase::Probing { since, .. }) = self.phase else { return };
        self.probe = ProbePlan { last_end: now, last_took_ns: now.since_ns(since), limit: self.limit };
        self.phase = Phase::Cruise;
        self.slow_windows = 0;
        self.begin_window(now);
        self.count_from = Instant(now.0 + self.cruise.map_or(0, |w| whole(w.us * 1e3)));
    }

    fn begin_window(&mut self, now: Instant) {
        self.window = Window::new(now, self.window.inside);
    }
}

impl Window {
    fn new(now: Instant, inside: u32) -> Self {
        Self { begun: now, samples: Samples::default(), inside, counted: now, area: 0.0, bound: false }
    }

    /// What was counted doesn't count.
    fn begin_again(&mut self, now: Instant) {
        *self = Self { bound: self.bound, ..Self::new(now, self.inside) };
    }

    fn count(&mut self, now: Instant, inside: u32) {
        self.area += f64::from(self.inside) * real(now.since_ns(self.counted));
        (self.counted, self.inside) = (self.counted.max(now), inside);
    }

    fn mean_inside(&self, now: Instant) -> f64 {
        let rest = f64::from(self.inside) * real(now.since_ns(self.counted));
        (self.area + rest) / real(now.since_ns(self.begun).max(1))
    }

    /// What a limit should allow for: the mean and what it swings by.
    fn peak_wanted(&self, now: Instant) -> f64 {
        let mean = self.mean_inside(now);
        mean + 3.0 * mean.sqrt()
    }
}

impl Samples {
    fn add(&mut self, us: f64) {
        self.n += 1;
        self.sum += us;
        self.sum_of_squares += us * us;
    }

    /// The square of the standard deviation over the mean.
    fn cv2(&self) -> f64 {
        let mean = self.mean();
        mean.variance * f64::from(self.n.max(1)) / mean.us.powi(2).max(1.0)
    }

    fn mean(&self) -> Mean {
        let n = f64::from(self.n.max(1));
        let us = self.sum / n;
        let variance = (self.sum_of_squares / n - us * us).max(0.0) / n;
        Mean { us, variance }
    }
}

impl Mean {
    /// How far chance moves it.
    fn doubt(&self) -> f64 {
        self.variance.sqrt()
    }

    fn doubt_with(&self, other: Self) -> f64 {
        (self.variance + other.variance).sqrt()
    }

    /// Moved by a part towards another.
    fn with(self, other: Self, part: f64) -> Self {
        let us = self.us + (other.us - self.us) * part;
        Self { us, variance: self.variance * (1.0 - part).powi(2) + other.variance * part.powi(2) }
    }
}

/// True if W fell with the limit, and neither by chance nor by next to nothing: all of it is queueing if W falls as the limit does.
fn fell(before: (Mean, f64), after: (Mean, f64)) -> bool {
    let by_chance = 2.0 * before.0.doubt_with(after.0);
    let elasticity = (before.0.us / after.0.us).ln() / (before.1 / after.1).ln().max(0.01);
    before.0.us - after.0.us > by_chance && elasticity > ELASTICITY
}

/// How many may wait inside the service for what arrives unevenly.
fn slack(limit: f64) -> f64 {
    (SLACK * limit.sqrt()).max(1.0)
}

const SLACK: f64 = 0.75;
/// W above W0 by so much is noise.
const TOLERANCE: f64 = 1.05;
/// W that falls less than this power of the limit is flat.
const ELASTICITY: f64 = 0.15;
/// W above W0 by so much for long is a reason to ask whether W0 is still true.
const SUSPECT: f64 = 1.3;
/// The limit binds if so much of it is used on average.
const BINDING: f64 = 0.9;
/// Below so much of the limit, W is without load.
const UNLOADED: f64 = 0.6;
const OUTLIER_TIMES: f64 = 100.0;
const FAST_SAMPLES: f64 = 32.0;
const SLOW_SAMPLES: f64 = 64.0;
const SAMPLES_LEAST: f64 = 8.0;
const WINDOW_NS_MAX: f64 = 1e9;
/// How many W a window takes at least.
const AGE_TIMES: f64 = 3.0;
/// How many W pass between the drain of a probe and its measurement.
const SETTLE_TIMES: f64 = 2.0;
/// A probe wants to know W to so much, from so many samples.
const PROBE_DOUBT: f64 = 0.05;
const PROBE_SAMPLES: f64 = 40.0;
const PROBE_SAMPLES_MOST: f64 = 2_000.0;
/// How many W a probe takes at most.
const PROBE_AGE_TIMES: f64 = 50.0;
/// From one probe to the next, in units of the time that it took.
const PROBE_TIMES: u64 = 60;
const SUSPICIOUS_PROBE_TIMES: u64 = 12;
