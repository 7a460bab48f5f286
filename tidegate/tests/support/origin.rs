//! An upstream that a test programs: it is handed each request with its connection, and counts what arrived.

use super::gateway::{Gateway, header};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// How long anything may take before the test gives up.
const TIME_MAX: Duration = Duration::from_secs(30);

/// See the module. Its threads end with their connections.
#[derive(Debug)]
pub struct Origin {
    pub address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    told: Mutex<Told>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Told {
    heads: Vec<String>,
    released: usize,
    /// So many of the first may go on.
    open: usize,
    ended: bool,
}

/// A request, and the way to answer it.
#[derive(Debug)]
pub struct Asked<'a> {
    pub head: String,
    /// Which request this is, from zero.
    pub number: usize,
    stream: &'a mut TcpStream,
    state: &'a State,
}

impl Origin {
    pub fn start(answer: impl Fn(&mut Asked<'_>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it has an address");
        let (state, answer) = (Arc::new(State::default()), Arc::new(answer));
        let of_thread = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if of_thread.told.lock().expect("no thread fails with it").ended {
                    return;
                }
                let (state, answer) = (of_thread.clone(), answer.clone());
                let Ok(stream) = stream else { return };
                std::thread::spawn(move || serve(&state, stream, &*answer));
            }
        });
        Self { address, state }
    }

    /// The heads of what arrived so far.
    pub fn heads(&self) -> Vec<String> {
        self.state.told.lock().expect("no thread fails with it").heads.clone()
    }

    pub fn count(&self) -> usize {
        self.heads().len()
    }

    /// Waits until so many have arrived.
    pub fn await_count(&self, count: usize) {
        self.state.wait(|told| told.heads.len() >= count);
    }

    /// Lets the next one go on that holds, or that will.
    pub fn release(&self) {
        self.state.told.lock().expect("no thread fails with it").released += 1;
        self.state.changed.notify_all();
    }

    /// Lets the first so many go on that wait for their turn, or that will.
    pub fn open(&self, count: usize) {
        self.state.told.lock().expect("no thread fails with it").open = count;
        self.state.changed.notify_all();
    }

    /// A gateway before it, whose route has a cache; `rest` are more keys of the route, and tables behind it.
    pub fn cached(&self, rest: &str) -> Gateway {
        Gateway::start(&self.tables(rest))
    }

    pub fn tables(&self, rest: &str) -> String {
        format!("[service.app]\nendpoints = [\"{}\"]\n[[route]]\nservice = \"app\"\n{rest}", self.address)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // A test that has failed already may have left it so.
        self.state.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner).ended = true;
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn wait(&self, until: impl Fn(&mut Told) -> bool) {
        let told = self.told.lock().expect("no thread fails with it");
        let (told, late) =
            self.changed.wait_timeout_while(told, TIME_MAX, |told| !until(told)).expect("no thread fails with it");
        let arrived = told.heads.len();
        drop(told);
        assert!(!late.timed_out(), "it took too long: {arrived} arrived");
    }
}

impl Asked<'_> {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    pub fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or("/")
    }

    /// Waits for a release; each lets one go.
    pub fn hold(&self) {
        self.state.wait(|told| {
            let free = told.released > 0;
            told.released -= usize::from(free);
            free
        });
    }

    /// Waits until this one may go on, whichever others do.
    pub fn wait_for_turn(&self) {
        self.state.wait(|told| self.number < told.open);
    }

    /// Works for so long.
    pub fn work(&self, time: Duration) {
        let told = self.state.told.lock().expect("no thread fails with it");
        // Nothing that happens meanwhile ends it.
        drop(self.state.changed.wait_timeout_while(told, time, |_| true));
    }

    /// Answers with these headers (lines with CR LF) and this body.
    pub fn answer(&mut self, status: u16, headers: &str, body: &str) {
        let length = if status == 304 { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let body = if self.head.starts_with("HEAD ") { "" } else { body };
        self.write(&format!("HTTP/1.1 {status} Told\r\n{headers}{length}\r\n{body}"));
    }

    /// Bytes as they are; the client may have gone.
    pub fn write(&mut self, text: &str) {
        let _ = self.stream.write_all(text.as_bytes());
    }

    pub fn close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn serve(state: &State, mut stream: TcpStream, answer: &(impl Fn(&mut Asked<'_>) + ?Sized)) -> Option<()> {
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let bytes: u64 = header(&head, "content-length").map_or(Some(0), |length| length.parse().ok())?;
        std::io::copy(&mut (&mut reader).take(bytes), &mut std::io::sink()).ok()?;
        let mut told = state.told.lock().expect("no thread fails with it");
        let number = told.heads.len();
        told.heads.push(head.clone());
        drop(told);
        state.changed.notify_all();
        answer(&mut Asked { head, number, stream: &mut stream, state });
    }
}
