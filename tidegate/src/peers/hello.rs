//! How two nodes begin to speak: each says who it is, then proves that it knows the cluster's secret.
//!
//! A hello is `magic | version u16 | cluster u64 | from u64 | to u64 | life u64 | nonce`; a proof is the HMAC-SHA256 of
//! which end speaks and both hellos, so neither can be played again on another connection or sent back. `life` was
//! drawn when the node's directory was made: a node that comes back with another one has lost its disk.

use base::NodeId;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Bytes of a hello, and of a proof.
pub const HELLO_BYTES: usize = 58;
pub const PROOF_BYTES: usize = 32;

const MAGIC: [u8; 8] = *b"TIDEPEER";
/// Raised when peers would misunderstand each other.
const VERSION: u16 = 3;

/// Who speaks to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    pub cluster: u64,
    pub from: NodeId,
    pub to: NodeId,
    pub life: u64,
    pub nonce: [u8; 16],
}

/// What a node gets instead of a proof when it must not come back: why, in its last byte.
const REFUSAL: [u8; 31] = *b"TIDEPEER refuses you, for ever ";

impl Stranger {
    /// What is sent to the other end, if it should know.
    pub fn refusal(&self) -> Option<[u8; PROOF_BYTES]> {
        let why = match self {
            Self::Removed(_) => 1,
            Self::LostItsDisk(_) => 2,
            _ => return None,
        };
        let mut out = [why; PROOF_BYTES];
        out[..31].copy_from_slice(&REFUSAL);
        Some(out)
    }

    /// What the other end has against `me`, if this is no proof but a refusal.
    pub fn told(bytes: &[u8], me: NodeId) -> Option<Self> {
        match bytes.strip_prefix(&REFUSAL) {
            Some([1]) => Some(Self::Removed(me)),
            Some([2]) => Some(Self::LostItsDisk(me)),
            _ => None,
        }
    }
}

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Dialed,
    Accepted,
}

/// Why a peer is not spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    NotAPeer,
    Version(u16),
    Cluster(u64),
    NotForMe(NodeId),
    NotAMember(NodeId),
    /// Another node has taken its place.
    Removed(NodeId),
    /// It came back without its disk.
    LostItsDisk(NodeId),
    WrongSecret(NodeId),
    /// It sent what no peer sends, a moment ago.
    Barred(NodeId),
}

impl std::fmt::Display for Stranger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotAPeer => f.write_str("what came is not the peer protocol"),
            Self::Version(version) => write!(f, "it speaks version {version} of the peer protocol, not {VERSION}"),
            Self::Cluster(id) => write!(f, "it belongs to another cluster, {id:016x}"),
            Self::NotForMe(node) => write!(f, "it looks for node {:016x}, which is not here", node.0),
            Self::NotAMember(node) => write!(f, "node {:016x} is not a member of this cluster", node.0),
            Self::Removed(node) => write!(
                f,
                "node {:016x} was removed from this cluster and never comes back under that id: make a new node, with --join",
                node.0
            ),
            Self::LostItsDisk(node) => write!(
                f,
                "node {:016x} came back without its disk; under its old name it could forget a vote: give it a new one",
                node.0
            ),
            Self::Barred(node) => write!(f, "node {:016x} misbehaved a moment ago: it is not spoken to yet", node.0),
            Self::WrongSecret(node) => write!(f, "node {:016x} doesn't know the cluster's secret", node.0),
        }
    }
}

impl Hello {
    pub fn encode(&self) -> [u8; HELLO_BYTES] {
        let mut out = [0; HELLO_BYTES];
        out[..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[10..18].copy_from_slice(&self.cluster.to_le_bytes());
        out[18..26].copy_from_slice(&self.from.0.to_le_bytes());
        out[26..34].copy_from_slice(&self.to.0.to_le_bytes());
        out[34..42].copy_from_slice(&self.life.to_le_bytes());
        out[42..].copy_from_slice(&self.nonce);
        out
    }

    pub fn decode(bytes: &[u8; HELLO_BYTES]) -> Result<Self, Stranger> {
        let number = |from: usize| u64::from_le_bytes(bytes[from..from + 8].try_into().expect("eight bytes"));
        if bytes[..8] != MAGIC {
            return Err(Stranger::NotAPeer);
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != VERSION {
            return Err(Stranger::Version(version));
        }
        let nonce = bytes[42..].try_into().expect("sixteen bytes");
        Ok(Self { cluster: number(10), from: NodeId(number(18)), to: NodeId(number(26)), life: number(34), nonce })
    }
}

/// What `end` sends to prove that it knows the secret.
pub fn proof(secret: &[u8], end: End, dialed: &[u8; HELLO_BYTES], accepted: &[u8; HELLO_BYTES]) -> [u8; PROOF_BYTES] {
    mac(secret, end, dialed, accepted).finalize().into_bytes().into()
}

/// True if `given` is the proof of `end`; takes as long whatever it is.
pub fn proves(secret: &[u8], end: End, dialed: &[u8; HELLO_BYTES], accepted: &[u8; HELLO_BYTES], given: &[u8]) -> bool {
    mac(secret, end, dialed, accepted).verify_slice(given).is_ok()
}

fn mac(secret: &[u8], end: End, dialed: &[u8; HELLO_BYTES], accepted: &[u8; HELLO_BYTES]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(if end == End::Dialed { b"dialed" } else { b"accept" });
    mac.update(dialed);
    mac.update(accepted);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(from: u64, to: u64, nonce: u8) -> Hello {
        Hello { cluster: 7, from: NodeId(from), to: NodeId(to), life: 99, nonce: [nonce; 16] }
    }

    #[test]
    fn a_hello_comes_back_as_it_went() {
        let one = hello(1, 2, 3);
        assert_eq!(Hello::decode(&one.encode()), Ok(one));
        let mut other = one.encode();
        other[8] = 9;
        assert_eq!(Hello::decode(&other), Err(Stranger::Version(9)));
        assert_eq!(Hello::decode(&[b'x'; HELLO_BYTES]), Err(Stranger::NotAPeer));
    }

    #[test]
    fn a_proof_is_of_one_end_one_connection_and_one_secret() {
        let (dialed, accepted) = (hello(1, 2, 3).encode(), hello(2, 1, 4).encode());
        let given = proof(b"secret", End::Dialed, &dialed, &accepted);
        assert!(proves(b"secret", End::Dialed, &dialed, &accepted, &given));
        assert!(!proves(b"secret", End::Accepted, &dialed, &accepted, &given), "sent back");
        assert!(!proves(b"secret", End::Dialed, &dialed, &hello(2, 1, 5).encode(), &given), "played again");
        assert!(!proves(b"other", End::Dialed, &dialed, &accepted, &given));
    }
}
