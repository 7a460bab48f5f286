//! One machine's behaviour, a lane at a time: inputs are calls, effects are values.
//!
//! A [`Lane`] owns some shards and decides what happens to each request: a read is answered from the applied state, a
//! write joins its shard's open entry, which is proposed at the end of the turn and answered when it has committed. The
//! driver calls one `on_*` per input and then carries out the [`Outbox`]. There is no clock, thread, socket or file here.

mod apart;
mod clock;
mod clocks;
mod cutting;
mod everywhere;
mod fences;
mod forward;
mod from_peers;
mod gather;
mod hearing;
mod lane;
mod locks;
mod memory;
mod once;
mod outbox;
pub mod peer;
mod reads;
mod replica;
mod routing;
mod script_parts;
mod scripts;
mod spread;
mod steward;
mod topics;
mod transfer;
mod turn;
mod wait;
mod waiting;
mod within;

pub use everywhere::Reach;
pub use from_peers::Misbehaved;
pub use lane::{Lane, LaneConfig, RecoveredReplica};
pub use locks::{LockCounts, LocksFound};
pub use memory::{Elsewhere, Memory};
pub use outbox::{
    Changed, Event, Heard, LaneMessage, Now, Outbox, OwnedRequest, Queued, RegisterRecord, Released, Request,
    SnapshotNews, SnapshotStep, SnapshotWaiting, Transaction, Writes,
};
pub use peer::PeerMessage;
pub use replica::ShardStatus;
pub use routing::Routing;
pub use scripts::ScriptTimes;
pub use steward::Founding;
pub use topics::Topics;
pub use transfer::Piece;
pub use wait::PeerWait;
pub use waiting::Ending;
