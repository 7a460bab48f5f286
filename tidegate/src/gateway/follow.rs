//! The configuration file, and the files that it names, followed: the kernel tells when one of their folders changes, and they are
//! read anew when they have.
//!
//! Editors and orchestrators replace a file by renaming another over it, or swap a link: so folders are watched, not files. A
//! thread of its own waits, as there is no safe way to hand the kernel's events to the runtime.

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;

/// See the module.
#[derive(Debug)]
pub struct Follower(Arc<OwnedFd>);

impl Follower {
    /// Says so whenever something in a followed folder was written or replaced, until nobody listens.
    pub fn start(told: UnboundedSender<()>) -> std::io::Result<Self> {
        let events = Arc::new(inotify::init(CreateFlags::CLOEXEC)?);
        let follower = Self(events.clone());
        let wait = move || {
            let mut bytes = [MaybeUninit::uninit(); 4096];
            let mut events = inotify::Reader::new(events, &mut bytes);
            while events.next().is_ok() && told.send(()).is_ok() {}
        };
        std::thread::Builder::new().name("follow".to_owned()).spawn(wait)?;
        Ok(follower)
    }

    /// The folder of `file` too, if it isn't already.
    pub fn follow(&self, file: &Path) -> std::io::Result<()> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        inotify::add_watch(&*self.0, folder, WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO)?;
        Ok(())
    }
}
