//! The configuration file, and the files that it names, followed: the kernel tells when one of their folders changes, and they are
//! read anew when they have.
//!
//! Editors and orchestrators replace a file by renaming another over it, or swap a link: so folders are watched, not files. A
//! thread of its own waits, as there is no safe way to hand the kernel's events to the runtime.

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

/// See the module.
#[derive(Clone, Debug)]
pub struct Follower(Arc<OwnedFd>);

impl Follower {
    /// Says so whenever something in a followed folder was written or replaced, until nobody listens.
    pub fn start(told: Sender<()>) -> std::io::Result<Self> {
        let events = Arc::new(inotify::init(CreateFlags::CLOEXEC)?);
        let follower = Self(events.clone());
        let wait = move || {
            let mut bytes = [MaybeUninit::uninit(); 4096];
            let mut events = inotify::Reader::new(events, &mut bytes);
            // Where one waits to be heard, that is enough.
            while events.next().is_ok() && !matches!(told.try_send(()), Err(TrySendError::Closed(()))) {}
        };
        std::thread::Builder::new().name("follow".to_owned()).spawn(wait)?;
        Ok(follower)
    }

    /// The folders of all these. The file system may take its time.
    pub fn follow_all<'a>(&self, files: impl Iterator<Item = &'a PathBuf>) {
        for file in files {
            if let Err(error) = self.follow(file) {
                let fields: crate::log::Fields<'_> = &[("file", &file.display()), ("error", &error)];
                crate::log::warn(
                    "gateway",
                    "changes of a file aren't noticed: send SIGHUP when it has changed",
                    fields,
                );
            }
        }
    }

    /// The folder of `file` too, if it isn't already.
    fn follow(&self, file: &Path) -> std::io::Result<()> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        inotify::add_watch(&*self.0, folder, WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO)?;
        Ok(())
    }
}
