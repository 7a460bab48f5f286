//! The scanner: what passes, what doesn't, and that it makes no difference how bytes are cut into reads.

use super::{HeadLimits, Refused, Scanned, Strict};

const LIMITS: HeadLimits = HeadLimits { bytes_max: 512, headers_max: 8, target_bytes_max: 100 };

/// Shows the stream in pieces of `step` bytes: what passed, and why the rest didn't.
fn scan(stream: &[u8], step: usize) -> (usize, Option<Refused>, u64) {
    let mut strict = Strict::new(LIMITS);
    let (mut passed, mut shown) = (0, 0);
    while shown < stream.len() {
        shown = (shown + step).min(stream.len());
        let Scanned { passed: more, refused } = strict.scan(&stream[passed..shown]);
        passed += more;
        if refused.is_some() {
            return (passed, refused, strict.heads());
        }
    }
    (passed, None, strict.heads())
}

fn all_steps(stream: &[u8]) -> (usize, Option<Refused>, u64) {
    let whole = scan(stream, stream.len());
    for step in 1..stream.len() {
        assert_eq!(scan(stream, step), whole, "in steps of {step}: {:?}", String::from_utf8_lossy(stream));
    }
    whole
}

#[test]
fn what_is_sound_passes_whole() {
    for (stream, heads) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1),
        ("GET / HTTP/1.0\r\n\r\n", 1),
        ("\r\nGET /?a=b HTTP/1.1\r\nhost:a:80\r\nx:\r\ny: \t z \t\r\n\r\n", 1),
        ("GET http://A/x HTTP/1.1\r\nHost: a:80\r\n\r\n", 1),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 1),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /GET / HTTP/1.1\r\nHost: a\r\n\r\n", 2),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 2),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=\"y\"\r\n\r\n\r\n0\r\n0A\r\n0123456789\r\n0\r\n\
             Trailer: x\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            2,
        ),
    ] {
        // The first of the chunks claims five bytes, of which three are there: it swallows what looks like the end.
        assert_eq!(all_steps(stream.as_bytes()), (stream.len(), None, heads), "{stream}");
    }
}

#[test]
fn an_unfinished_head_waits() {
    assert_eq!(all_steps(b"GET / HTTP/1.1\r\nHost: a\r\n"), (0, None, 0));
    let first = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(all_steps(format!("{first}GET").as_bytes()), (first.len(), None, 1));
}

#[test]
fn what_can_be_read_in_two_ways_is_refused_and_never_begun() {
    let head = |lines: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
    let cases = [
        (head("Content-Length: 5\r\nTransfer-Encoding: chunked"), Refused::LengthAndEncoding),
        (head("Transfer-Encoding: chunked\r\nContent-Length: 5"), Refused::LengthAndEncoding),
        (head("Content-Length: 5\r\nContent-Length: 5"), Refused::LengthTwice),
        (head("Content-Length: 5, 5"), Refused::BadLength),
        (head("Content-Length: +5"), Refused::BadLength),
        (head("Content-Length: 0x5"), Refused::BadLength),
        (head("Content-Length:"), Refused::BadLength),
        (head("Content-Length: 99999999999999999999"), Refused::BadLength),
        (head("Transfer-Encoding: identity"), Refused::BadEncoding),
        (head("Transfer-Encoding: gzip, chunked"), Refused::BadEncoding),
        (head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), Refused::BadEncoding),
        (head("Transfer-Encoding: \u{b}chunked"), Refused::HeaderValue),
        (head("Transfer-Encoding : chunked"), Refused::HeaderName),
        (head("Transfer-Encoding\r\n : chunked"), Refused::HeaderName),
        (head("X: a\r\n Content-Length: 5"), Refused::Folded),
        (head(" X: a"), Refused::Folded),
        (head("X: a\nContent-Length: 5"), Refused::BareLf),
        (head("X: a\rContent-Length: 5"), Refused::BareCr),
        (head("X: a\0b"), Refused::HeaderValue),
        (head(": a"), Refused::HeaderName),
        (head("X\u{e9}: a"), Refused::HeaderName),
        (head("Host: b"), Refused::ManyHosts),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), Refused::NoHost),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned(), Refused::BadHost),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), Refused::HostMismatch),
        ("GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n".to_owned(), Refused::Target),
        ("GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), Refused::Target),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), Refused::Target),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), Refused::Target),
        ("GET /#a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), Refused::Target),
        ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), Refused::Target),
        ("GET / a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), Refused::Target),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), Refused::Target),
        ("GET /\r\nHost: a\r\n\r\n".to_owned(), Refused::RequestLine),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n".to_owned(), Refused::RequestLine),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), Refused::RequestLine),
        ("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), Refused::RequestLine),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n".to_owned(), Refused::Version),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), Refused::Version),
        ("GET / HTTP/1.1\nHost: a\n\n".to_owned(), Refused::BareLf),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".to_owned(), Refused::Connect),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), Refused::OldEncoding),
    ];
    for (stream, wanted) in cases {
        assert_eq!(all_steps(stream.as_bytes()), (0, Some(wanted), 0), "{stream:?}");
        // Behind a sound request it is the same, and the sound one passes.
        let first = "GET /first HTTP/1.1\r\nHost: a\r\n\r\n";
        let both = format!("{first}{stream}");
        assert_eq!(all_steps(both.as_bytes()), (first.len(), Some(wanted), 1), "{stream:?}");
    }
}

#[test]
fn chunks_have_one_spelling() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (body, wanted) in [
        ("\r\n", Refused::ChunkSize),
        ("x\r\n", Refused::ChunkSize),
        ("0x5\r\nhello\r\n", Refused::ChunkSize),
        ("+5\r\nhello\r\n", Refused::ChunkSize),
        ("5 \r\nhello\r\n", Refused::ChunkSize),
        ("5\nhello\r\n", Refused::ChunkSize),
        ("5\rhello\r\n", Refused::ChunkSize),
        ("00000000000000005\r\nhello\r\n", Refused::ChunkSize),
        ("fffffffffffffffff\r\nhello\r\n", Refused::ChunkSize),
        ("5;a\nb\r\nhello\r\n", Refused::ChunkExtension),
        ("5\r\nhelloo\r\n", Refused::ChunkEnd),
        ("5\r\nhello\n", Refused::ChunkEnd),
        ("5\r\nhello\rx", Refused::ChunkEnd),
        ("0\r\n\n", Refused::BareLf),
        ("0\r\n\rx", Refused::BareCr),
        ("0\r\nno colon\r\n\r\n", Refused::Trailer),
        ("0\r\na: b\r\n folded\r\n\r\n", Refused::Trailer),
    ] {
        let (passed, refused, heads) = scan(format!("{head}{body}").as_bytes(), 1);
        assert_eq!((refused, heads), (Some(wanted), 1), "{body:?}");
        assert!(passed < head.len() + body.len(), "{body:?}");
        assert_eq!(scan(format!("{head}{body}").as_bytes(), 1000).1, Some(wanted), "{body:?}");
    }
    let endless = format!("{head}5;{}", "a".repeat(5000));
    assert_eq!(scan(endless.as_bytes(), 700).1, Some(Refused::ChunkExtension));
    let trailers = format!("{head}0\r\n{}", "a: b\r\n".repeat(200));
    assert_eq!(scan(trailers.as_bytes(), 700).1, Some(Refused::Trailer));
}

#[test]
fn a_head_is_bounded_before_it_ends() {
    let long_target = format!("GET /{}", "a".repeat(600));
    assert_eq!(scan(long_target.as_bytes(), 10).1, Some(Refused::TargetTooLong));
    let target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(100));
    assert_eq!(all_steps(target.as_bytes()).1, Some(Refused::TargetTooLong));
    let long_header = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "a".repeat(600));
    assert_eq!(scan(long_header.as_bytes(), 10).1, Some(Refused::HeadTooLarge));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(8));
    assert_eq!(all_steps(many.as_bytes()).1, Some(Refused::HeadersTooMany));
}
