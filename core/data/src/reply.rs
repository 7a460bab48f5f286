//! What a command answers: a value, never bytes of a protocol.
//!
//! The edge that speaks to the client decides how a [`Reply`] looks on the wire. Small strings are held inline so
//! that the common GET allocates nothing; large ones share the stored bytes.

use crate::refused::Refused;
use crate::strings::Strings;
use bytes::Bytes;
use smallvec::SmallVec;

/// A reply as the command means it.
#[derive(Clone, Debug)]
pub enum Reply {
    /// `+OK`.
    Ok,
    /// Another simple string, such as PONG or QUEUED.
    Simple(&'static str),
    /// A simple string that a script has made.
    Status(Box<[u8]>),
    /// No value: a null bulk string in RESP2, null in RESP3.
    Nil,
    /// No array: a null array in RESP2 (EXEC aborted by WATCH), null in RESP3.
    NilArray,
    /// A 64-bit integer.
    Int(i64),
    /// A double: a bulk string in RESP2.
    Double(f64),
    /// A double in plain digits, at most seventeen behind the point: a bulk string in RESP2.
    Decimal(f64),
    /// A boolean: 1 or 0 in RESP2.
    Bool(bool),
    /// An integer of any size, in decimal: a bulk string in RESP2.
    BigNumber(Box<[u8]>),
    /// A binary-safe string.
    Bulk(Blob),
    /// Text of a format that three letters name, made by a script: a bulk string in RESP2.
    Formatted([u8; 3], Box<[u8]>),
    /// Text for people (INFO): a bulk string in RESP2, a verbatim `txt` string in RESP3.
    Verbatim(String),
    /// An ordered list.
    Array(Vec<Reply>),
    /// The same as an array of bulk strings, and equal to it.
    Strings(Strings),
    /// A set: an array in RESP2.
    Set(Vec<Reply>),
    /// Key and value pairs: a flat array in RESP2.
    Map(Vec<(Reply, Reply)>),
    /// Pairs in their order: a flat array in RESP2, an array of arrays of two in RESP3.
    Couples(Vec<(Reply, Reply)>),
    /// The same, but in RESP2 each pair is an array of two (what XREAD found, by stream).
    Pairs(Vec<(Reply, Reply)>),
    /// A refusal; nothing was changed unless the error's own text says otherwise.
    Error(Refused),
    /// The leader has kept the answer since a script ran. Never leaves the lane that applies the entry.
    Kept,
    /// Answer to WATCH: what EXEC must find unchanged. Never leaves the edge.
    Watched(Vec<Watched>),
}

/// One watched key as the shard saw it: EXEC aborts if the bucket has changed since, or if the key has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    pub shard: base::ShardId,
    pub bucket: u32,
    /// How many changes the shard had seen when a key of the bucket last changed.
    pub revision: u64,
    /// When the key dies by itself, if it lived and will.
    pub dies_at: Option<base::Stamp>,
}

/// A string that is cheap to pass on: inline when small, shared when large.
#[derive(Clone, Debug, Eq)]
pub enum Blob {
    Inline(SmallVec<[u8; INLINE_BYTES]>),
    Shared(Bytes),
}

/// Up to this size a [`Blob`] needs no allocation.
pub const INLINE_BYTES: usize = 112;

impl Blob {
    /// The string's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// Equal strings are equal however they are held.
impl PartialEq for Blob {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq for Reply {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ok, Self::Ok)
            | (Self::Nil, Self::Nil)
            | (Self::NilArray, Self::NilArray)
            | (Self::Kept, Self::Kept) => true,
            (Self::Simple(own), Self::Simple(other)) => own == other,
            (Self::Status(own), Self::Status(other)) | (Self::BigNumber(own), Self::BigNumber(other)) => own == other,
            (Self::Int(own), Self::Int(other)) => own == other,
            (Self::Double(own), Self::Double(other)) | (Self::Decimal(own), Self::Decimal(other)) => own == other,
            (Self::Bool(own), Self::Bool(other)) => own == other,
            (Self::Bulk(own), Self::Bulk(other)) => own == other,
            (Self::Formatted(own, text), Self::Formatted(other, same)) => (own, text) == (other, same),
            (Self::Verbatim(own), Self::Verbatim(other)) => own == other,
            (Self::Array(own), Self::Array(other)) | (Self::Set(own), Self::Set(other)) => own == other,
            (Self::Strings(own), Self::Strings(other)) => own == other,
            (Self::Strings(strings), Self::Array(items)) | (Self::Array(items), Self::Strings(strings)) => {
                strings == items.as_slice()
            }
            (Self::Map(own), Self::Map(other))
            | (Self::Couples(own), Self::Couples(other))
            | (Self::Pairs(own), Self::Pairs(other)) => own == other,
            (Self::Error(own), Self::Error(other)) => own == other,
            (Self::Watched(own), Self::Watched(other)) => own == other,
            _ => false,
        }
    }
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        Self::Inline(SmallVec::from_slice(bytes))
    }
}

impl Reply {
    /// A bulk string with a copy of `bytes`.
    #[must_use]
    pub fn bulk(bytes: &[u8]) -> Self {
        Self::Bulk(Blob::from(bytes))
    }

    /// A bulk string with the text of `value`.
    #[must_use]
    pub fn text(value: impl std::fmt::Display) -> Self {
        Self::bulk(value.to_string().as_bytes())
    }

    /// A double as C's `%.17g`, as Redis prints scores: seventeen digits without the zeros at their end, in plain or
    /// scientific notation.
    #[must_use]
    pub fn digits(value: f64) -> String {
        if !value.is_finite() {
            return if value.is_nan() { "nan" } else { ["-inf", "inf"][usize::from(value > 0.0)] }.to_owned();
        }
        let scientific = format!("{value:.16e}");
        let (mantissa, exponent) = scientific.split_once('e').expect("the notation has an exponent");
        let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
        let (first, rest) = mantissa.split_once('.').expect("seventeen digits have a point");
        let rest = rest.trim_end_matches('0');
        let exponent: i32 = exponent.parse().expect("an exponent is a number");
        let shift = exponent.unsigned_abs() as usize;
        let point = if rest.len() > shift { "." } else { "" };
        match exponent {
            0..17 => {
                let (whole, fraction) = rest.split_at_checked(shift).unwrap_or((rest, ""));
                format!("{sign}{first}{whole:0<shift$}{point}{fraction}")
            }
            -4..0 => format!("{sign}0.{:0>shift$}{rest}", first),
            _ => {
                let point = if rest.is_empty() { "" } else { "." };
                format!("{sign}{first}{point}{rest}e{}{shift:02}", if exponent < 0 { '-' } else { '+' })
            }
        }
    }

    /// A double as C's `%.17f` without the zeros at its end.
    #[must_use]
    pub fn plain(value: f64) -> String {
        match format!("{value:.17}").trim_end_matches('0').trim_end_matches('.') {
            "-0" => "0".to_owned(),
            text => text.to_owned(),
        }
    }

    /// A count as an integer.
    #[must_use]
    pub fn count(n: usize) -> Self {
        Self::Int(i64::try_from(n).unwrap_or(i64::MAX))
    }
}

impl From<Result<Reply, Refused>> for Reply {
    fn from(outcome: Result<Reply, Refused>) -> Self {
        outcome.unwrap_or_else(Reply::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::Reply;

    #[test]
    fn doubles_look_as_c_prints_them_with_seventeen_digits() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (100.0, "100"),
            (0.1, "0.10000000000000001"),
            (0.0001, "0.0001"),
            (-0.012, "-0.012"),
            (0.5, "0.5"),
            (1234.5, "1234.5"),
            (1e15, "1000000000000000"),
            (99_999_999_999_999_984.0, "99999999999999984"),
            (0.00001, "1.0000000000000001e-05"),
            (std::f64::consts::PI, "3.1415926535897931"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (-123_456_789_012_345_678.0, "-1.2345678901234568e+17"),
            (1e300, "1.0000000000000001e+300"),
            (1.5e-9, "1.5e-09"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(Reply::digits(value), text);
        }
    }
}
