//! The disk as storage sees it: one flat directory. The simulator brings its own.

use crate::StorageError;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One directory of files.
pub trait Disk: Clone + Send + 'static {
    type File: DiskFile;
    /// Makes a file that must not exist.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    /// Like [`Disk::create`], for whole pages alone, written from buffers that begin on a page of memory.
    fn create_paged(&self, name: &str) -> io::Result<Self::File>;
    /// Like [`Disk::open`], for whole pages alone, written from buffers that begin on a page of memory.
    fn open_paged(&self, name: &str) -> io::Result<Self::File>;
    /// Renames a file, replacing one of the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// All names.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes all former creates, renames and removes durable.
    fn sync_dir(&self) -> io::Result<()>;
    /// 64 bits that nobody can guess.
    fn random(&self) -> io::Result<u64>;
}

/// One open file.
pub trait DiskFile: Send + 'static {
    /// Reads at `offset`; fewer bytes than asked for only at the end of the file.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
    /// Asks for the room of a new file of `bytes`: whether there is some is known before it is filled.
    fn reserve(&mut self, _bytes: u64) -> io::Result<()> {
        Ok(())
    }
    /// Writes all of `bytes` at `offset`.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything written durable.
    fn sync_data(&mut self) -> io::Result<()>;
    /// Bytes in the file.
    fn len(&self) -> io::Result<u64>;
    /// True if the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// A directory of the operating system, locked against other processes.
#[derive(Clone, Debug)]
pub struct RealDisk {
    dir: Arc<Path>,
    /// The directory itself, to be synced: kept open, so that this needs no descriptor.
    handle: Arc<File>,
    _lock: Arc<File>,
}

impl RealDisk {
    /// Makes the directory if need be, and locks it.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        let shown = dir.display().to_string();
        std::fs::create_dir_all(dir).map_err(crate::error::io("making", &shown))?;
        let path: PathBuf = dir.join("lock");
        let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let lock = opened.map_err(crate::error::io("opening the lock of", &shown))?;
        let handle = File::open(dir).map_err(crate::error::io("opening", &shown))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir: Arc::from(dir), handle: Arc::new(handle), _lock: Arc::new(lock) }),
            Err(std::fs::TryLockError::WouldBlock) => Err(StorageError::Locked { dir: dir.to_owned() }),
            Err(std::fs::TryLockError::Error(source)) => Err(StorageError::Io { op: "locking", file: shown, source }),
        }
    }
}

/// The log is written once and read at the next start: the page cache would only copy it, which was a fifth of a busy
/// node's time.
const DIRECT: i32 = rustix::fs::OFlags::DIRECT.bits().cast_signed();

/// Some file systems know no direct writes: they get ordinary ones.
fn past_the_cache(direct: io::Result<File>, plain: impl FnOnce() -> io::Result<File>) -> io::Result<File> {
    match direct {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => plain(),
        other => other,
    }
}

impl Disk for RealDisk {
    type File = File;

    fn create(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(self.dir.join(name))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.dir.join(name))
    }

    fn create_paged(&self, name: &str) -> io::Result<File> {
        let path = self.dir.join(name);
        let plain = || OpenOptions::new().read(true).write(true).create_new(true).to_owned();
        past_the_cache(plain().custom_flags(DIRECT).open(&path), || plain().open(&path))
    }

    fn open_paged(&self, name: &str) -> io::Result<File> {
        let path = self.dir.join(name);
        let plain = || OpenOptions::new().read(true).write(true).to_owned();
        past_the_cache(plain().custom_flags(DIRECT).open(&path), || plain().open(&path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.dir.join(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn random(&self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        // So few bytes come whole, and need no descriptor.
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
        Ok(u64::from_le_bytes(bytes))
    }
}

impl DiskFile for File {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match FileExt::read_at(self, &mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        use rustix::io::Errno;
        match rustix::fs::fallocate(self, rustix::fs::FallocateFlags::empty(), 0, bytes) {
            // Some file systems know no such thing: there, filling the file will tell.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => Ok(()),
            reserved => Ok(reserved?),
        }
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}
