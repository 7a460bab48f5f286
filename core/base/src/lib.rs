//! Nouns of every layer: ids, time, chance, limits with units, codec, hash slots, log records, the ring.
//!
//! Everything here is a plain value with no behaviour that could differ between two machines: no clock, no
//! socket, no global. The other packages of `core/` build on these nouns and on nothing else that is shared.

pub mod codec;
pub mod ids;
pub mod limits;
pub mod mutation;
pub mod placement;
pub mod record;
pub mod ring;
pub mod rng;
pub mod roster;
pub mod slot;
pub mod time;

pub use ids::{ClientId, Epoch, Index, LaneId, NodeId, ShardId, Term};
pub use placement::Placement;
pub use roster::Roster;
pub use slot::Slot;
pub use time::{Instant, Stamp};
