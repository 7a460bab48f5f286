//! What a node tells each peer of itself as soon as they are linked: its name, and where it serves.
//!
//! A card stands in a frame like the messages of the core, with a kind of its own: `kind u8 = 128 | name | host | resp u16
//! | cluster u16 | admin u16 | peers u16 | pid u32`, texts as length varint and bytes.

use base::codec::{DecodeError, Reader, put_bytes};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    pub name: String,
    /// Of all its ports.
    pub host: String,
    pub resp: u16,
    pub cluster: u16,
    pub admin: u16,
    pub peers: u16,
    pub pid: u32,
}

/// The kind of a card among messages.
pub const CARD: u8 = 128;
/// A text that is longer is cut when it is shown to nobody's harm, and refused when it comes.
const TEXT_BYTES_MAX: usize = 256;

impl Card {
    /// Appends the card to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(CARD);
        put_bytes(out, self.name.as_bytes());
        put_bytes(out, self.host.as_bytes());
        for port in [self.resp, self.cluster, self.admin, self.peers] {
            out.extend_from_slice(&port.to_le_bytes());
        }
        out.extend_from_slice(&self.pid.to_le_bytes());
    }

    /// Takes a card off the front of `reader`.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            CARD => {}
            other => return Err(DecodeError::Unknown(u64::from(other))),
        }
        let (name, host) = (text(reader)?, text(reader)?);
        let (resp, cluster, admin, peers) = (reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?);
        Ok(Self { name, host, resp, cluster, admin, peers, pid: reader.u32()? })
    }
}

/// A text that can stand in a line of a reply.
fn text(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let bytes = reader.bytes()?;
    let plain = bytes.len() <= TEXT_BYTES_MAX && bytes.iter().all(|byte| (b'!'..=b'~').contains(byte));
    let text = std::str::from_utf8(bytes).ok().filter(|_| plain);
    text.map(str::to_owned).ok_or(DecodeError::Overlong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_comes_back_as_it_went_and_no_line_can_be_forged_by_it() {
        let card = Card {
            name: "node-1".to_owned(),
            host: "127.0.0.1".to_owned(),
            resp: 1,
            cluster: 2,
            admin: 3,
            peers: 65_535,
            pid: 70_000,
        };
        let mut bytes = Vec::new();
        card.encode(&mut bytes);
        assert_eq!(Card::decode(&mut Reader::new(&bytes)), Ok(card.clone()));
        for cut in 0..bytes.len() {
            assert!(Card::decode(&mut Reader::new(&bytes[..cut])).is_err(), "cut at {cut}");
        }
        for name in ["a\nb", "a b", &"x".repeat(300)] {
            let mut bytes = Vec::new();
            Card { name: name.to_owned(), ..card.clone() }.encode(&mut bytes);
            assert!(Card::decode(&mut Reader::new(&bytes)).is_err(), "{name}");
        }
    }
}
