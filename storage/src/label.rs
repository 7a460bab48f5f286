//! Labels: small files that say what a directory is, such as the id of its node.
//!
//! ```text
//! file   value | space | crc u32, 8 hexadecimal digits, over (name | space | value) | newline
//! ```
//!
//! People can read them. A turned bit would make another node of this one, so they are checked like everything else; the
//! name in the checksum keeps one label from standing for another.

use crate::StorageError;
use crate::disk::{Disk, DiskFile};
use crate::error::{io, is_no_room};
use std::io::ErrorKind::NotFound;

/// More than any label has.
const LABEL_BYTES_MAX: usize = 64 * 1024;
/// The least that a disk writes at a time.
const SECTOR_BYTES: usize = 512;

/// The value of a label; nothing if the directory is new. A label that is missing beside a log is damage.
pub fn read_label<D: Disk>(disk: &D, name: &str) -> Result<Option<String>, StorageError> {
    let corrupt = |what: &str| StorageError::Corrupt { file: name.to_owned(), offset: 0, what: what.to_owned() };
    let file = match disk.open(name) {
        Err(error) if error.kind() == NotFound => {
            let names = disk.list().map_err(io("listing", "the data directory"))?;
            let fresh = !names.iter().any(|name| name.starts_with("wal-"));
            return if fresh { Ok(None) } else { Err(corrupt("it is missing, and there is a log")) };
        }
        opened => opened.map_err(io("opening", name))?,
    };
    let mut bytes = vec![0; LABEL_BYTES_MAX];
    let got = file.read_at(0, &mut bytes).map_err(io("reading", name))?;
    let text = std::str::from_utf8(&bytes[..got]).ok();
    let value = text.and_then(|text| text.rsplit_once(' ')).map(|(value, _)| value);
    match value.filter(|value| line(name, value).as_bytes() == &bytes[..got]) {
        Some(value) => Ok(Some(value.to_owned())),
        None => Err(corrupt("its checksum is not that of what it holds")),
    }
}

/// Writes a label so that it is there in whole or not at all, and durable.
pub fn write_label<D: Disk>(disk: &D, name: &str, value: &str) -> Result<(), StorageError> {
    let line = line(name, value);
    assert!(line.len() < LABEL_BYTES_MAX, "labels are short");
    let fresh = format!("{name}.tmp");
    match disk.remove(&fresh) {
        Err(error) if error.kind() != NotFound => return Err(io("removing", &fresh)(error)),
        _ => {}
    }
    let mut file = disk.create(&fresh).map_err(io("making", &fresh))?;
    file.write_at(0, line.as_bytes()).and_then(|()| file.sync_data()).map_err(io("writing", &fresh))?;
    disk.rename(&fresh, name).map_err(io("renaming", &fresh))?;
    disk.sync_dir().map_err(io("syncing", "the data directory"))
}

/// The same of a label that is there and keeps its length. Where no file can be made for lack of room it is written in place: it lies
/// within a sector, which a disk writes in whole or not at all.
pub fn rewrite_label<D: Disk>(disk: &D, name: &str, value: &str) -> Result<(), StorageError> {
    let full = match write_label(disk, name, value) {
        Err(StorageError::Io { source, .. }) if is_no_room(&source) => io("writing", name)(source),
        done => return done,
    };
    let line = line(name, value);
    let mut file = disk.open(name).map_err(io("opening", name))?;
    if file.len().map_err(io("looking at", name))? != line.len() as u64 || line.len() > SECTOR_BYTES {
        return Err(full);
    }
    file.write_at(0, line.as_bytes()).and_then(|()| file.sync_data()).map_err(io("writing", name))
}

fn line(name: &str, value: &str) -> String {
    let crc = crc32c::crc32c(format!("{name} {value}").as_bytes());
    format!("{value} {crc:08x}\n")
}
