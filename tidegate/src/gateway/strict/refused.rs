//! Why bytes of a client don't pass, and how it is told.

use hyper::StatusCode;

/// Why bytes don't pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    RequestLine,
    Version,
    Connect,
    Protocol,
    Target,
    TargetTooLong,
    HeadTooLarge,
    HeadersTooMany,
    BareLf,
    BareCr,
    Folded,
    HeaderName,
    HeaderValue,
    NoHost,
    ManyHosts,
    BadHost,
    HostMismatch,
    LengthTwice,
    BadLength,
    LengthAndEncoding,
    BadEncoding,
    OldEncoding,
    ChunkSize,
    ChunkExtension,
    ChunkEnd,
    Trailer,
}

impl Refused {
    /// The status, a word for programs, and what is wrong, why it is refused and what to do.
    pub fn told(self) -> (StatusCode, &'static str, &'static str) {
        let (_, status, word, why) = ROWS.iter().find(|(refused, ..)| *refused == self).expect("each has a row");
        (*status, word, why)
    }
}

const BAD: StatusCode = StatusCode::BAD_REQUEST;

const ROWS: [(Refused, StatusCode, &str, &str); 26] = [
    (
        Refused::RequestLine,
        BAD,
        "request_line",
        "the request line isn't `METHOD target HTTP/1.1` with one blank between each",
    ),
    (
        Refused::Version,
        StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        "version",
        "this port speaks HTTP/1.1 and HTTP/1.0: send one of them",
    ),
    (
        Refused::Connect,
        StatusCode::NOT_IMPLEMENTED,
        "connect",
        "CONNECT asks for a tunnel, and this gateway makes none: send requests for what stands behind it",
    ),
    (
        Refused::Protocol,
        StatusCode::NOT_IMPLEMENTED,
        "protocol",
        "the :protocol of a CONNECT is none that this gateway passes on: it is `websocket` alone",
    ),
    (
        Refused::Target,
        BAD,
        "target",
        "the target is neither a path nor an http address of printable ASCII: percent-encode what is no such character",
    ),
    (
        Refused::TargetTooLong,
        StatusCode::URI_TOO_LONG,
        "target_too_long",
        "the target is longer than limits.uri allows: shorten it, or send the rest in a body",
    ),
    (
        Refused::HeadTooLarge,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "head_too_large",
        "the headers together are larger than limits.header allows: send less, mostly in cookies",
    ),
    (
        Refused::HeadersTooMany,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "headers_too_many",
        "there are more headers than limits.headers allows: send fewer",
    ),
    (
        Refused::BareLf,
        BAD,
        "bare_lf",
        "a line ends by LF without CR, which others read differently: end lines by CR LF",
    ),
    (Refused::BareCr, BAD, "bare_cr", "a CR stands within a line, which others read differently: end lines by CR LF"),
    (
        Refused::Folded,
        BAD,
        "folded_header",
        "a header goes on in a second line, which others read differently: write it in one",
    ),
    (
        Refused::HeaderName,
        BAD,
        "header_name",
        "the name of a header is empty, has characters that no name has, or has a blank before its colon",
    ),
    (Refused::HeaderValue, BAD, "header_value", "the value of a header has a control character in it"),
    (Refused::NoHost, BAD, "no_host", "HTTP/1.1 wants a Host header: name the host that you ask"),
    (
        Refused::ManyHosts,
        BAD,
        "many_hosts",
        "there is more than one Host header, and it would be chance which counts: send one",
    ),
    (Refused::BadHost, BAD, "bad_host", "the Host header has characters that no host has"),
    (Refused::HostMismatch, BAD, "host_mismatch", "the target names another host than the Host header: name the same"),
    (
        Refused::LengthTwice,
        BAD,
        "length_twice",
        "there is more than one Content-Length, and it would be chance which counts: send one",
    ),
    (Refused::BadLength, BAD, "bad_length", "the Content-Length is no plain number of bytes"),
    (
        Refused::LengthAndEncoding,
        BAD,
        "length_and_encoding",
        "there are Content-Length and Transfer-Encoding, and others would go by the other one: send one",
    ),
    (
        Refused::BadEncoding,
        BAD,
        "bad_encoding",
        "the Transfer-Encoding isn't exactly `chunked`: send the body in chunks, or with its Content-Length",
    ),
    (Refused::OldEncoding, BAD, "old_encoding", "HTTP/1.0 has no Transfer-Encoding: send the Content-Length"),
    (Refused::ChunkSize, BAD, "chunk_size", "the size of a chunk is no plain hexadecimal number"),
    (
        Refused::ChunkExtension,
        BAD,
        "chunk_extension",
        "the extension of a chunk is too long, or has a control character in it",
    ),
    (Refused::ChunkEnd, BAD, "chunk_end", "a chunk is not followed by CR LF: its size and its bytes don't agree"),
    (Refused::Trailer, BAD, "trailer", "a trailer is no `name: value` in one line, or they are too large"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_has_a_row_and_a_word_of_its_own() {
        // The last variant's number tells how many there are.
        assert_eq!(Refused::Trailer as usize + 1, ROWS.len());
        for (at, (refused, status, word, why)) in ROWS.iter().enumerate() {
            assert_eq!((*refused as usize, refused.told()), (at, (*status, *word, *why)));
        }
        assert_eq!(ROWS.iter().map(|row| row.2).collect::<BTreeSet<_>>().len(), ROWS.len());
    }
}
