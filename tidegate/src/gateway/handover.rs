//! A restart that drops nothing: the new process takes the listening sockets over from the old one.
//!
//! ```text
//! new: connects to the old one's socket      old: sends all listeners, and goes on serving
//! new: serves, and says so                   old: takes no more connections, ends what it has, exits
//! ```
//!
//! The sockets are the same, so connections that the kernel has queued are served by whichever process takes them; with a second
//! socket on the same port (SO_REUSEPORT) those in the old one's queue would be reset. If the new process fails before it serves,
//! the old one has lost nothing.

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use std::io::{Error, IoSlice, IoSliceMut, Read, Result, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// The listeners of clients and of operators.
#[derive(Debug)]
pub struct Listeners {
    pub http: Vec<TcpListener>,
    pub admin: TcpListener,
}

/// The way back to the process that they came from.
#[derive(Debug)]
pub struct Predecessor(UnixStream);

/// What the new process says when it serves, and the old one when it has heard it.
const SERVING: u8 = b'S';
const HEARD: u8 = b'H';
/// What the listeners are sent with.
const LISTENERS: u8 = b'L';
/// More than a file can name.
const DESCRIPTORS_MAX: usize = 64;
/// The first part takes no longer where both are alive.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Takes the listeners over, if a process that has them answers at `path`.
pub fn take(path: &Path) -> Result<Option<(Listeners, Predecessor)>> {
    let Ok(stream) = UnixStream::connect(path) else { return Ok(None) };
    stream.set_read_timeout(Some(TIME_MAX))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(&stream, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let mut descriptors: Vec<OwnedFd> = rights.flatten().collect();
    let (Some(admin), true) = (descriptors.pop(), byte[0] == LISTENERS) else {
        return Err(Error::other("the process there has sent no listeners"));
    };
    let http = descriptors.into_iter().map(TcpListener::from).collect();
    let listeners = Listeners { http, admin: TcpListener::from(admin) };
    Ok(Some((listeners, Predecessor(stream))))
}

impl Predecessor {
    /// Tells it that this process serves; when it has heard it, it takes no more connections.
    pub fn release(mut self) -> Result<()> {
        self.0.write_all(&[SERVING])?;
        let mut byte = [0];
        self.0.read_exact(&mut byte)
    }
}

/// A socket that is not yet where successors look for it. Whatever can fail has been done while the process that ran before still
/// serves.
#[derive(Debug)]
pub struct Offer {
    socket: UnixListener,
    beside: PathBuf,
    path: PathBuf,
}

impl Offer {
    pub fn prepare(path: &Path) -> std::result::Result<Self, String> {
        let beside = path.with_added_extension("new");
        let _ = std::fs::remove_file(&beside);
        let why = |error: Error| format!("gateway.handover: {} can't be made: {error}", beside.display());
        let socket = UnixListener::bind(&beside).map_err(why)?;
        // Whoever has the listeners has the clients.
        std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600)).map_err(why)?;
        Ok(Self { socket, beside, path: path.to_owned() })
    }

    /// Hands the listeners to whoever asks from now on; says so, and ends, when one of those serves.
    pub fn begin(self, listeners: Listeners, handed_over: UnboundedSender<()>) -> Result<()> {
        std::fs::rename(&self.beside, &self.path)?;
        serve(self.socket, listeners, handed_over)
    }
}

fn serve(socket: UnixListener, listeners: Listeners, handed_over: UnboundedSender<()>) -> Result<()> {
    let serve = move || {
        for stream in socket.incoming() {
            if stream.and_then(|stream| hand_over(stream, &listeners)).is_ok() {
                let _ = handed_over.send(());
                return;
            }
        }
    };
    std::thread::Builder::new().name("handover".to_owned()).spawn(serve).map(drop)
}

/// One who asks, until it serves; an error if it doesn't come to that.
fn hand_over(mut stream: UnixStream, listeners: &Listeners) -> Result<()> {
    let descriptors: Vec<_> = listeners.http.iter().chain([&listeners.admin]).map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(Error::other("more listeners than can be handed over"));
    }
    sendmsg(&stream, &[IoSlice::new(&[LISTENERS])], &mut control, SendFlags::NOSIGNAL)?;
    stream.set_read_timeout(Some(TIME_MAX))?;
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    if byte[0] != SERVING {
        return Err(Error::other("it said something else"));
    }
    stream.write_all(&[HEARD])
}
