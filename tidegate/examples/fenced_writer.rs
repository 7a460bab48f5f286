//! A leader that writes under its fence, by RESP over a plain socket: whoever copies this needs no library.
//!
//! ```text
//! cargo run --example fenced_writer -- NAME COUNT [host:port,host:port,..]
//! ```
//!
//! Of all processes that run this, one leads at a time. It adds one to `ledger`, COUNT times, each time by a fenced read and a fenced write, and
//! then gives the lead back. A leader that was paused, or whose node died, learns by its fence that another leads: what it
//! would have written late is refused by the store.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Leads until `count` additions are made, under the name `owner`; how many times it had to lead for that.
pub fn run(owner: &str, count: u64, nodes: &str) -> std::io::Result<u64> {
    let mut nodes = Nodes::new(nodes);
    let (mut added, mut terms) = (0, 0);
    while added < count {
        let Some(lead) = Lead::campaign(&mut nodes, owner, terms)? else { continue };
        terms += 1;
        while added < count && lead.add_one(&mut nodes, added)? {
            added += 1;
        }
        lead.end(&mut nodes)?;
    }
    Ok(terms)
}

/// The lock that makes a leader.
const LOCK: &str = "ledger-lead";
const TTL: Duration = Duration::from_secs(2);
const WAIT: Duration = Duration::from_secs(30);

/// A grant of the lock.
struct Lead {
    owner: String,
    token: i64,
    fence: i64,
    /// By this process' own clock, from before it asked.
    until: Instant,
}

impl Lead {
    /// Waits in line for the lead; nothing if the wait is over.
    fn campaign(nodes: &mut Nodes, owner: &str, term: u64) -> std::io::Result<Option<Self>> {
        let (ttl, wait) = (TTL.as_millis().to_string(), WAIT.as_millis().to_string());
        // The id makes it safe to ask again: the same id is the same grant.
        let id = format!("{}-{term}", std::process::id());
        let words = ["LOCK.ACQUIRE", LOCK, owner, &ttl, "WAIT", &wait, "ID", &id];
        let begun = Instant::now();
        let Reply::Array(grant) = nodes.call(&words)? else { return Ok(None) };
        let [Reply::Integer(token), Reply::Integer(fence), Reply::Integer(left_ms)] = grant[..] else {
            return Err(odd(&Reply::Array(grant)));
        };
        let mut lead = Self { owner: owner.to_owned(), token, fence, until: begun + ms(left_ms) };
        // Who has waited has no time yet: it begins with the first renewal.
        Ok((left_ms > 0 || lead.renew(nodes)?).then_some(lead))
    }

    /// False if another leads.
    fn renew(&mut self, nodes: &mut Nodes) -> std::io::Result<bool> {
        let begun = Instant::now();
        let (token, ttl) = (self.token.to_string(), TTL.as_millis().to_string());
        match nodes.call(&["LOCK.RENEW", LOCK, &self.owner, &token, &ttl])? {
            Reply::Integer(left_ms) => self.until = begun + ms(left_ms),
            Reply::Error(text) if text.starts_with("LOST ") => return Ok(false),
            other => return Err(odd(&other)),
        }
        Ok(true)
    }

    /// A fenced read, and a fenced write of what came of it; false if another leads, or may.
    fn add_one(&self, nodes: &mut Nodes, number: u64) -> std::io::Result<bool> {
        if Instant::now() >= self.until {
            return Ok(false);
        }
        let fence = self.fence.to_string();
        let total: u64 = match nodes.call(&["FENCE", LOCK, &fence, "GET", "ledger"])? {
            Reply::Bulk(text) => text.parse().map_err(|_| odd(&Reply::Bulk(text)))?,
            Reply::Nil => 0,
            Reply::Error(text) if text.starts_with("FENCED ") => return Ok(false),
            other => return Err(odd(&other)),
        };
        // Under an id: it may be asked again, and a copy that some paused node sends later does nothing.
        let id = format!("{}-{}:{}", self.owner, self.token, number + 1);
        match nodes.call(&["ONCE", &id, "FENCE", LOCK, &fence, "SET", "ledger", &(total + 1).to_string()])? {
            Reply::Error(text) if text.starts_with("FENCED ") => Ok(false),
            Reply::Simple(text) if text == "OK" => Ok(true),
            other => Err(odd(&other)),
        }
    }

    fn end(self, nodes: &mut Nodes) -> std::io::Result<()> {
        // Whether it was released or lost before is all the same now.
        nodes.call(&["LOCK.RELEASE", LOCK, &self.owner, &self.token.to_string()]).map(drop)
    }
}

fn ms(count: i64) -> Duration {
    Duration::from_millis(count.unsigned_abs())
}

fn odd(reply: &Reply) -> std::io::Error {
    std::io::Error::other(format!("{reply:?}"))
}

/// A reply of RESP2, as far as it is needed here.
#[derive(Debug)]
enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(String),
    Nil,
    Array(Vec<Reply>),
}

/// The nodes of a cluster: any of them takes any command, and where one doesn't answer, the next is asked.
struct Nodes {
    addresses: Vec<String>,
    at: usize,
    stream: Option<BufReader<TcpStream>>,
}

/// A command whose outcome isn't known is asked again for so long.
const PATIENCE: Duration = Duration::from_secs(60);

impl Nodes {
    fn new(addresses: &str) -> Self {
        Self { addresses: addresses.split(',').map(str::to_owned).collect(), at: 0, stream: None }
    }

    /// One command that may be asked twice, until its outcome is known.
    fn call(&mut self, words: &[&str]) -> std::io::Result<Reply> {
        let late = Instant::now() + PATIENCE;
        loop {
            let passing = match self.ask(words) {
                Ok(Reply::Error(text)) if passes(&text) => Ok(Reply::Error(text)),
                Ok(reply) => return Ok(reply),
                Err(error) => {
                    (self.stream, self.at) = (None, (self.at + 1) % self.addresses.len());
                    Err(error)
                }
            };
            if Instant::now() >= late {
                return passing;
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    fn ask(&mut self, words: &[&str]) -> std::io::Result<Reply> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(&self.addresses[self.at])?,
        };
        let mut frame = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| frame += &format!("${}\r\n{word}\r\n", word.len()));
        stream.get_mut().write_all(frame.as_bytes())?;
        let reply = read(&mut stream)?;
        self.stream = Some(stream);
        Ok(reply)
    }
}

/// Refusals that end by themselves.
fn passes(text: &str) -> bool {
    ["UNKNOWN ", "INDOUBT ", "NOQUORUM ", "TRYAGAIN ", "OVERLOADED "].iter().any(|code| text.starts_with(code))
}

fn connect(address: &str) -> std::io::Result<BufReader<TcpStream>> {
    let socket = address.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::NotFound)?;
    let stream = TcpStream::connect_timeout(&socket, Duration::from_secs(1))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(WAIT + Duration::from_secs(3)))?;
    Ok(BufReader::new(stream))
}

fn read(stream: &mut BufReader<TcpStream>) -> std::io::Result<Reply> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let line = line.strip_suffix("\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let (kind, rest) = line.split_at_checked(1).ok_or(std::io::ErrorKind::InvalidData)?;
    let number = rest.parse::<i64>();
    Ok(match (kind, number) {
        ("+", _) => Reply::Simple(rest.to_owned()),
        ("-", _) => Reply::Error(rest.to_owned()),
        (":", Ok(number)) => Reply::Integer(number),
        ("$" | "*", Ok(-1)) => Reply::Nil,
        ("$", Ok(length)) => {
            let mut bytes = vec![0; usize::try_from(length).map_err(std::io::Error::other)? + 2];
            stream.read_exact(&mut bytes)?;
            bytes.truncate(bytes.len() - 2);
            Reply::Bulk(String::from_utf8(bytes).map_err(std::io::Error::other)?)
        }
        ("*", Ok(count)) => Reply::Array((0..count).map(|_| read(stream)).collect::<Result<_, _>>()?),
        _ => return Err(std::io::ErrorKind::InvalidData.into()),
    })
}

#[allow(dead_code, reason = "a test runs this as a module")]
fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (Some(owner), Some(count)) = (words.first(), words.get(1).and_then(|word| word.parse().ok())) else {
        return Err(std::io::Error::other("give a name, a count, and the nodes if not 127.0.0.1:6379"));
    };
    let terms = run(owner, count, words.get(2).map_or("127.0.0.1:6379", String::as_str))?;
    println!("{owner} has added {count} in {terms} terms");
    Ok(())
}
