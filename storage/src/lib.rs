//! Bytes on disk behind [`Disk`]: the write-ahead log, snapshots, recovery. FORMAT.md draws every byte.
//!
//! Nothing is trusted that is not readable and checksummed. A failed sync is never retried: the log refuses all further
//! work and the process must stop.

mod aligned;
mod batch;
mod disk;
mod error;
mod label;
mod recover;
mod snapshot;
mod transfer;
mod wal;

pub use batch::record_bytes;
pub use disk::{Disk, DiskFile, RealDisk};
pub use error::StorageError;
pub use label::{read_label, rewrite_label, write_label};
pub use recover::Recovery;
pub use snapshot::{SnapshotReader, SnapshotWriter, remove_older};
pub use transfer::{SnapshotSink, SnapshotSource};
pub use wal::{Spare, SpareWanted, Wal, WalOptions};
