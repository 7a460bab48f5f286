//! One request on a connection, and its answer.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A client's connection, which may be kept.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    held: Vec<u8>,
}

const ANSWER_BYTES_MAX: usize = 64 * 1024;

impl Connection {
    pub async fn open(target: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, held: Vec::with_capacity(512) })
    }

    /// Sends a request and reads its answer: the status, and whether the connection may be used again.
    pub async fn ask(&mut self, path: &str) -> Result<(u16, bool)> {
        self.stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: load\r\n\r\n").as_bytes()).await?;
        self.held.clear();
        loop {
            if let Some(end) = head_end(&self.held) {
                let head = std::str::from_utf8(&self.held[..end]).map_err(|_| ErrorKind::InvalidData)?;
                let status = head.get(9..12).and_then(|text| text.parse().ok()).ok_or(ErrorKind::InvalidData)?;
                let closes = value_of(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
                let body = value_of(head, "content-length").and_then(|text| text.parse::<usize>().ok());
                let body = body.ok_or_else(|| Error::new(ErrorKind::InvalidData, "an answer without a length"))?;
                while self.held.len() < end + body {
                    self.read().await?;
                }
                return Ok((status, !closes));
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<()> {
        match self.stream.read_buf(&mut self.held).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ if self.held.len() > ANSWER_BYTES_MAX => Err(ErrorKind::InvalidData.into()),
            _ => Ok(()),
        }
    }
}

/// Where the first head in these bytes ends.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn value_of<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line_and_has_values() {
        let head = "HTTP/1.1 503 x\r\nContent-Length: 12\r\nConnection: close\r\n\r\nrest";
        assert_eq!(head_end(head.as_bytes()), Some(head.len() - 4));
        assert_eq!((value_of(head, "content-length"), value_of(head, "retry-after")), (Some("12"), None));
        assert_eq!(head_end(b"GET / HTTP/1.1\r\n"), None);
    }
}
