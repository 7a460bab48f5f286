//! A real gateway, upstreams that tell what arrived, and a client that sends bytes as they are.

use super::{Folder, Page, http};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// How long anything may take before the test gives up.
const TIME_MAX: Duration = Duration::from_secs(30);

/// A running gateway; killed when dropped.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    pub http: String,
    /// Its listeners with TLS, with commas; empty without.
    pub https: String,
    pub admin: String,
    pub file: PathBuf,
    folder: Arc<Folder>,
}

/// The part of a file that every test has.
const HEAD: &str = "[gateway]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nlanes = 2\n";

impl Gateway {
    /// Starts one by what stands behind the `[gateway]` table.
    pub fn start(rest: &str) -> Self {
        Self::start_by(&format!("{HEAD}{rest}"))
    }

    /// The same with one lane, for what each lane counts by itself.
    pub fn start_with_one_lane(rest: &str) -> Self {
        Self::start_by(&format!("{}{rest}", HEAD.replace("lanes = 2", "lanes = 1")))
    }

    /// The same with an access log.
    pub fn start_logging(rest: &str) -> Self {
        Self::start_by(&format!("{HEAD}access_log = \"access.log\"\n{rest}"))
    }

    /// One that hands its listeners over to its successor.
    pub fn start_in_turn(rest: &str) -> Self {
        Self::start_by(&format!("{HEAD}handover = \"handover.sock\"\n{rest}"))
    }

    /// Another process by the same file, ready to serve.
    pub fn successor(&self) -> Self {
        Self::run(self.folder.clone(), self.file.clone(), &["--config".as_ref(), self.file.as_os_str()])
    }

    /// What another process by the same file says when it can't serve.
    pub fn successor_fails(&self) -> String {
        let ended = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["gateway".as_ref(), "--config".as_ref(), self.file.as_os_str()])
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .output()
            .expect("the binary starts");
        assert!(!ended.status.success(), "it serves: {}", String::from_utf8_lossy(&ended.stdout));
        String::from_utf8_lossy(&ended.stderr).into_owned()
    }

    fn start_by(text: &str) -> Self {
        let folder = Arc::new(Folder::new("gateway"));
        let file = folder.path().join("gateway.toml");
        std::fs::write(&file, text).expect("the file can be written");
        Self::run(folder, file.clone(), &["--config".as_ref(), file.as_os_str()])
    }

    /// `tidegate gateway --demo`.
    pub fn demo() -> Self {
        let folder = Arc::new(Folder::new("gateway"));
        Self::run(folder, PathBuf::new(), &["--demo", "--port", "0"].map(AsRef::as_ref))
    }

    /// One that may have so many files open.
    pub fn start_with_files(files: u32, rest: &str) -> Self {
        let folder = Arc::new(Folder::new("gateway"));
        let file = folder.path().join("gateway.toml");
        std::fs::write(&file, format!("{HEAD}{rest}")).expect("the file can be written");
        let mut launcher = Command::new("sh");
        launcher.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_tidegate")]);
        Self::run_by(launcher, folder, file.clone(), &["--config".as_ref(), file.as_os_str()])
    }

    fn run(folder: Arc<Folder>, file: PathBuf, options: &[&std::ffi::OsStr]) -> Self {
        Self::run_by(Command::new(env!("CARGO_BIN_EXE_tidegate")), folder, file, options)
    }

    fn run_by(mut launcher: Command, folder: Arc<Folder>, file: PathBuf, options: &[&std::ffi::OsStr]) -> Self {
        let mut child = launcher
            .arg("gateway")
            .args(options)
            // Not where the file is: its paths go from there.
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("stdout can be read");
        let field = |name| super::field(&line, name).unwrap_or_else(|| panic!("no ready line: {line:?}"));
        let (http, admin) = (super::field(&line, "http").unwrap_or_default(), field("admin"));
        let https = super::field(&line, "https").unwrap_or_default();
        Self { child, http, https, admin, file, folder }
    }

    /// One service with these endpoints, and a route for everything.
    pub fn before(upstreams: &[&Upstream]) -> Self {
        Self::with(upstreams, "")
    }

    /// The same with more keys of the service, and tables behind them.
    pub fn with(upstreams: &[&Upstream], more: &str) -> Self {
        Self::start(&service(upstreams, more))
    }

    /// Writes the file anew, as an editor does.
    pub fn rewrite(&self, rest: &str) {
        let beside = self.file.with_extension("new");
        std::fs::write(&beside, format!("{HEAD}{rest}")).expect("the file can be written");
        std::fs::rename(&beside, &self.file).expect("it can be replaced");
    }

    pub fn connect(&self) -> Raw {
        Raw::connect(&self.http)
    }

    /// To another of its listeners.
    pub fn connect_to(&self, address: &str) -> Raw {
        Raw::connect(address)
    }

    /// One GET on a connection of its own.
    pub fn get(&self, path: &str) -> Answer {
        self.connect().ask(&format!("GET {path} HTTP/1.1\r\nHost: gateway.test\r\n\r\n"))
    }

    pub fn admin(&self, method: &str, path: &str, body: &str) -> Page {
        let length = body.len();
        let at = &self.admin;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {at}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        http(&self.admin, &request).expect("the admin port takes connections")
    }

    /// How the service `app` stands.
    pub fn app(&self) -> serde_json::Value {
        let page = self.admin("GET", "/v1/gateway/services/app", "");
        serde_json::from_str(&page.body).unwrap_or_else(|_| panic!("no JSON: {page:?}"))
    }

    /// Waits until the admin endpoint's answer about `app` is as it should be.
    pub fn until(&self, what: &str, wanted: impl Fn(&serde_json::Value) -> bool) {
        let begun = std::time::Instant::now();
        while !wanted(&self.app()) {
            assert!(begun.elapsed() < TIME_MAX, "{what}: {}", self.app());
        }
    }

    /// A body of so many bytes comes down, and one goes up, of which the endpoint of this name tells.
    pub fn pass_large_bodies(&self, name: &str, bytes: usize) {
        let mut client = self.connect();
        client.send(format!("GET /bytes/{bytes} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let mut piece = vec![0; 1024 * 1024];
        let mut got = 0;
        while got < bytes {
            got += client.stream.read(&mut piece).expect("it goes on");
        }
        let mut client = self.connect();
        client.send(format!("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n"));
        for _ in 0..bytes / piece.len() {
            client.send(&piece);
        }
        assert_eq!(client.answer(false).text(), format!("{name} /p {bytes}"));
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it ever had.
    pub fn peak_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel tells");
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
    }

    /// Forgets what it had before, so that the peak is what comes from now on; what it has now.
    pub fn peak_from_now(&self) -> u64 {
        std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").expect("one may for one's own processes");
        self.peak_bytes()
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.pid().to_string()]).status().expect("kill is there");
        assert!(sent.success(), "{name} reached it");
    }

    /// Ends it gracefully: its access log.
    pub fn stop_and_read_log(mut self) -> String {
        self.signal("-TERM");
        let ended = self.child.wait().expect("the child can be waited for");
        assert!(ended.success(), "{ended:?}");
        std::fs::read_to_string(self.file.with_file_name("access.log")).expect("there is a log")
    }

    /// Waits for the end of the process.
    pub fn wait(mut self) -> ExitStatus {
        self.child.wait().expect("the child can be waited for")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The tables of a service `app` and a route to it.
pub fn service(upstreams: &[&Upstream], more: &str) -> String {
    let endpoints: Vec<String> = upstreams.iter().map(|upstream| format!("\"{}\"", upstream.address)).collect();
    let (keys, tables) =
        more.split_once("\n[").map_or((more, String::new()), |(keys, rest)| (keys, format!("[{rest}")));
    format!("[service.app]\nendpoints = [{}]\n{keys}\n{tables}\n[[route]]\nservice = \"app\"\n", endpoints.join(", "))
}

/// A request as an upstream got it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The lines of its head, with CR LF.
    pub head: String,
    pub body_bytes: usize,
    /// Which of the upstream's connections it came by, from zero.
    pub connection: usize,
}

/// A server that answers by the path:
///
/// `/bytes/N` N bytes · `/chunks/N` N bytes in chunks, with a trailer · `/hold` when it is told to · `/status/N` that status ·
/// `/die` nothing, and closes · `/die-in-body` half of what it promises · `/close` an answer, and closes · else a greeting with its
/// name. `/echo` goes on with WebSocket's name and sends back what comes, behind `early`; `/other` with another name.
#[derive(Debug)]
pub struct Upstream {
    pub address: SocketAddr,
    state: Arc<State>,
    told: Mutex<mpsc::Receiver<Event>>,
}

/// What happens at an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request to `/hold` is there.
    Held,
    /// Its connection has ended before it was answered.
    Gone,
    /// It has answered `/close`, and closed.
    Closed,
}

#[derive(Debug)]
struct State {
    name: String,
    seen: Mutex<Vec<Seen>>,
    streams: Mutex<Vec<TcpStream>>,
    connections: AtomicUsize,
    dead: AtomicBool,
    events: Mutex<mpsc::Sender<Event>>,
}

impl Upstream {
    pub fn start(name: &str) -> Self {
        Self::serve(name, TcpListener::bind("127.0.0.1:0").expect("there is a free port"))
    }

    /// One at an address that was another's, as a process that is started again.
    pub fn start_at(name: &str, address: SocketAddr) -> Self {
        let begun = std::time::Instant::now();
        loop {
            match TcpListener::bind(address) {
                Ok(listener) => return Self::serve(name, listener),
                Err(error) => assert!(begun.elapsed() < TIME_MAX, "{address}: {error}"),
            }
        }
    }

    fn serve(name: &str, listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("it has an address");
        let (events, told) = mpsc::channel();
        let state = Arc::new(State {
            name: name.to_owned(),
            seen: Mutex::default(),
            streams: Mutex::default(),
            connections: AtomicUsize::new(0),
            dead: AtomicBool::new(false),
            events: Mutex::new(events),
        });
        let of_thread = state.clone();
        std::thread::spawn(move || of_thread.accept(&listener));
        Self { address, state, told: Mutex::new(told) }
    }

    /// What arrived so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().expect("no thread fails with it").clone()
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// The next event.
    pub fn event(&self) -> Event {
        self.told.lock().expect("no thread fails with it").recv_timeout(TIME_MAX).expect("something happens")
    }

    /// Dies as a process does: its port refuses, its connections are gone.
    pub fn kill(&self) {
        self.state.dead.store(true, Ordering::SeqCst);
        // The listener closes when it has let one more in.
        let _ = TcpStream::connect(self.address);
        for stream in self.state.streams.lock().expect("no thread fails with it").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Answers the requests that are held.
    pub fn release(&self) {
        for mut stream in self.state.streams.lock().expect("no thread fails with it").drain(..) {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nreleased");
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.kill();
    }
}

impl State {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.dead.load(Ordering::SeqCst) {
                return;
            }
            let Ok(stream) = stream else { return };
            let number = self.connections.fetch_add(1, Ordering::SeqCst);
            let kept = stream.try_clone().expect("a descriptor is left");
            self.streams.lock().expect("no thread fails with it").push(kept);
            let state = self.clone();
            std::thread::spawn(move || state.serve(stream, number));
        }
    }

    /// One connection, until it ends or an answer ends it.
    fn serve(&self, stream: TcpStream, connection: usize) -> Option<()> {
        let _ = stream.set_nodelay(true);
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut writer = stream;
        loop {
            let head = read_head(&mut reader)?;
            let body_bytes = skip_body(&mut reader, &head)?;
            let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
            self.seen.lock().ok()?.push(Seen { head: head.clone(), body_bytes, connection });
            let no_body = head.starts_with("HEAD ");
            match path.split('/').nth(1).unwrap_or("") {
                "bytes" => write_bytes(&mut writer, number(&path), no_body)?,
                "chunks" => write_chunks(&mut writer, number(&path))?,
                "status" => {
                    let answer = format!("HTTP/1.1 {} Told\r\ncontent-length: 4\r\n\r\ntold", number(&path));
                    writer.write_all(answer.as_bytes()).ok()?;
                }
                "hold" => {
                    self.events.lock().ok()?.send(Event::Held).ok()?;
                    let gone = reader.fill_buf().map_or(true, <[u8]>::is_empty);
                    if gone {
                        self.events.lock().ok()?.send(Event::Gone).ok()?;
                        return None;
                    }
                }
                "stream" => {
                    let begun = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n";
                    writer.write_all(begun).ok()?;
                    self.events.lock().ok()?.send(Event::Held).ok()?;
                    // It goes on until its client goes.
                    reader.fill_buf().ok()?;
                    return None;
                }
                "echo" | "other" => return echo(reader, writer, path.starts_with("/echo")),
                "die" => return writer.shutdown(Shutdown::Both).ok(),
                "die-in-body" => {
                    writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf.").ok()?;
                    return writer.shutdown(Shutdown::Both).ok();
                }
                "close" => {
                    writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlast").ok()?;
                    writer.shutdown(Shutdown::Both).ok()?;
                    return self.events.lock().ok()?.send(Event::Closed).ok();
                }
                _ => {
                    let text = format!("{} {path} {body_bytes}", self.name);
                    let answer =
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx-of: {}\r\n\r\n", text.len(), self.name);
                    writer.write_all(answer.as_bytes()).ok()?;
                    if !no_body {
                        writer.write_all(text.as_bytes()).ok()?;
                    }
                }
            }
        }
    }
}

/// Another protocol: sends back what comes, and `bye` behind its end.
fn echo(mut reader: BufReader<TcpStream>, mut writer: TcpStream, websocket: bool) -> Option<()> {
    let name = if websocket { "WebSocket" } else { "other" };
    let head =
        format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {name}\r\nX-Key: ok\r\n\r\nearly");
    writer.write_all(head.as_bytes()).ok()?;
    std::io::copy(&mut reader, &mut writer).ok()?;
    writer.write_all(b"bye").ok()?;
    writer.shutdown(Shutdown::Both).ok()
}

fn number(path: &str) -> usize {
    path.rsplit('/').next().and_then(|last| last.parse().ok()).unwrap_or(0)
}

fn write_bytes(writer: &mut TcpStream, bytes: usize, no_body: bool) -> Option<()> {
    writer.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n").as_bytes()).ok()?;
    let piece = [b'x'; 16 * 1024];
    let mut left = if no_body { 0 } else { bytes };
    while left > 0 {
        let here = left.min(piece.len());
        writer.write_all(&piece[..here]).ok()?;
        left -= here;
    }
    Some(())
}

fn write_chunks(writer: &mut TcpStream, bytes: usize) -> Option<()> {
    writer.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n").ok()?;
    for _ in 0..bytes {
        writer.write_all(b"1\r\ny\r\n").ok()?;
    }
    writer.write_all(b"0\r\nx-sum: done\r\n\r\n").ok()
}

/// A head with its empty line; nothing at the end of the stream.
fn read_head(reader: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
        if &head[before..] == "\r\n" {
            return Some(head);
        }
    }
}

/// The value of a header, in any case.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Reads a body, and says how long it was; nothing if it breaks off.
fn skip_body(reader: &mut impl BufRead, head: &str) -> Option<usize> {
    if header(head, "transfer-encoding").is_some() {
        return read_chunks(reader).map(|(body, _)| body.len());
    }
    let bytes = header(head, "content-length").map_or(Some(0), |length| length.parse().ok())?;
    let skipped = std::io::copy(&mut reader.take(bytes), &mut std::io::sink()).ok()?;
    (skipped == bytes).then_some(usize::try_from(bytes).ok()?)
}

/// A body in chunks and the lines of its trailers.
fn read_chunks(reader: &mut impl BufRead) -> Option<(Vec<u8>, String)> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let bytes = usize::from_str_radix(line.trim(), 16).ok()?;
        if bytes == 0 {
            let mut trailers = String::new();
            loop {
                let before = trailers.len();
                reader.read_line(&mut trailers).ok()?;
                if trailers[before..].trim().is_empty() {
                    return Some((body, trailers));
                }
            }
        }
        let mut piece = vec![0; bytes + 2];
        reader.read_exact(&mut piece).ok()?;
        body.extend_from_slice(&piece[..bytes]);
    }
}

/// A client's connection, byte by byte.
#[derive(Debug)]
pub struct Raw {
    pub stream: BufReader<TcpStream>,
}

/// A response.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    pub trailers: String,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// The word for programs of an answer of the gateway's own.
    pub fn error(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["error"].as_str().unwrap_or("none").to_owned()
    }
}

impl Raw {
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("it takes connections");
        stream.set_nodelay(true).expect("it can be set");
        stream.set_read_timeout(Some(TIME_MAX)).expect("it can be set");
        stream.set_write_timeout(Some(TIME_MAX)).expect("it can be set");
        Self { stream: BufReader::new(stream) }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).expect("it is read");
    }

    /// Sends what may meet a closed connection.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.get_mut().write_all(bytes.as_ref()).is_ok()
    }

    /// A whole request and its answer.
    pub fn ask(&mut self, request: &str) -> Answer {
        self.send(request);
        self.answer(request.starts_with("HEAD "))
    }

    /// The next answer.
    pub fn answer(&mut self, to_head: bool) -> Answer {
        self.try_answer(to_head).expect("a whole answer comes")
    }

    /// The next answer; nothing if the connection ends before or within it.
    pub fn try_answer(&mut self, to_head: bool) -> Option<Answer> {
        let head = read_head(&mut self.stream)?;
        let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
        let (mut body, mut trailers) = (Vec::new(), String::new());
        let bodyless = to_head || status < 200 || status == 204 || status == 304;
        if bodyless {
        } else if header(&head, "transfer-encoding").is_some() {
            (body, trailers) = read_chunks(&mut self.stream)?;
        } else if let Some(length) = header(&head, "content-length") {
            body.resize(length.parse().ok()?, 0);
            self.stream.read_exact(&mut body).ok()?;
        } else {
            self.stream.read_to_end(&mut body).ok()?;
        }
        Some(Answer { status, head, body, trailers })
    }

    /// True if the other end closes, and sends nothing before.
    pub fn ends(&mut self) -> bool {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest);
        rest.is_empty()
    }
}
