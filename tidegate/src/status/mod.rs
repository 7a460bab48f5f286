//! `tidegate status`: asks a running node how it is, and prints a table, or the node's own document.
//!
//! The node is found by its admin address: the one that is given, or that of DIR/endpoints.json. The file outlives a
//! killed node, so what answers there must have the pid that the file names. `tidegate locks` finds it the same way.

pub mod document;
pub mod gather;
pub mod locks;
pub mod table;

use crate::cli::Status;
use serde_json::Value;
use std::error::Error;
use std::io::{IsTerminal, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;
use table::{Paint, table};

/// How long a node may take to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// What a sane node answers with is far below this.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Prints the status of a node.
pub fn run(options: &Status) -> Result<(), Box<dyn Error>> {
    let text = match &options.admin {
        Some(address) => ask(address).map_err(|error| {
            format!("no node answers at {address}: {error}; give the admin address of its ready line")
        })?,
        None => ask_of_dir(&options.dir)?.1,
    };
    let mut stdout = std::io::stdout().lock();
    if options.json {
        stdout.write_all(text.as_bytes())?;
    } else {
        let paint = paint(stdout.is_terminal());
        stdout.write_all(table(&serde_json::from_str(&text)?, paint).as_bytes())?;
    }
    Ok(())
}

pub fn paint(terminal: bool) -> Paint {
    let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    if colours { Paint::Colours } else { Paint::Plain }
}

/// Asks the node that runs on a directory: its admin address, and its status.
fn ask_of_dir(dir: &Path) -> Result<(String, String), Box<dyn Error>> {
    let path = dir.join("endpoints.json");
    let start = format!("start one by `tidegate dev --dir {}`, or name another by --dir or --admin", dir.display());
    let file = match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str::<Value>(&text)
            .map_err(|error| format!("{} can't be understood: {error}; give --admin", path.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(format!("no node runs on {}: there is no endpoints.json; {start}", dir.display()).into());
        }
        Err(error) => return Err(format!("{} can't be read: {error}", path.display()).into()),
    };
    let address = file["admin"].as_str().ok_or_else(|| format!("{} names no admin address", path.display()))?;
    let gone =
        |why: String| format!("no node runs on {}: {why} at {address}, where the last one was; {start}", dir.display());
    let text = ask(address).map_err(|error| gone(error.to_string()))?;
    let pid = serde_json::from_str::<Value>(&text).map_or(Value::Null, |value| value["nodes"][0]["pid"].clone());
    if pid != file["pid"] {
        return Err(gone("another program answers".to_owned()).into());
    }
    Ok((address.to_owned(), text))
}

/// GET /status.
pub fn ask(address: &str) -> Result<String, Box<dyn Error>> {
    get(address, "/status", None)
}

/// GET of a path of the admin port; what a refusal says is the error.
pub fn get(address: &str, path: &str, password: Option<&str>) -> Result<String, Box<dyn Error>> {
    let socket: SocketAddr = address.to_socket_addrs()?.next().ok_or("the name has no address")?;
    let mut stream = TcpStream::connect_timeout(&socket, ANSWER_TIME_MAX)?;
    stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
    stream.set_write_timeout(Some(ANSWER_TIME_MAX))?;
    let password = password.map_or(String::new(), |password| format!("authorization: Bearer {password}\r\n"));
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {socket}\r\n{password}connection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("what answers is no node")?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        Some(status) => {
            let told = serde_json::from_str::<Value>(body).ok();
            let why = told.as_ref().and_then(|told| told["message"].as_str());
            Err(why.map_or(format!("it answers with HTTP status {status}"), str::to_owned).into())
        }
        None => Err("what answers is no node".into()),
    }
}
