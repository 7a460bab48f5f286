//! A disk whose every fault is drawn from a seed.
//!
//! What was not synced may survive a power cut or not, sector by sector and in any order; a sector that was being written
//! may be torn. Names count as unsynced until their directory is synced, whatever was done to the file. The machine can be
//! stopped at any operation, a sync can fail, space can run out, and a bit can turn.

use base::rng::Rng;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use storage::{Disk, DiskFile};

/// What a power cut takes or leaves whole.
const SECTOR_BYTES: usize = 512;
const PAGE_BYTES: u64 = 4096;
/// The errors that a lack of room shows itself by: they take turns.
const NO_ROOM: [io::ErrorKind; 3] =
    [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];

/// One directory on one seeded disk; clones share it.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// One open file.
#[derive(Debug)]
pub struct SimFile {
    state: Arc<Mutex<State>>,
    inode: u64,
    /// The life of the machine that it was opened in.
    life: u64,
    /// Opened for whole pages alone.
    paged: bool,
}

/// How often each fault fired.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskCounts {
    pub operations: u64,
    pub syncs: u64,
    pub sectors_lost: u64,
    pub sectors_torn: u64,
    pub sectors_kept: u64,
    pub names_lost: u64,
    pub syncs_failed: u64,
    pub full: u64,
    pub bits_turned: u64,
}

#[derive(Debug)]
struct State {
    rng: Rng,
    /// For what the disk is asked to draw: faults don't depend on it.
    salts: Rng,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// Changes of names since the last sync of the directory.
    renames: Vec<Change>,
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    life: u64,
    capacity: u64,
    stop_in: Option<u64>,
    fail_sync_in: Option<u64>,
    stopped: bool,
    counts: DiskCounts,
}

#[derive(Clone, Debug)]
enum Change {
    Put { name: String, inode: u64 },
    Move { from: String, to: String },
    Drop { name: String },
}

#[derive(Clone, Debug, Default)]
struct Inode {
    bytes: Vec<u8>,
    synced_len: usize,
    /// What unsynced sectors held at the last sync; nothing beyond its length.
    before: BTreeMap<usize, Vec<u8>>,
}

/// A copy of everything that is on the disk, to bring it back later.
#[derive(Debug)]
pub struct Image {
    names: BTreeMap<String, u64>,
    inodes: BTreeMap<u64, Inode>,
}

/// What a power cut does to what was not synced.
#[derive(Clone, Copy, Debug)]
pub enum Loss {
    /// The process alone died: nothing is lost.
    Nothing,
    /// Every sector and name for itself, by chance.
    Mixed,
    /// All of it.
    All,
}

impl SimDisk {
    /// An empty disk with room for `capacity` bytes.
    #[must_use]
    pub fn new(seed: u64, capacity: u64) -> Self {
        let state = State {
            rng: Rng::new(seed),
            salts: Rng::new(!seed),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            renames: Vec::new(),
            inodes: BTreeMap::new(),
            next_inode: 1,
            life: 1,
            capacity,
            stop_in: None,
            fail_sync_in: None,
            stopped: false,
            counts: DiskCounts::default(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The machine stops in the middle of the `operations`-th operation from here that changes something.
    pub fn stop_in(&self, operations: u64) {
        self.lock().stop_in = Some(operations);
    }

    /// The `syncs`-th sync of a file from here fails, once; what it should have made durable is lost by chance.
    pub fn fail_sync_in(&self, syncs: u64) {
        self.lock().fail_sync_in = Some(syncs);
    }

    /// What was planned to fail does not.
    pub fn be_sound(&self) {
        let mut state = self.lock();
        (state.stop_in, state.fail_sync_in) = (None, None);
    }

    /// Sets how many bytes the disk holds.
    pub fn set_capacity(&self, bytes: u64) {
        self.lock().capacity = bytes;
    }

    /// Bytes in use.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.lock().used()
    }

    /// True once the machine has stopped in an operation.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Ends this life of the machine: files opened before are void, and what was not synced is lost as `loss` says.
    pub fn restart(&self, loss: Loss) {
        self.lock().restart(loss);
    }

    /// Turns one bit of one file by chance; the file, the byte and what it was.
    pub fn turn_a_bit(&self) -> Option<(String, usize)> {
        let mut state = self.lock();
        let files: Vec<(String, u64)> = state.names.iter().map(|(name, inode)| (name.clone(), *inode)).collect();
        let at = state.rng.below(files.len().max(1) as u64);
        let (name, inode) = files.get(index(at))?.clone();
        let len = state.inodes.get(&inode)?.bytes.len() as u64;
        if len == 0 {
            return None;
        }
        // Most of a segment is unused zeros: prefer its front.
        let bound = if state.rng.one_in(2) { len.min(16 * 1024) } else { len };
        let (byte, bit) = (index(state.rng.below(bound)), state.rng.below(8));
        state.inodes.get_mut(&inode)?.bytes[byte] ^= 1 << bit;
        state.counts.bits_turned += 1;
        Some((name, byte))
    }

    /// Everything as it is now.
    #[must_use]
    pub fn image(&self) -> Image {
        let state = self.lock();
        Image { names: state.names.clone(), inodes: state.inodes.clone() }
    }

    /// Brings an image back, as durable.
    pub fn bring_back(&self, image: Image) {
        let mut state = self.lock();
        state.names.clone_from(&image.names);
        state.durable_names = image.names;
        state.renames.clear();
        state.inodes = image.inodes;
    }

    /// How often each fault fired.
    #[must_use]
    pub fn counts(&self) -> DiskCounts {
        self.lock().counts
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_inode(&self, inode: u64, life: u64) -> SimFile {
        SimFile { state: self.state.clone(), inode, life, paged: false }
    }
}

impl State {
    fn used(&self) -> u64 {
        self.names.values().filter_map(|inode| self.inodes.get(inode)).map(|file| file.bytes.len() as u64).sum()
    }

    /// Counts an operation that changes something; `Err` if the machine stops in it, after which nothing works.
    fn change(&mut self) -> Result<(), Stop> {
        if self.stopped {
            return Err(Stop::Before);
        }
        self.counts.operations += 1;
        match &mut self.stop_in {
            None => Ok(()),
            Some(0) => {
                self.stopped = true;
                self.stop_in = None;
                Err(Stop::During)
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn put_name(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.renames.push(change);
    }

    fn write(&mut self, inode: u64, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let stop = self.change();
        if matches!(stop, Err(Stop::Before)) {
            return Err(power_is_off());
        }
        // A write that the machine stops in reaches the cache up to some byte.
        let wanted = if stop.is_err() { index(self.rng.below(bytes.len() as u64 + 1)) } else { bytes.len() };
        let used = self.used();
        let file = self.inodes.get_mut(&inode).ok_or_else(power_is_off)?;
        let grows = (offset + wanted).saturating_sub(file.bytes.len()) as u64;
        if grows > 0 && used + grows > self.capacity {
            self.counts.full += 1;
            return Err(io::Error::from(NO_ROOM[index(self.counts.full % 3)]));
        }
        file.write(offset, &bytes[..wanted]);
        if stop.is_err() { Err(power_is_off()) } else { Ok(()) }
    }

    fn sync(&mut self, inode: u64) -> io::Result<()> {
        self.change().map_err(|_| power_is_off())?;
        self.counts.syncs += 1;
        match &mut self.fail_sync_in {
            Some(0) => {
                self.fail_sync_in = None;
                self.counts.syncs_failed += 1;
                // The kernel drops what it could not write, and a second sync would report success.
                self.settle(inode, Loss::Mixed);
                return Err(io::Error::other("input/output error"));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        let file = self.inodes.get_mut(&inode).ok_or_else(power_is_off)?;
        file.before.clear();
        file.synced_len = file.bytes.len();
        Ok(())
    }

    /// Decides what becomes of a file's unsynced sectors.
    fn settle(&mut self, inode: u64, loss: Loss) {
        let Self { rng, inodes, counts, .. } = self;
        let Some(file) = inodes.get_mut(&inode) else { return };
        let shorter = match loss {
            Loss::Nothing => false,
            Loss::Mixed => rng.one_in(2),
            Loss::All => true,
        };
        for (sector, before) in std::mem::take(&mut file.before) {
            let from = sector * SECTOR_BYTES;
            let to = (from + SECTOR_BYTES).min(file.bytes.len());
            let mut old = before;
            old.resize(to - from, 0);
            let keep = match loss {
                Loss::Nothing => to - from,
                Loss::All => 0,
                Loss::Mixed if rng.one_in(8) => index(rng.below((to - from) as u64 + 1)),
                Loss::Mixed => (to - from) * usize::from(rng.one_in(2)),
            };
            counts.sectors_kept += u64::from(keep == to - from);
            counts.sectors_lost += u64::from(keep == 0);
            counts.sectors_torn += u64::from(keep > 0 && keep < to - from);
            file.bytes[from + keep..to].copy_from_slice(&old[keep..]);
        }
        if shorter && file.synced_len < file.bytes.len() {
            file.bytes.truncate(file.synced_len);
        }
        file.synced_len = file.bytes.len();
    }

    fn restart(&mut self, loss: Loss) {
        let changes = std::mem::take(&mut self.renames);
        let mut names = std::mem::take(&mut self.durable_names);
        // A directory's changes reach the disk in their order or not at all behind the first lost one, mostly; now and
        // then each for itself.
        let in_order = !self.rng.one_in(4);
        let mut lost = false;
        for change in changes {
            let keep = match loss {
                Loss::Nothing => true,
                Loss::All => false,
                Loss::Mixed => !(lost && in_order) && self.rng.one_in(2),
            };
            if keep {
                apply(&mut names, &change);
            } else {
                lost = true;
                self.counts.names_lost += 1;
            }
        }
        let inodes: Vec<u64> = self.inodes.keys().copied().collect();
        for inode in inodes {
            if names.values().any(|named| *named == inode) {
                self.settle(inode, loss);
            } else {
                self.inodes.remove(&inode);
            }
        }
        self.durable_names.clone_from(&names);
        self.names = names;
        self.life += 1;
        self.stopped = false;
        self.stop_in = None;
        self.fail_sync_in = None;
    }
}

impl Inode {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        for sector in offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            let from = (sector * SECTOR_BYTES).min(self.bytes.len());
            let to = (from + SECTOR_BYTES).min(self.bytes.len());
            let now = &self.bytes[from..to];
            self.before.entry(sector).or_insert_with(|| now.to_vec());
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset..end].copy_from_slice(bytes);
    }
}

/// Why an operation did nothing or not all.
#[derive(Clone, Copy)]
enum Stop {
    Before,
    During,
}

fn apply(names: &mut BTreeMap<String, u64>, change: &Change) {
    match change {
        Change::Put { name, inode } => drop(names.insert(name.clone(), *inode)),
        Change::Move { from, to } => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
        Change::Drop { name } => drop(names.remove(name)),
    }
}

fn power_is_off() -> io::Error {
    io::Error::other("the machine has stopped")
}

fn index(n: u64) -> usize {
    usize::try_from(n).expect("simulated files are small")
}

impl Disk for SimDisk {
    type File = SimFile;

    fn create(&self, name: &str) -> io::Result<SimFile> {
        let mut state = self.lock();
        state.change().map_err(|_| power_is_off())?;
        if state.names.contains_key(name) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        let (inode, life) = (state.next_inode, state.life);
        state.next_inode += 1;
        state.inodes.insert(inode, Inode::default());
        state.put_name(Change::Put { name: name.to_owned(), inode });
        drop(state);
        Ok(self.open_inode(inode, life))
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        let state = self.lock();
        let inode = *state.names.get(name).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let life = state.life;
        drop(state);
        Ok(self.open_inode(inode, life))
    }

    fn create_paged(&self, name: &str) -> io::Result<SimFile> {
        Ok(SimFile { paged: true, ..self.create(name)? })
    }

    fn open_paged(&self, name: &str) -> io::Result<SimFile> {
        Ok(SimFile { paged: true, ..self.open(name)? })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.change().map_err(|_| power_is_off())?;
        if !state.names.contains_key(from) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        state.put_name(Change::Move { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.change().map_err(|_| power_is_off())?;
        if !state.names.contains_key(name) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        state.put_name(Change::Drop { name: name.to_owned() });
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().names.keys().cloned().collect())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.change().map_err(|_| power_is_off())?;
        let names = state.names.clone();
        state.durable_names = names;
        state.renames.clear();
        Ok(())
    }

    fn random(&self) -> io::Result<u64> {
        Ok(self.lock().salts.next_u64())
    }
}

impl SimFile {
    fn lock(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.life == self.life { Ok(state) } else { Err(power_is_off()) }
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let state = self.lock()?;
        let file = state.inodes.get(&self.inode).ok_or_else(power_is_off)?;
        let from = index(offset).min(file.bytes.len());
        let to = (from + buf.len()).min(file.bytes.len());
        buf[..to - from].copy_from_slice(&file.bytes[from..to]);
        Ok(to - from)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let whole = offset.is_multiple_of(PAGE_BYTES) && bytes.len().is_multiple_of(4096);
        let aligned = bytes.as_ptr().align_offset(4096) == 0;
        assert!(!self.paged || (whole && aligned), "paged_files_take_whole_aligned_pages");
        self.lock()?.write(self.inode, index(offset), bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.lock()?.sync(self.inode)
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.lock()?;
        Ok(state.inodes.get(&self.inode).ok_or_else(power_is_off)?.bytes.len() as u64)
    }
}
