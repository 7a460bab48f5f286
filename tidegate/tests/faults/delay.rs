//! Slow links: a proxy for each node's way to each other, that hands on what it gets after a while.
//!
//! Order is kept and nothing is lost, as TCP has it; a link that ends at one side is ended at the other.

use crate::network::HUB;
use crate::nodes::NODES;
use crate::pace::Pace;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// All proxies of a cluster. Their threads end with the process.
#[derive(Debug)]
pub struct Delays {
    ports: Vec<[u16; NODES]>,
    ms: Arc<AtomicU64>,
}

impl Delays {
    /// Proxies between all nodes, where the clients are.
    pub fn between_all() -> Self {
        let ms = Arc::new(AtomicU64::new(0));
        let port = |to: usize| {
            let listener = TcpListener::bind((HUB, 0)).expect("a free port");
            let port = listener.local_addr().expect("it is bound").port();
            let ms = ms.clone();
            std::thread::spawn(move || serve(&listener, to, &ms));
            port
        };
        let ports = (0..NODES).map(|_| std::array::from_fn(port)).collect();
        Self { ports, ms }
    }

    /// Where one node finds another.
    pub fn address(&self, from: usize, to: usize) -> String {
        format!("{HUB}:{}", self.ports[from][to])
    }

    /// From now on.
    pub fn set(&self, by: Duration) {
        self.ms.store(u64::try_from(by.as_millis()).expect("a delay is short"), Ordering::Relaxed);
    }
}

fn serve(listener: &TcpListener, to: usize, ms: &Arc<AtomicU64>) {
    let target: SocketAddr = format!("{}:7380", crate::network::address(to)).parse().expect("an address");
    for near in listener.incoming().flatten() {
        let Ok(far) = TcpStream::connect_timeout(&target, Duration::from_secs(1)) else { continue };
        let both = |stream: &TcpStream| stream.try_clone().expect("descriptors suffice");
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let (one, other) = ((both(&near), both(&far)), (far, near));
        for (from, to) in [one, other] {
            let ms = ms.clone();
            std::thread::spawn(move || hand_on(from, to, &ms));
        }
    }
}

/// One direction of a connection, to its end.
fn hand_on(mut from: TcpStream, mut to: TcpStream, ms: &AtomicU64) {
    let (late, due) = mpsc::channel::<(Instant, Vec<u8>)>();
    let writer = std::thread::spawn(move || {
        let pace = Pace::default();
        for (at, bytes) in due {
            pace.wait(at.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let at = Instant::now() + Duration::from_millis(ms.load(Ordering::Relaxed));
        if late.send((at, buffer[..count].to_vec())).is_err() {
            break;
        }
    }
    drop(late);
    let _ = writer.join();
    let _ = from.shutdown(Shutdown::Both);
}
