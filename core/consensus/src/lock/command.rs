//! What clients ask of a lock, and what they are answered.

use super::value::{Mode, PERMIT_COUNT_MAX};
use base::limits::{
    LOCK_ID_BYTES_MAX, LOCK_NAME_BYTES_MAX, LOCK_OWNER_BYTES_MAX, LOCK_TTL_MS_MAX, LOCK_TTL_MS_MIN, LOCK_WAIT_MS_MAX,
};
use bytes::Bytes;

/// A request for one lock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    Acquire(Acquire),
    Renew {
        owner: Bytes,
        token: u64,
        ttl_ms: u64,
    },
    Release {
        owner: Bytes,
        token: u64,
    },
    /// Of nodes alone: somewhere a fence up to `above` was seen, so the fence of this grant is to be larger.
    Raise {
        owner: Bytes,
        token: u64,
        above: u64,
    },
    /// Of nodes alone: the client of a grant is gone.
    GiveBack {
        token: u64,
    },
    /// Of nodes alone: grants whose time is over go, though nobody wants the lock, and what may or may not be chosen is decided.
    Tidy,
    Info,
}

/// LOCK.ACQUIRE.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Acquire {
    pub owner: Bytes,
    pub ttl_ms: u64,
    /// Zero: refuse at once what can't be granted.
    pub wait_ms: u64,
    pub claim: Claim,
    /// Re-entry: the token of a grant that the owner has.
    pub token: Option<u64>,
    /// The same owner with the same id asks again. Empty if the client gave none: the node that takes the request makes one up.
    pub id: Bytes,
}

/// How much of a lock is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    Exclusive,
    Shared,
    Permits { count: u32, of: u32 },
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// `remaining_ms` counts from before the request was sent; it is zero if the request waited, and the lease then begins with the
    /// sending of the first renewal. `fence` is zero for permits.
    Granted {
        token: u64,
        fence: u64,
        remaining_ms: u64,
    },
    /// Counts from before the request was sent.
    Renewed {
        remaining_ms: u64,
    },
    Released,
    /// Another holds it.
    Refused,
    /// This token holds nothing, and never will again.
    Lost,
    /// It may or may not take effect.
    Unknown,
    /// It took no effect: too few voters can be reached.
    NoQuorum,
    /// It took no effect: too much waits already.
    Overloaded,
    Info(Info),
    Invalid(Invalid),
}

/// What INFO tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Info {
    pub version: u64,
    pub fence: u64,
    /// The last token given out.
    pub token: u64,
    pub mode: Mode,
    pub holders: Vec<HolderInfo>,
    /// Requests that wait at the home that answered.
    pub waiting: u64,
}

/// One holder, as INFO tells.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HolderInfo {
    pub owner: Bytes,
    pub token: u64,
    pub renewal: u64,
    pub ttl_ms: u64,
    pub weight: u32,
    /// What is left of the lease as voters see it; zero if it may be taken.
    pub remaining_ms: u64,
}

/// What is wrong with a request; it took no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Invalid {
    NameEmpty,
    NameTooLong,
    OwnerEmpty,
    OwnerTooLong,
    IdTooLong,
    TtlOutOfRange,
    WaitTooLong,
    PermitsOutOfRange,
    /// It is a semaphore of another size while somebody holds permits.
    PermitsDiffer {
        of: u32,
    },
    /// No more names can be kept.
    TooManyLocks,
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NameEmpty => f.write_str("the name of a lock can't be empty"),
            Self::NameTooLong => write!(f, "the name of a lock has at most {LOCK_NAME_BYTES_MAX} bytes"),
            Self::OwnerEmpty => f.write_str("the owner of a lock can't be empty"),
            Self::OwnerTooLong => write!(f, "the owner of a lock has at most {LOCK_OWNER_BYTES_MAX} bytes"),
            Self::IdTooLong => write!(f, "the id of a request has at most {LOCK_ID_BYTES_MAX} bytes"),
            Self::TtlOutOfRange => write!(f, "a ttl has from {LOCK_TTL_MS_MIN} to {LOCK_TTL_MS_MAX} milliseconds"),
            Self::WaitTooLong => write!(f, "a wait has at most {LOCK_WAIT_MS_MAX} milliseconds"),
            Self::PermitsOutOfRange => {
                write!(f, "permits are from 1 to all of a semaphore's, which are at most {PERMIT_COUNT_MAX}")
            }
            Self::PermitsDiffer { of } => write!(f, "the semaphore has {of} permits while it is held"),
            Self::TooManyLocks => f.write_str("too many lock names are in use"),
        }
    }
}

impl Command {
    /// Whether name and arguments are within their bounds.
    pub fn check(&self, name: &[u8]) -> Result<(), Invalid> {
        bounds(name.len(), LOCK_NAME_BYTES_MAX, Invalid::NameEmpty, Invalid::NameTooLong)?;
        let owner =
            |owner: &Bytes| bounds(owner.len(), LOCK_OWNER_BYTES_MAX, Invalid::OwnerEmpty, Invalid::OwnerTooLong);
        match self {
            Self::Acquire(acquire) => {
                owner(&acquire.owner)?;
                check_ttl(acquire.ttl_ms)?;
                acquire.check()
            }
            Self::Renew { owner: by, ttl_ms, .. } => owner(by).and(check_ttl(*ttl_ms)),
            Self::Release { owner: by, .. } | Self::Raise { owner: by, .. } => owner(by),
            Self::GiveBack { .. } | Self::Tidy | Self::Info => Ok(()),
        }
    }
}

impl Acquire {
    fn check(&self) -> Result<(), Invalid> {
        let sound = match self.claim {
            Claim::Exclusive | Claim::Shared => true,
            Claim::Permits { count, of } => count > 0 && count <= of && of <= PERMIT_COUNT_MAX,
        };
        if self.id.len() > LOCK_ID_BYTES_MAX {
            Err(Invalid::IdTooLong)
        } else if self.wait_ms > LOCK_WAIT_MS_MAX {
            Err(Invalid::WaitTooLong)
        } else if sound {
            Ok(())
        } else {
            Err(Invalid::PermitsOutOfRange)
        }
    }
}

fn bounds(len: usize, max: usize, empty: Invalid, long: Invalid) -> Result<(), Invalid> {
    match len {
        0 => Err(empty),
        len if len > max => Err(long),
        _ => Ok(()),
    }
}

fn check_ttl(ttl_ms: u64) -> Result<(), Invalid> {
    if (LOCK_TTL_MS_MIN..=LOCK_TTL_MS_MAX).contains(&ttl_ms) { Ok(()) } else { Err(Invalid::TtlOutOfRange) }
}
