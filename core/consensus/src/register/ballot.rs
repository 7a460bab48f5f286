//! The numbers of proposals. No two proposals of the world share one: a node counts up within a life, its incarnation tells its
//! lives apart, and a new epoch's are above all of the former one's, so that what a rescan brings along never wins over them.

use base::codec::{DecodeError, Reader, put_varint};
use base::{Epoch, NodeId};

/// A proposal's number; ordered by epoch, then count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ballot {
    pub epoch: Epoch,
    pub counter: u64,
    pub node: NodeId,
    pub incarnation: u64,
}

/// No register comes to such a count; the next ones are numbers too.
pub const COUNTER_MAX: u64 = 1 << 48;
/// More proposals than all registers of an epoch see between two messages that a node gets: a ballot further ahead is forged.
pub const LEAP_MAX: u64 = 1 << 32;

impl Ballot {
    /// Below all others: nothing was promised or accepted.
    pub const ZERO: Self = Self { epoch: Epoch(0), counter: 0, node: NodeId(0), incarnation: 0 };

    /// The one that whoever accepts this ballot promises to the same proposer with it.
    #[must_use]
    pub fn next(self) -> Self {
        Self { counter: self.counter + 1, ..self }
    }

    /// Appends the ballot to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.epoch.0);
        put_varint(out, self.counter);
        if *self != Self::ZERO {
            out.extend_from_slice(&self.node.0.to_le_bytes());
            put_varint(out, self.incarnation);
        }
    }

    /// Takes a ballot off the front of `reader`.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (epoch, counter) = (Epoch(reader.varint()?), reader.varint()?);
        if epoch > Epoch::MAX || counter > COUNTER_MAX {
            return Err(DecodeError::Overlong);
        }
        if epoch == Epoch(0) && counter == 0 {
            return Ok(Self::ZERO);
        }
        Ok(Self { epoch, counter, node: NodeId(reader.u64()?), incarnation: reader.varint()? })
    }
}
