//! A body in chunks: sizes, data and trailers, in the one spelling that all readers agree about.

use super::Refused;
use super::head::field;

/// Where in the body the next byte stands.
#[derive(Debug)]
pub struct Chunks {
    state: State,
    /// Bytes of extensions so far; of all chunks, since each could bring its own.
    extension_bytes: usize,
    /// The line of a trailer that is being read, and the bytes of all of them.
    line: Vec<u8>,
    trailer_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The size so far, and its digits.
    Size(u64, u8),
    Extension(u64),
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    Trailer,
    TrailerLf,
}

/// Digits of a size; more would not fit.
const DIGITS_MAX: u8 = 15;
/// All extensions of a body. Nobody uses them.
const EXTENSION_BYTES_MAX: usize = 4096;

impl Default for Chunks {
    fn default() -> Self {
        Self { state: State::Size(0, 0), extension_bytes: 0, line: Vec::new(), trailer_bytes: 0 }
    }
}

impl Chunks {
    /// Reads on: how many bytes belong to the body, and whether it ends with them.
    pub fn scan(&mut self, bytes: &[u8], trailer_bytes_max: usize) -> Result<(usize, bool), Refused> {
        let mut at = 0;
        while at < bytes.len() {
            if let State::Data(left) = self.state {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                at += here;
                let left = left - here as u64;
                self.state = if left == 0 { State::DataCr } else { State::Data(left) };
                continue;
            }
            let byte = bytes[at];
            at += 1;
            if self.on_byte(byte, trailer_bytes_max)? {
                return Ok((at, true));
            }
        }
        Ok((at, false))
    }

    /// One byte outside of data; true if the body ends with it.
    fn on_byte(&mut self, byte: u8, trailer_bytes_max: usize) -> Result<bool, Refused> {
        self.state = match (self.state, byte) {
            (State::Size(_, 0), b'\r' | b';') => return Err(Refused::ChunkSize),
            (State::Size(size, _), b'\r') => State::SizeLf(size),
            (State::Size(size, _), b';') => State::Extension(size),
            (State::Size(size, digits), digit) => {
                let value = char::from(digit).to_digit(16).filter(|_| digits < DIGITS_MAX);
                let value = value.ok_or(Refused::ChunkSize)?;
                State::Size(size * 16 + u64::from(value), digits + 1)
            }
            (State::Extension(size), b'\r') => State::SizeLf(size),
            (State::Extension(size), byte) => {
                self.extension_bytes += 1;
                let control = (byte < 0x20 && byte != b'\t') || byte == 0x7f;
                if control || self.extension_bytes > EXTENSION_BYTES_MAX {
                    return Err(Refused::ChunkExtension);
                }
                State::Extension(size)
            }
            (State::SizeLf(0), b'\n') => State::Trailer,
            (State::SizeLf(size), b'\n') => State::Data(size),
            (State::SizeLf(_), _) => return Err(Refused::ChunkSize),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size(0, 0),
            (State::DataCr | State::DataLf | State::Data(_), _) => return Err(Refused::ChunkEnd),
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::Trailer, b'\n') => return Err(Refused::BareLf),
            (State::Trailer, byte) => {
                self.trailer_bytes += 1;
                if self.trailer_bytes > trailer_bytes_max {
                    return Err(Refused::Trailer);
                }
                self.line.push(byte);
                State::Trailer
            }
            (State::TrailerLf, b'\n') if self.line.is_empty() => return Ok(true),
            (State::TrailerLf, b'\n') => {
                field(&self.line).map_err(|_| Refused::Trailer)?;
                self.line.clear();
                State::Trailer
            }
            (State::TrailerLf, _) => return Err(Refused::BareCr),
        };
        Ok(false)
    }
}
