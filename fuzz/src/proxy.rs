//! The PROXY protocol: a header is the same however it comes in pieces, takes no more than there is, and what follows it is not looked at.

use base::rng::Rng;
use edge::proxy::{self, REST_BYTES_MAX};

/// The target.
pub fn proxy(input: &[u8]) {
    let whole = proxy::parse(input);
    // The first piece that says something says what the whole says.
    let first = (0..input.len()).map(|end| proxy::parse(&input[..end])).find(|piece| !matches!(piece, Ok(None)));
    match (first, whole) {
        (None, _) => {}
        (Some(Ok(piece)), Ok(whole)) => assert_eq!(piece, whole),
        (Some(Err(_)), Err(_)) => {}
        (piece, whole) => panic!("{piece:?} of {whole:?}"),
    }
    match whole {
        Ok(Some(header)) => {
            assert!(header.bytes <= input.len(), "no more than there is");
            let behind = [&input[..header.bytes], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(proxy::parse(&behind), Ok(Some(header)), "what follows is not looked at");
        }
        Ok(None) => assert!(input.len() < 16 + REST_BYTES_MAX, "what is waited for is bounded"),
        Err(_) => {}
    }
}

/// A header of either version, and the beginning of a request.
pub fn valid_proxy(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = match rng.below(6) {
        0 => b"PROXY UNKNOWN\r\n".to_vec(),
        1 => b"PROXY TCP6 2001:db8::1 ::1 65535 443\r\n".to_vec(),
        2 | 3 => {
            format!("PROXY TCP4 192.0.2.{} 198.51.100.1 {} 443\r\n", rng.below(256), rng.below(65536)).into_bytes()
        }
        _ => binary(rng),
    };
    bytes.extend_from_slice(b"GET / HTTP/1.1\r\n");
    bytes
}

fn binary(rng: &mut Rng) -> Vec<u8> {
    let (command, family, addresses) = [(0x20, 0, 0), (0x21, 0x11, 12), (0x21, 0x21, 36), (0x21, 0x31, 216)]
        [usize::try_from(rng.below(4)).expect("few kinds")];
    let mut rest: Vec<u8> = (0..addresses).map(|_| rng.next_u64().to_le_bytes()[0]).collect();
    for kind in 0..rng.below(3) {
        let length = u8::try_from(rng.below(20)).expect("it is small");
        rest.extend_from_slice(&[kind.to_le_bytes()[0], 0, length]);
        rest.extend(0..length);
    }
    let length = u16::try_from(rest.len()).expect("it is short").to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length, &rest].concat()
}
