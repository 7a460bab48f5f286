//! The values that go in and out of a service.

use crate::EndpointId;
use base::Instant;

/// How important a request is: 0 is the most important. Among those who wait, a lower class never goes before a higher one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class(u8);

impl Class {
    pub const COUNT: usize = 4;
    pub const CRITICAL: Self = Self(0);
    pub const NORMAL: Self = Self(1);
    pub const LOW: Self = Self(2);
    pub const BACKGROUND: Self = Self(3);

    /// Class `n`; the least important one if there are fewer.
    #[must_use]
    pub fn new(n: u8) -> Self {
        Self(n.min(Self::BACKGROUND.0))
    }

    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The right to be inside the service: one request, however often it is tried. Given back by `Service::leave`.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a pass that isn't given back counts as a request inside for ever"]
pub struct Pass {
    pub(crate) admitted: Instant,
}

/// A request that waits to be admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// One try of a request at one endpoint, counted as in flight there until `Service::on_end`.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a flight that isn't ended counts as in flight for ever"]
pub struct Flight {
    pub(crate) endpoint: EndpointId,
    pub(crate) begun: Instant,
    /// How many were in flight there when it began, itself included.
    pub(crate) in_flight: u32,
    pub(crate) seat: usize,
}

impl Flight {
    #[must_use]
    pub fn endpoint(&self) -> EndpointId {
        self.endpoint
    }
}

/// What `Service::arrive` says.
#[derive(Debug, PartialEq, Eq)]
pub enum Admit {
    Go(Pass),
    Wait(Ticket),
    Shed(Shed),
}

/// A refusal that costs the upstream nothing: 503 with `Retry-After`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shed {
    /// When a request that comes again can expect to be served, in milliseconds from now.
    pub retry_after_ms: u64,
    pub why: Why,
}

impl Shed {
    /// The value of the header: whole seconds, rounded up, at least one.
    #[must_use]
    pub fn retry_after_s(&self) -> u64 {
        self.retry_after_ms.div_ceil(1000).max(1)
    }
}

/// Why a request is shed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// As many wait as may wait.
    QueueFull,
    /// It waited as long as waiting makes sense.
    WaitedTooLong,
    /// It could not be answered before its deadline.
    Deadline,
    /// A more important request took its place.
    Displaced,
}

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `status_class` is 2 for 2xx and so on; `first_byte_us` is from the sending to the head of the response.
    Answered {
        status_class: u8,
        first_byte_us: u64,
    },
    ConnectFailed,
    Reset,
    TimedOut,
    /// The client went, or the proxy gave up for reasons of its own: says nothing about the endpoint.
    Cancelled,
}

/// How a request that was inside ended, over all its tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// An upstream answered; from admission to the head of the response.
    Served {
        first_byte_us: u64,
    },
    TimedOut,
    Failed,
    Cancelled,
}

/// Why there is no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEndpoint {
    /// The service has none, or all have weight zero.
    Empty,
    /// All that could be used are among those to avoid.
    Avoided,
    /// All are dead by their checks, or ejected, and the service doesn't panic.
    Unhealthy,
    /// The breakers of all are open or full.
    BreakersOpen,
}

/// The result of an active check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    Passed,
    Failed,
    /// It could not be made, for reasons that are not the endpoint's: says nothing.
    Unknown,
}

/// Whether doing a request twice can do harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safety {
    /// By its method.
    Idempotent,
    /// No byte of it was sent.
    NothingSent,
    Unsafe,
}

/// A request that failed and might be tried again.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// How often it was tried so far.
    pub tries: u32,
    pub safety: Safety,
    pub deadline: Option<Instant>,
}

/// Whether to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Behind a pause (0 for the first retry): so that many that failed at once don't come back at once.
    After {
        pause_ms: u64,
    },
    No(WhyNot),
}

/// Why a request isn't tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WhyNot {
    Unsafe,
    TriedEnough,
    BudgetSpent,
    Deadline,
}

/// What a call wants done, and what it wants known. The caller empties it.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Those who waited and are admitted now.
    pub go: Vec<(Ticket, Pass)>,
    /// Those who waited in vain.
    pub shed: Vec<(Ticket, Shed)>,
    /// Endpoints to check now; each answer comes by `Service::on_check`.
    pub checks: Vec<EndpointId>,
    pub events: Vec<Event>,
}

/// What happened, for logs and counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    CheckFailing(EndpointId),
    CheckPassing(EndpointId),
    Ejected {
        id: EndpointId,
        for_ms: u64,
    },
    Returned(EndpointId),
    BreakerOpened(EndpointId),
    BreakerClosed(EndpointId),
    /// A removed endpoint has ended its last request.
    Drained(EndpointId),
    /// So many endpoints are out that all are used.
    PanicBegun,
    PanicOver,
    OverloadBegun,
    OverloadOver,
}
