//! What may take as long as a file system or a server of names likes, on a thread of its own: whoever wants it may wait, or not.
//!
//! Such a thread can't be ended. So whoever begins one sees to it that there are few.

use tokio::sync::oneshot;

/// Does `work` aside; nothing comes if it panics, or no thread can be had.
pub fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (tell, told) = oneshot::channel();
    let run = move || drop(tell.send(work()));
    if let Err(error) = std::thread::Builder::new().name("aside".to_owned()).spawn(run) {
        crate::log::error("gateway", "there is no thread for what may take long", &[("error", &error)]);
    }
    told
}
