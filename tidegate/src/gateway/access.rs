//! The access log: one JSON object on a line for each request, written by a thread of its own.
//!
//! A lane makes the line and hands it over. If the disk is so slow that many lines wait, new ones are dropped and counted: requests
//! don't wait for their log.

use super::body::UploadState;
use super::refusal::Refusal;
use super::tls::Session;
use crate::log::quoted;
use hyper::body::Incoming;
use hyper::header::{HOST, USER_AGENT};
use hyper::{Request, Version};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// The way to the log, for lanes.
#[derive(Clone, Debug)]
pub struct AccessLog {
    lines: SyncSender<Told>,
    dropped: Arc<AtomicU64>,
    /// The file was moved away: open it anew.
    reopen: Arc<AtomicBool>,
}

/// The thread that writes.
#[derive(Debug)]
pub struct Writer {
    thread: JoinHandle<()>,
    /// Has an end when the thread has.
    ended: Receiver<()>,
}

#[derive(Debug)]
enum Told {
    Line(String),
    Wake,
}

/// Lines that may wait.
const LINES_MAX: usize = 16 * 1024;

impl AccessLog {
    /// Opens the file (`-` is stdout), to be written behind its end. The thread ends, with all written, when nobody has the log any
    /// more.
    pub fn open(path: &Path) -> Result<(Self, Writer), String> {
        let path = path.to_owned();
        let file = open(&path).map_err(|error| format!("{} can't be written: {error}", path.display()))?;
        let (lines, told) = sync_channel(LINES_MAX);
        let reopen = Arc::new(AtomicBool::new(false));
        let of_thread = reopen.clone();
        let (alive, ended) = sync_channel(0);
        let write = move || {
            let _alive: SyncSender<()> = alive;
            write(&path, file, &told, &of_thread);
        };
        let thread = std::thread::Builder::new().name("access-log".to_owned()).spawn(write);
        let thread = thread.map_err(|error| format!("no thread for the access log: {error}"))?;
        Ok((Self { lines, dropped: Arc::default(), reopen }, Writer { thread, ended }))
    }

    pub fn put(&self, line: String) {
        if self.lines.try_send(Told::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whoever rotates logs has moved the file. Nobody waits for the disk that holds it.
    pub fn reopen(&self) {
        self.reopen.store(true, Ordering::Relaxed);
        // Where there is no room, there are lines, and it is seen with the next.
        let _ = self.lines.try_send(Told::Wake);
    }

    /// Lines that found no room.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Writer {
    /// Waits until all is written, for so long at most: a disk that hangs stops no process.
    pub fn end(self, time: Duration) -> Result<(), String> {
        if self.ended.recv_timeout(time) == Err(RecvTimeoutError::Timeout) {
            crate::log::error("gateway", "the last lines of the access log are lost: its disk doesn't take them", &[]);
            return Ok(());
        }
        self.thread.join().map_err(|_| "the access log ended by a panic".to_owned())
    }
}

type Out = BufWriter<Box<dyn Write + Send>>;

fn open(path: &Path) -> std::io::Result<Out> {
    let out: Box<dyn Write + Send> = if path == Path::new("-") {
        Box::new(std::io::stdout())
    } else {
        let file: File = OpenOptions::new().create(true).append(true).open(path)?;
        Box::new(file)
    };
    Ok(BufWriter::new(out))
}

/// Writes what comes; what has come together is flushed together.
fn write(path: &Path, mut file: Out, told: &Receiver<Told>, reopen: &AtomicBool) {
    while let Ok(first) = told.recv() {
        let mut next = Some(first);
        while let Some(one) = next {
            if reopen.swap(false, Ordering::Relaxed) {
                let _ = file.flush();
                match open(path) {
                    Ok(opened) => file = opened,
                    Err(error) => {
                        let fields: crate::log::Fields<'_> = &[("file", &path.display()), ("error", &error)];
                        let message = "the access log can't be opened anew; it goes on in the old file";
                        crate::log::error("gateway", message, fields);
                    }
                }
            }
            if let Told::Line(line) = one {
                let _ = file.write_all(line.as_bytes());
            }
            next = told.try_recv().ok();
        }
        let _ = file.flush();
    }
}

/// No more of a field than this goes into the log: what waits for the disk is bounded in bytes too.
const FIELD_BYTES_MAX: usize = 1024;

fn cut(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(FIELD_BYTES_MAX)]).into_owned()
}

/// What is known of a request by its end.
#[derive(Debug)]
pub struct Line {
    client: SocketAddr,
    /// What the client speaks.
    protocol: &'static str,
    session: Option<Rc<Session>>,
    method: String,
    target: String,
    host: String,
    agent: String,
    pub service: String,
    pub endpoint: String,
    /// What is spoken to it; empty if there is none.
    pub endpoint_protocol: &'static str,
    pub endpoint_secure: bool,
    pub tries: u32,
    pub trace: String,
    pub error: &'static str,
    /// How the cache dealt with it.
    pub cache: &'static str,
    pub upload: Option<Rc<UploadState>>,
}

impl Line {
    pub fn new(client: SocketAddr, session: Option<&Rc<Session>>, request: &Request<Incoming>) -> Self {
        let header = |name| request.headers().get(name).map(|value| cut(value.as_bytes()));
        Self {
            client,
            protocol: match request.version() {
                Version::HTTP_10 => "HTTP/1.0",
                Version::HTTP_2 => "HTTP/2",
                _ => "HTTP/1.1",
            },
            session: session.cloned(),
            method: cut(request.method().as_str().as_bytes()),
            target: request
                .uri()
                .path_and_query()
                .map_or_else(|| "*".to_owned(), |target| cut(target.as_str().as_bytes())),
            host: header(HOST).unwrap_or_default(),
            agent: header(USER_AGENT).unwrap_or_default(),
            service: String::new(),
            endpoint: String::new(),
            endpoint_protocol: "",
            endpoint_secure: false,
            tries: 0,
            trace: String::new(),
            error: "",
            cache: "",
            upload: None,
        }
    }

    /// A request that was refused before it was one.
    pub fn set_unread(&mut self) {
        self.method.clear();
        self.target.clear();
        self.host.clear();
    }

    pub fn set_refused(&mut self, refusal: &Refusal) {
        self.error = refusal.code.word();
    }

    /// The line; status 0 is a request whose client went before it was answered.
    pub fn text(&self, status: u16, bytes_out: u64, took_ns: u64) -> String {
        let mut line = format!("{{\"time\":\"{}\"", crate::log::time(crate::clock::wall_ms()));
        let us = took_ns / 1000;
        let words = [
            ("client", &self.client.ip().to_string()),
            ("method", &self.method),
            ("target", &self.target),
            ("host", &self.host),
            ("agent", &self.agent),
            ("service", &self.service),
            ("endpoint", &self.endpoint),
            ("trace", &self.trace),
        ];
        for (key, value) in words {
            let _ = write!(line, ",\"{key}\":{}", quoted(value));
        }
        let bytes_in = self.upload.as_ref().map_or(0, |upload| upload.bytes());
        let _ = write!(line, ",\"error\":\"{}\",\"cache\":\"{}\"", self.error, self.cache);
        let Self { protocol, endpoint_protocol, endpoint_secure, .. } = self;
        let _ = write!(line, ",\"protocol\":\"{protocol}\",\"endpoint_protocol\":\"{endpoint_protocol}\"");
        let _ = write!(line, ",\"endpoint_tls\":{endpoint_secure}");
        self.tell_session(&mut line);
        let _ = write!(line, ",\"status\":{status},\"tries\":{}", self.tries);
        let _ = writeln!(line, ",\"bytes_in\":{bytes_in},\"bytes_out\":{bytes_out},\"us\":{us}}}");
        line
    }

    fn tell_session(&self, line: &mut String) {
        let Some(Session { version, resumed, server_name, subject }) = self.session.as_deref() else {
            line.push_str(",\"tls\":\"\"");
            return;
        };
        let subject = subject.as_ref().map(|subject| cut(subject.as_bytes())).unwrap_or_default();
        let server_name = quoted(server_name.as_deref().unwrap_or(""));
        let _ = write!(line, ",\"tls\":\"{version}\",\"tls_resumed\":{resumed},\"tls_server_name\":{server_name}");
        let _ = write!(line, ",\"tls_client\":{}", quoted(&subject));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_hangs_holds_up_neither_a_rotation_nor_the_end() {
        let (lines, told) = sync_channel(1);
        let (dropped, reopen) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let log = AccessLog { lines, dropped, reopen: reopen.clone() };
        log.put("first\n".to_owned());
        log.put("second\n".to_owned());
        assert_eq!(log.dropped(), 1, "there is room for one");
        // Nobody takes lines: whoever waited would do so for ever.
        let (done, ended) = sync_channel(1);
        let of_thread = log.clone();
        std::thread::spawn(move || {
            of_thread.reopen();
            done.send(())
        });
        assert_eq!(ended.recv_timeout(Duration::from_secs(30)), Ok(()));
        drop(log);
        // It is opened anew all the same, when the disk goes on.
        let path = std::env::temp_dir().join(format!("tidegate-access-{}.log", std::process::id()));
        let _ = std::fs::remove_file(&path);
        write(&path, BufWriter::new(Box::new(std::io::sink())), &told, &reopen);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first\n");
        std::fs::remove_file(&path).unwrap();
        let (alive, ended) = sync_channel(0);
        let thread = std::thread::spawn(std::thread::park);
        assert_eq!(Writer { thread, ended }.end(Duration::from_millis(10)), Ok(()));
        drop(alive);
    }
}
