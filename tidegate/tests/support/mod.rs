//! A real tidegate process and a client of it, for tests: no fixed port, no sleep, nothing left behind.
//!
//! Whoever waits, waits for a condition: a line on stdout, a reply, the end of the process. A read timeout turns a
//! hang into a failure.
#![allow(dead_code, reason = "every test program uses its part of this")]

pub mod calls;
pub mod cluster;
pub mod exposition;
pub mod frames;
pub mod gateway;
pub mod h2c;
pub mod origin;
pub mod peer;
pub mod schema;
pub mod secure;
pub mod tls;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long a reply may take before the test gives up.
const REPLY_TIME_MAX: Duration = Duration::from_secs(30);

/// A folder of a test's own, removed at its end.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder can be made");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A failed test keeps its folder: it is the evidence.
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// A running node; killed when dropped.
#[derive(Debug)]
pub struct Node {
    child: Child,
    resp: String,
    cluster: String,
    admin: String,
    memcached: Option<String>,
}

impl Node {
    /// Starts `tidegate dev` on free ports and waits for its ready line.
    pub fn start(dir: &Path) -> Self {
        Self::start_with(dir, |command| command)
    }

    /// The same with more options, environment or another stderr.
    pub fn start_with(dir: &Path, change: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        Self::start_by(&[], dir, change)
    }

    /// The same by a program that sets something up and becomes the node, such as prlimit.
    pub fn start_by(launcher: &[&str], dir: &Path, change: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let mut command = command(launcher, dir, "0");
        let mut child = change(&mut command).stdout(Stdio::piped()).spawn().expect("the binary starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("stdout can be read");
        let resp = field(&line, "resp").unwrap_or_else(|| panic!("no ready line, but {line:?} and {:?}", child.wait()));
        assert!(line.starts_with("ready "), "the first line is the ready line: {line:?}");
        let admin = field(&line, "admin").unwrap_or_else(|| panic!("the ready line names the admin port: {line:?}"));
        let cluster =
            field(&line, "cluster").unwrap_or_else(|| panic!("the ready line names the cluster port: {line:?}"));
        assert_eq!(field(&line, "pid"), Some(child.id().to_string()), "the ready line names the pid: {line:?}");
        let memcached = field(&line, "memcached");
        Self { child, resp, cluster, admin, memcached }
    }

    /// The address of the cluster endpoint.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The address of the admin endpoint.
    pub fn admin(&self) -> &str {
        &self.admin
    }

    /// The address of the memcached endpoint, if it was asked for.
    pub fn memcached(&self) -> &str {
        self.memcached.as_deref().expect("it was asked for")
    }

    /// The process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// GET of a path of the admin endpoint.
    pub fn get(&self, path: &str) -> Page {
        self.http(&format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.admin))
    }

    /// Sends bytes to the admin endpoint and reads until it closes.
    pub fn http(&self, request: &str) -> Page {
        http(&self.admin, request).expect("the admin port takes connections")
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.resp).expect("a ready node takes connections")
    }

    pub fn port(&self) -> &str {
        self.resp.rsplit_once(':').expect("an address has a port").1
    }

    /// kill -9: the process gets no chance to finish anything.
    pub fn kill(mut self) {
        self.child.kill().expect("the child is ours");
        self.child.wait().expect("the child can be waited for");
    }

    /// SIGTERM, and the end of the process.
    pub fn terminate(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill is there");
        assert!(sent.success(), "SIGTERM reached {pid}");
        self.child.wait().expect("the child can be waited for")
    }
}

/// Sends bytes to an admin endpoint and reads until it closes; nothing if nobody is there.
pub fn http(address: &str, request: &str) -> Option<Page> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(REPLY_TIME_MAX)).expect("a timeout can be set");
    stream.write_all(request.as_bytes()).expect("the request can be written");
    let mut answer = Vec::new();
    // A server that has heard enough may reset the connection behind its answer.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).expect("the answer is text");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status line has a status");
    Some(Page { status, head: head.to_lowercase(), body: body.to_owned() })
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    /// Status line and headers in lower case.
    pub head: String,
    pub body: String,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `tidegate dev` where it must refuse to start, to its end.
pub fn refused(dir: &Path, port: &str) -> Output {
    refused_with(dir, port, &[])
}

/// The same with more options.
pub fn refused_with(dir: &Path, port: &str, options: &[&str]) -> Output {
    refused_by(&[], dir, port, options)
}

/// The same by a program that becomes the node.
pub fn refused_by(launcher: &[&str], dir: &Path, port: &str, options: &[&str]) -> Output {
    // A node that starts in spite of everything prints its ready line and would run on: then its stdout ends the wait.
    let mut child = command(launcher, dir, port)
        .args(options)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut line = String::new();
    let stdout = child.stdout.as_mut().expect("stdout is piped");
    BufReader::new(stdout).read_line(&mut line).expect("stdout can be read");
    if line.starts_with("ready ") {
        child.kill().expect("the child is ours");
        panic!("a node started that must not: {line}");
    }
    child.wait_with_output().expect("the child can be waited for")
}

fn command(launcher: &[&str], dir: &Path, port: &str) -> Command {
    let mut words = launcher.iter().copied().chain([env!("CARGO_BIN_EXE_tidegate")]);
    let mut command = Command::new(words.next().expect("there is the binary at least"));
    command.args(words).args(["dev", "--port", port, "--dir"]).arg(dir).stdin(Stdio::null());
    command
}

/// The value of `name=value` in a line of words.
fn field(line: &str, name: &str) -> Option<String> {
    line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).map(str::to_string)
}

/// A reply, or what comes unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    /// Sets and maps of RESP3 too, a map's keys before their values.
    Array(Vec<Reply>),
    /// What RESP3 shows as unasked.
    Push(Vec<Reply>),
}

impl Reply {
    pub fn ok() -> Self {
        Self::Simple("OK".into())
    }

    pub fn bulk(text: &str) -> Self {
        Self::Bulk(text.into())
    }
}

/// A connection that asks one command at a time.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIME_MAX))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// A connection on which nothing may take longer than `time`.
    pub fn connect_within(address: &str, time: Duration) -> std::io::Result<Self> {
        let address = address.parse().map_err(|_| std::io::ErrorKind::InvalidInput)?;
        let stream = TcpStream::connect_timeout(&address, time)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(time))?;
        stream.set_write_timeout(Some(time))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// One command and its reply; an error when the node is gone or silent.
    pub fn ask(&mut self, words: &[&str]) -> std::io::Result<Reply> {
        self.send(words)?;
        self.reply()
    }

    /// One command, whose reply is to be read later.
    pub fn send(&mut self, words: &[&str]) -> std::io::Result<()> {
        let mut frame = format!("*{}\r\n", words.len());
        for word in words {
            frame.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.stream.get_mut().write_all(frame.as_bytes())
    }

    /// Bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Says that nothing more will be sent.
    pub fn finish(&mut self) {
        self.stream.get_ref().shutdown(std::net::Shutdown::Write).expect("the connection is open");
    }

    /// The next reply.
    pub fn reply(&mut self) -> std::io::Result<Reply> {
        let line = self.line()?;
        let (kind, rest) = line.split_at_checked(1).ok_or(std::io::ErrorKind::InvalidData)?;
        let number = || rest.parse::<i64>().map_err(|e| std::io::Error::new(std::io::ErrorKind::InvalidData, e));
        Ok(match kind {
            "+" => Reply::Simple(rest.into()),
            "-" => Reply::Error(rest.into()),
            ":" => Reply::Integer(number()?),
            "$" => usize::try_from(number()?).map_or(Ok(Reply::Null), |length| self.bulk(length))?,
            "*" | "~" => usize::try_from(number()?).map_or(Ok(Reply::Null), |count| self.array(count))?,
            "%" => self.array(usize::try_from(number()?).unwrap_or(0) * 2)?,
            ">" => match self.array(usize::try_from(number()?).unwrap_or(0))? {
                Reply::Array(items) => Reply::Push(items),
                other => other,
            },
            "_" => Reply::Null,
            "=" => match self.bulk(usize::try_from(number()?).unwrap_or(0))? {
                Reply::Bulk(text) => Reply::Bulk(text[b"txt:".len()..].to_vec()),
                other => other,
            },
            _ => return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, line)),
        })
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let complete = line.strip_suffix("\r\n").map(str::to_string);
        complete.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
    }

    fn bulk(&mut self, length: usize) -> std::io::Result<Reply> {
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes)?;
        bytes.truncate(length);
        Ok(Reply::Bulk(bytes))
    }

    fn array(&mut self, count: usize) -> std::io::Result<Reply> {
        (0..count).map(|_| self.reply()).collect::<std::io::Result<Vec<Reply>>>().map(Reply::Array)
    }
}
