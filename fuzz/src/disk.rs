//! A disk in memory without faults: storage's recovery over bytes that a target brings.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use storage::{Disk, DiskFile};

type Bytes = Arc<Mutex<Vec<u8>>>;

/// One directory.
#[derive(Clone, Debug, Default)]
pub struct MemDisk(Arc<Mutex<BTreeMap<String, Bytes>>>);

/// One file.
#[derive(Clone, Debug)]
pub struct MemFile(Bytes);

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn index(n: u64) -> usize {
    usize::try_from(n).expect("files fit in memory")
}

impl MemDisk {
    /// Puts a file there.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        lock(&self.0).insert(name.to_owned(), Arc::new(Mutex::new(bytes)));
    }

    /// The bytes of a file.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        lock(&self.0).get(name).map(|file| lock(file).clone()).unwrap_or_default()
    }
}

impl Disk for MemDisk {
    type File = MemFile;

    fn create(&self, name: &str) -> io::Result<MemFile> {
        self.put(name, Vec::new());
        self.open(name)
    }

    fn open(&self, name: &str) -> io::Result<MemFile> {
        lock(&self.0).get(name).cloned().map(MemFile).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create_paged(&self, name: &str) -> io::Result<MemFile> {
        self.create(name)
    }

    fn open_paged(&self, name: &str) -> io::Result<MemFile> {
        self.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = lock(&self.0);
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        lock(&self.0).remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.0).keys().cloned().collect())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn random(&self) -> io::Result<u64> {
        // Inputs are made again from their seeds.
        Ok(0x5a17)
    }
}

impl DiskFile for MemFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let file = lock(&self.0);
        let from = index(offset).min(file.len());
        let to = (from + buf.len()).min(file.len());
        buf[..to - from].copy_from_slice(&file[from..to]);
        Ok(to - from)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut file = lock(&self.0);
        let end = index(offset) + bytes.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[end - bytes.len()..end].copy_from_slice(bytes);
        Ok(())
    }

    fn sync_data(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.0).len() as u64)
    }
}
