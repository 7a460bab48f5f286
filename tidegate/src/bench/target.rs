//! Finds the target and opens connections to it, each one proved by AUTH and PING before any load.
//!
//! All that commonly goes wrong does so here, before the run, and says what to do about it.

use super::options::Options;
use super::reply::{Answer, Replies};
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A server that speaks RESP.
#[derive(Clone, Debug)]
pub struct Target {
    /// As the user gave it, or as it was found.
    pub name: String,
    addresses: Vec<SocketAddr>,
    origin: Origin,
}

/// Where the address comes from, to be told when nobody answers there.
#[derive(Clone, Debug)]
enum Origin {
    Flag,
    Endpoints(PathBuf),
    Default(PathBuf),
}

/// Why there is no connection to the target.
#[derive(Debug)]
pub struct Refusal {
    target: String,
    why: Why,
}

#[derive(Debug)]
enum Why {
    NoSuchHost(std::io::Error),
    Unreachable(Origin, std::io::Error),
    /// It took the connection and closed it, or said nothing in time.
    Silent(std::io::Error),
    PasswordMissing,
    PasswordRefused(String),
    Loading,
    NotResp(String),
    /// It answered PING with this error.
    Unwilling(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = &self.target;
        match &self.why {
            Why::NoSuchHost(error) => write!(f, "{target} is no address: {error}; give --target HOST:PORT"),
            Why::Unreachable(origin, error) => {
                write!(f, "nobody can be reached at {target}: {error}. ")?;
                match origin {
                    Origin::Flag => f.write_str("Is the server running, and is --target right?"),
                    Origin::Endpoints(path) => {
                        write!(f, "The address is from {}; start that node, or give --target", path.display())
                    }
                    Origin::Default(path) => write!(
                        f,
                        "It is the default, as there is no {}; start a node by `tidegate dev`, or give --target",
                        path.display()
                    ),
                }
            }
            Why::Silent(error) => write!(f, "{target} took the connection but doesn't answer PING: {error}"),
            Why::PasswordMissing => write!(f, "{target} asks for a password (NOAUTH); give --password"),
            Why::PasswordRefused(text) => write!(f, "{target} refuses the password: {text}"),
            Why::Loading => write!(f, "{target} is loading its data (LOADING); run this again when it serves"),
            Why::NotResp(line) => write!(f, "{target} doesn't speak RESP; it says \"{line}\""),
            Why::Unwilling(text) => write!(f, "{target} answers PING by an error: {text}"),
        }
    }
}

impl std::error::Error for Refusal {}

impl Target {
    /// The server that the options mean.
    pub fn find(options: &Options) -> Result<Self, Refusal> {
        let path = options.dir.join("endpoints.json");
        let (name, origin) = match (&options.target, endpoint(&path)) {
            (Some(target), _) => (with_port(target), Origin::Flag),
            (None, Some(resp)) => (resp, Origin::Endpoints(path)),
            (None, None) => ("127.0.0.1:6379".to_owned(), Origin::Default(path)),
        };
        let found = name.to_socket_addrs().map(Iterator::collect);
        match found {
            Ok(addresses) => Ok(Self { name, addresses, origin }),
            Err(error) => Err(Refusal { target: name, why: Why::NoSuchHost(error) }),
        }
    }

    /// A connection that has proved itself, not yet in non-blocking mode.
    pub fn connect(&self, password: Option<&str>) -> Result<TcpStream, Refusal> {
        self.reach()
            .and_then(|stream| greet(stream, password))
            .map_err(|why| Refusal { target: self.name.clone(), why })
    }

    fn reach(&self) -> Result<TcpStream, Why> {
        let mut last = std::io::Error::from(ErrorKind::AddrNotAvailable);
        for address in &self.addresses {
            match TcpStream::connect_timeout(address, CONNECT_TIME_MAX) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(Why::Unreachable(self.origin.clone(), last))
    }
}

/// AUTH where there is a password, and PING.
fn greet(mut stream: TcpStream, password: Option<&str>) -> Result<TcpStream, Why> {
    stream.set_nodelay(true).map_err(Why::Silent)?;
    stream.set_read_timeout(Some(ANSWER_TIME_MAX)).map_err(Why::Silent)?;
    if let Some(password) = password
        && let Some(text) = ask(&mut stream, &["AUTH", password])?
    {
        return Err(Why::PasswordRefused(text));
    }
    match ask(&mut stream, &["PING"])? {
        None => Ok(stream),
        Some(text) if text.starts_with("NOAUTH") => Err(Why::PasswordMissing),
        Some(text) if text.starts_with("LOADING") => Err(Why::Loading),
        Some(text) => Err(Why::Unwilling(text)),
    }
}

/// One command; the text of its error, if it is one.
fn ask(stream: &mut TcpStream, words: &[&str]) -> Result<Option<String>, Why> {
    let frame = words
        .iter()
        .fold(format!("*{}\r\n", words.len()), |frame, word| format!("{frame}${}\r\n{word}\r\n", word.len()));
    stream.write_all(frame.as_bytes()).map_err(Why::Silent)?;
    let (mut replies, mut buffer, mut answer) = (Replies::default(), [0; 4096], None);
    while answer.is_none() {
        let count = match stream.read(&mut buffer) {
            Ok(0) => {
                return Err(Why::Silent(std::io::Error::new(ErrorKind::UnexpectedEof, "it closed the connection")));
            }
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(Why::Silent(std::io::Error::new(ErrorKind::TimedOut, "nothing came in 10 s")));
            }
            Err(error) => return Err(Why::Silent(error)),
        };
        let fed = replies.feed(&buffer[..count], |one| {
            answer = Some(match one {
                Answer::Error(text) => Some(String::from_utf8_lossy(text).into_owned()),
                Answer::Value | Answer::Null => None,
            });
        });
        fed.map_err(|not| Why::NotResp(not.0))?;
    }
    Ok(answer.flatten())
}

/// The RESP address in a node's endpoints.json.
fn endpoint(path: &Path) -> Option<String> {
    resp_of(&std::fs::read_to_string(path).ok()?)
}

/// The value of "resp" in the object that a node writes.
fn resp_of(json: &str) -> Option<String> {
    let (_, rest) = json.split_once("\"resp\"")?;
    let value = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    Some(value.split_once('"')?.0.to_owned())
}

/// A host alone means the usual port, a port alone this machine.
fn with_port(target: &str) -> String {
    let bare_v6 = target.parse::<std::net::Ipv6Addr>().is_ok();
    if bare_v6 {
        format!("[{target}]:6379")
    } else if target.starts_with(':') {
        format!("127.0.0.1{target}")
    } else if target.ends_with(']') || !target.contains(':') {
        format!("{target}:6379")
    } else {
        target.to_owned()
    }
}

const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_alone_means_the_usual_port() {
        for (given, meant) in [
            ("db", "db:6379"),
            (":7000", "127.0.0.1:7000"),
            ("db:7000", "db:7000"),
            ("10.0.0.1", "10.0.0.1:6379"),
            ("::1", "[::1]:6379"),
            ("[::1]", "[::1]:6379"),
            ("[::1]:7000", "[::1]:7000"),
        ] {
            assert_eq!(with_port(given), meant);
        }
    }

    #[test]
    fn the_endpoint_of_a_node_is_found() {
        assert_eq!(resp_of("{\"resp\":\"127.0.0.1:6379\",\"pid\":7}\n").as_deref(), Some("127.0.0.1:6379"));
        assert_eq!(resp_of("{\"pid\": 7, \"resp\" : \"[::1]:1\"}").as_deref(), Some("[::1]:1"));
        assert_eq!(resp_of("{\"pid\":7}"), None);
        assert_eq!(resp_of(""), None);
    }
}
