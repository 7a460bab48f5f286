//! The configuration file, followed: the kernel tells when its folder changes, and it is read anew when its text is another.
//!
//! Editors and orchestrators replace a file by renaming another over it, or swap a link: so the folder is watched, not the file. A
//! thread of its own waits, as there is no safe way to hand the kernel's events to the runtime.

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::mem::MaybeUninit;
use std::path::Path;
use tokio::sync::mpsc::UnboundedSender;

/// Says so whenever something in the folder of `file` was written or replaced, until nobody listens.
pub fn start(file: &Path, told: UnboundedSender<()>) -> std::io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let events = inotify::init(CreateFlags::CLOEXEC)?;
    inotify::add_watch(&events, folder, WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO)?;
    let wait = move || {
        let mut bytes = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(events, &mut bytes);
        while events.next().is_ok() && told.send(()).is_ok() {}
    };
    std::thread::Builder::new().name("follow".to_owned()).spawn(wait).map(drop)
}
