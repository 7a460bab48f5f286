//! What can go wrong with a disk: what happened, where, and what to do.

use std::io;
use std::path::PathBuf;

/// A storage error. All but [`StorageError::NoSpace`] mean that the node must stop.
#[derive(Debug)]
pub enum StorageError {
    Io {
        op: &'static str,
        file: String,
        source: io::Error,
    },
    /// Bytes that were durable have changed.
    Corrupt {
        file: String,
        offset: u64,
        what: String,
    },
    /// Another version wrote the file.
    OtherFormat {
        file: String,
        found: u8,
        read: u8,
    },
    /// Making a new file failed for lack of space, of quota, of what a file may hold, or of descriptors; nothing was lost
    /// and nothing is half made.
    NoSpace {
        file: String,
        source: io::Error,
    },
    /// Another process has the directory.
    Locked {
        dir: PathBuf,
    },
    /// An earlier error has left unknown what is on disk.
    Poisoned,
}

impl std::fmt::Display for StorageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io { op, file, source } => {
                write!(f, "{op} {file} failed: {source}; check the disk, then start again")
            }
            Self::Corrupt { file, offset, what } => write!(
                f,
                "{file} is damaged at byte {offset}: {what}; what was acknowledged can't be read back, so nothing is \
                 served; restore the directory from a copy"
            ),
            Self::OtherFormat { file, found, read } => {
                write!(f, "{file} is of format {found}, and this version reads {read}: start the version that wrote it")
            }
            Self::NoSpace { file, source } => write!(
                f,
                "no room for {file}: {source}; writes are refused, reads go on; make room and writes go on by themselves"
            ),
            Self::Locked { dir } => {
                write!(f, "another process uses {}; stop it or choose another --dir", dir.display())
            }
            Self::Poisoned => write!(f, "the log has failed before and takes nothing more; start again"),
        }
    }
}

impl std::error::Error for StorageError {}

/// True for an error of a new file that passes when somebody makes room: the disk is full, the quota is used up, files of
/// this size are not allowed, or the process or the system has no descriptor left.
pub(crate) fn is_no_room(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    use rustix::io::Errno;
    let descriptors = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge) || descriptors.contains(&error.raw_os_error())
}

/// Names the operation and the file of an I/O error.
pub(crate) fn io<'a>(op: &'static str, file: &'a str) -> impl FnOnce(io::Error) -> StorageError + 'a {
    move |source| StorageError::Io { op, file: file.to_owned(), source }
}
