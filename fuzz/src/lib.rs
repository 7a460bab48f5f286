//! Every decoder as a plain `fn(&[u8])`: it must not panic, whatever the bytes, and must keep its promises.
//!
//! [`drive`] draws inputs from a seed: valid ones, damaged ones, noise. It needs no nightly compiler and runs in CI. By hand,
//! `cargo fuzz run resp` uses the same targets with coverage.

pub mod disk;
pub mod lane;
pub mod locks;
pub mod memcached;
pub mod peer;
pub mod proxy;
pub mod restore;
pub mod targets;

use base::rng::Rng;

/// A target, the name it goes by, and a maker of valid inputs.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub valid: fn(&mut Rng) -> Vec<u8>,
}

/// All of them.
pub const TARGETS: [Target; 13] = [
    Target { name: "resp", run: targets::resp, valid: targets::valid_resp },
    Target { name: "memcached", run: memcached::memcached, valid: memcached::valid_memcached },
    Target { name: "proxy", run: proxy::proxy, valid: proxy::valid_proxy },
    Target { name: "entry", run: targets::entry, valid: targets::valid_entry },
    Target { name: "snapshot_body", run: targets::snapshot_body, valid: targets::valid_snapshot_body },
    Target { name: "snapshot_file", run: targets::snapshot_file, valid: targets::valid_snapshot_file },
    Target { name: "peer", run: peer::peer, valid: peer::valid_peer },
    Target { name: "lane", run: lane::lane, valid: lane::valid_lane },
    Target { name: "locks", run: locks::locks, valid: locks::valid_locks },
    Target { name: "registers", run: locks::registers, valid: locks::valid_registers },
    Target { name: "log", run: targets::log, valid: targets::valid_log },
    Target { name: "placement", run: targets::placement, valid: targets::valid_placement },
    Target { name: "restore", run: restore::restore, valid: restore::valid_restore },
];

/// Runs a target on `count` inputs drawn from `seed`.
pub fn drive(target: &Target, seed: u64, count: u64) {
    let mut rng = Rng::new(seed);
    for _ in 0..count {
        let mut input = (target.valid)(&mut rng);
        match rng.below(8) {
            0 => {}
            1 => input = noise(&mut rng),
            _ => damage(&mut rng, &mut input),
        }
        (target.run)(&input);
    }
}

fn noise(rng: &mut Rng) -> Vec<u8> {
    (0..rng.below(300)).map(|_| rng.next_u64().to_le_bytes()[0]).collect()
}

/// A few changes of the kinds that break decoders.
fn damage(rng: &mut Rng, input: &mut Vec<u8>) {
    for _ in 0..1 + rng.below(4) {
        if input.is_empty() {
            return;
        }
        let at = place(rng, input.len());
        match rng.below(7) {
            0 => input[at] ^= 1 << rng.below(8),
            1 => input[at] = [0, 1, 0x7f, 0x80, 0xff, b'-', b'9', b'\r'][place(rng, 8)],
            2 => input.truncate(at),
            3 => drop(input.remove(at)),
            4 => input.insert(at, rng.next_u64().to_le_bytes()[0]),
            5 => {
                let until = at + place(rng, (input.len() - at).min(64));
                let piece = input[at..until].to_vec();
                input.splice(at..at, piece);
            }
            _ => {
                let until = (at + 8).min(input.len());
                input[at..until].fill(0xff);
            }
        }
    }
}

fn place(rng: &mut Rng, len: usize) -> usize {
    usize::try_from(rng.below(len as u64)).expect("inputs fit in memory")
}
