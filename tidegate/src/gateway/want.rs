//! What this machine lacks for a connection to an endpoint: then nobody is connected to, and the endpoint is not to blame.
//!
//! So it counts against no endpoint, and is neither tried elsewhere, where it would fail the same way, nor taken for a failed check. But
//! ports are wanting toward one address at a time: toward another there may be some.

use super::upstream::add;
use crate::log;
use base::Instant;
use rustix::io::Errno;
use std::cell::Cell;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Descriptors, of the process or of the machine.
    Files,
    /// The kernel's, for sockets.
    Memory,
    /// Local ports toward an endpoint's address, or any local address from which it is reached.
    Ports,
}

/// Why there is no connection.
#[derive(Clone, Debug)]
pub struct Unconnected {
    pub why: String,
    /// None if it is the endpoint's fault.
    pub want: Option<Want>,
}

/// What a lane has counted of a service's, and when it has told of it.
#[derive(Debug, Default)]
pub struct Wants {
    counts: [Cell<u64>; Want::ALL.len()],
    told: Cell<Option<Instant>>,
}

/// Between two lines of the log.
const TELL_EVERY_NS: u64 = 10_000_000_000;

impl Want {
    pub const ALL: [(Self, &str); 3] = [(Self::Files, "files"), (Self::Memory, "memory"), (Self::Ports, "ports")];

    fn of(error: &std::io::Error) -> Option<Self> {
        match Errno::from_io_error(error)? {
            Errno::MFILE | Errno::NFILE => Some(Self::Files),
            Errno::NOBUFS | Errno::NOMEM => Some(Self::Memory),
            Errno::ADDRNOTAVAIL => Some(Self::Ports),
            _ => None,
        }
    }
}

impl From<std::io::Error> for Unconnected {
    fn from(error: std::io::Error) -> Self {
        Self { why: error.to_string(), want: Want::of(&error) }
    }
}

impl From<String> for Unconnected {
    fn from(why: String) -> Self {
        Self { why, want: None }
    }
}

impl Wants {
    /// Counts one, and tells operators now and then.
    pub fn note(&self, want: Want, service: &str, endpoint: &str, why: &str) {
        add(&self.counts[want as usize], 1);
        let now = crate::clock::boot();
        if self.told.get().is_some_and(|told| now.since_ns(told) < TELL_EVERY_NS) {
            return;
        }
        self.told.set(Some(now));
        let times: u64 = self.counts().iter().sum();
        let fields: log::Fields<'_> =
            &[("service", &service), ("endpoint", &endpoint), ("why", &why), ("times_so_far", &times)];
        let message = match want {
            Want::Files => {
                "no file is left for a connection to an endpoint: raise the limit of open files (LimitNOFILE=, ulimit -n)"
            }
            Want::Memory => "the kernel has no memory for a connection to an endpoint: see what uses it",
            Want::Ports => {
                "no local port is left for a connection to an endpoint: widen net.ipv4.ip_local_port_range, or give it more addresses"
            }
        };
        log::error("gateway", message, fields);
    }

    pub fn counts(&self) -> [u64; Want::ALL.len()] {
        std::array::from_fn(|at| self.counts[at].get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanting_here_is_told_from_what_endpoints_do() {
        let want = |errno: Errno| Unconnected::from(std::io::Error::from(errno)).want;
        for (errno, wanted) in [
            (Errno::MFILE, Some(Want::Files)),
            (Errno::NFILE, Some(Want::Files)),
            (Errno::NOBUFS, Some(Want::Memory)),
            (Errno::NOMEM, Some(Want::Memory)),
            (Errno::ADDRNOTAVAIL, Some(Want::Ports)),
            (Errno::CONNREFUSED, None),
            (Errno::CONNRESET, None),
            (Errno::HOSTUNREACH, None),
            (Errno::NETUNREACH, None),
            (Errno::TIMEDOUT, None),
        ] {
            assert_eq!(want(errno), wanted, "{errno}");
        }
        assert_eq!(Unconnected::from(std::io::Error::other("none of the kernel's")).want, None);
    }

    #[test]
    fn wants_are_listed_in_their_order() {
        for (at, (want, _)) in Want::ALL.iter().enumerate() {
            assert_eq!(*want as usize, at);
        }
    }
}
