//! kill -9 again and again, at any moment of serving and of starting, under clients that pipeline all kinds of writes: what
//! was acknowledged is there, transactions are whole, and the node always starts.
//!
//! `TIDEGATE_KILL_ROUNDS=200 cargo test --release -p tidegate --test kill -- --nocapture` is the long form.

mod support;

use base::rng::Rng;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use support::{Client, Folder, Node, Reply};

const WRITERS: u64 = 4;
const PIPELINE: u64 = 8;
const ROUNDS: u64 = 6;

/// What one writer knows of its own keys.
#[derive(Debug, Default)]
struct Known {
    /// The last acknowledged value of a key that is set, and those sent after it.
    set: BTreeMap<String, (Option<String>, Vec<String>)>,
    /// Acknowledged and sent increments of a counter.
    counters: BTreeMap<String, (i64, i64)>,
    /// Acknowledged and sent pieces of an appended key.
    appended: BTreeMap<String, (usize, usize)>,
    /// The last acknowledged number of a pair that transactions write, and the last sent.
    pairs: BTreeMap<String, (u64, u64)>,
}

/// One write on its way.
enum Sent {
    Set { key: String, value: String },
    Incr { key: String },
    Append { key: String },
    Pair { key: String, number: u64 },
}

const PIECE: &str = "0123456789";

impl Known {
    /// Draws a write, notes that it is sent, and sends it.
    fn send(&mut self, rng: &mut Rng, client: &mut Client, me: &str, serial: u64) -> std::io::Result<Sent> {
        let key = format!("{me}-{}", rng.below(10));
        match rng.below(8) {
            0 => {
                let key = format!("{key}-counter");
                self.counters.entry(key.clone()).or_default().1 += 1;
                client.send(&["INCR", &key])?;
                Ok(Sent::Incr { key })
            }
            1 => {
                let key = format!("{key}-appended");
                self.appended.entry(key.clone()).or_default().1 += 1;
                client.send(&["APPEND", &key, PIECE])?;
                Ok(Sent::Append { key })
            }
            2 => {
                let key = format!("{key}-pair");
                self.pairs.entry(key.clone()).or_default().1 = serial;
                let number = serial.to_string();
                client.send(&["MULTI"])?;
                client.send(&["SET", &format!("{key}-a"), &number])?;
                client.send(&["SET", &format!("{key}-b"), &number])?;
                client.send(&["EXEC"])?;
                Ok(Sent::Pair { key, number: serial })
            }
            _ => {
                let key = format!("{key}-set");
                let most = if rng.one_in(20) { 200_000 } else { 200 };
                let len = usize::try_from(rng.below(most)).expect("small");
                let value = format!("{serial}:{}", "x".repeat(len));
                self.set.entry(key.clone()).or_default().1.push(value.clone());
                client.send(&["SET", &key, &value])?;
                Ok(Sent::Set { key, value })
            }
        }
    }

    fn acknowledged(&mut self, client: &mut Client, sent: Sent) -> std::io::Result<()> {
        let reply = client.reply()?;
        match sent {
            Sent::Set { key, value } => {
                assert_eq!(reply, Reply::ok());
                let (last, after) = self.set.get_mut(&key).expect("it was sent");
                // Replies come in order: what was sent before this one is overwritten.
                let at = after.iter().position(|one| *one == value).expect("it was sent");
                after.drain(..=at);
                *last = Some(value);
            }
            Sent::Incr { key } => self.counters.get_mut(&key).expect("it was sent").0 += 1,
            Sent::Append { key } => self.appended.get_mut(&key).expect("it was sent").0 += 1,
            Sent::Pair { key, number } => {
                client.reply()?;
                client.reply()?;
                client.reply()?;
                self.pairs.get_mut(&key).expect("it was sent").0 = number;
            }
        }
        Ok(())
    }

    /// Compares with what is there, and goes on from it.
    fn audit(&mut self, client: &mut Client) -> u64 {
        let mut checked = 0;
        let mut get = |key: &str| match client.ask(&["GET", key]).expect("a node that started answers") {
            Reply::Bulk(bytes) => Some(String::from_utf8(bytes).expect("the values are text")),
            Reply::Null => None,
            other => panic!("GET {key}: {other:?}"),
        };
        for (key, (last, after)) in &mut self.set {
            let found = get(key);
            let allowed = found == *last || after.iter().any(|one| Some(one) == found.as_ref());
            assert!(allowed, "{key}: an acknowledged SET is lost");
            (*last, checked) = (found, checked + 1);
            after.clear();
        }
        for (key, (acked, sent)) in &mut self.counters {
            let found: i64 = get(key).map_or(0, |text| text.parse().expect("a counter is a number"));
            assert!((*acked..=*sent).contains(&found), "{key}: {found}, with {acked} acknowledged of {sent}");
            (*acked, *sent, checked) = (found, found, checked + 1);
        }
        for (key, (acked, sent)) in &mut self.appended {
            let found = get(key).unwrap_or_default();
            let pieces = found.len() / PIECE.len();
            assert!(found == PIECE.repeat(pieces) && (*acked..=*sent).contains(&pieces), "{key}: {pieces} of {acked}");
            (*acked, *sent, checked) = (pieces, pieces, checked + 1);
        }
        for (key, (acked, sent)) in &mut self.pairs {
            let (a, b) = (get(&format!("{key}-a")), get(&format!("{key}-b")));
            assert_eq!(a, b, "{key}: a transaction is half there");
            let found: u64 = a.map_or(0, |text| text.parse().expect("a number"));
            assert!(found >= *acked && found <= *sent, "{key}: {found}, not {acked}..={sent}");
            (*acked, *sent, checked) = (found, found, checked + 1);
        }
        checked
    }
}

/// Writes until the node is gone; tells each batch of acknowledgements.
fn write(mut known: Known, mut client: Client, seed: u64, me: &str, acks: &mpsc::Sender<u64>) -> Known {
    let mut rng = Rng::new(seed);
    let mut serial = seed << 20;
    loop {
        let mut batch = Vec::new();
        for _ in 0..1 + rng.below(PIPELINE) {
            serial += 1;
            match known.send(&mut rng, &mut client, me, serial) {
                Ok(sent) => batch.push(sent),
                Err(_) => return known,
            }
        }
        let count = batch.len() as u64;
        for sent in batch {
            if known.acknowledged(&mut client, sent).is_err() {
                return known;
            }
        }
        if acks.send(count).is_err() {
            return known;
        }
    }
}

/// Starts a node and kills it in the midst of its start.
fn kill_while_starting(dir: &Path, rng: &mut Rng) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["dev", "--port", "0", "--dir"])
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    // A number of yields by chance: any moment of the start will do.
    for _ in 0..rng.below(2000) {
        std::thread::yield_now();
    }
    child.kill().expect("the child is ours");
    child.wait().expect("the child can be waited for");
}

#[test]
fn nothing_acknowledged_is_lost_by_kills() {
    let rounds = std::env::var("TIDEGATE_KILL_ROUNDS").map_or(ROUNDS, |text| text.parse().expect("a number of rounds"));
    let folder = Folder::new("kill");
    let mut rng = Rng::new(rounds);
    let mut known: Vec<Known> = (0..WRITERS).map(|_| Known::default()).collect();
    let (mut checked, mut acknowledged) = (0, 0);
    for round in 0..rounds {
        let node = Node::start_with(folder.path(), |command| command.args(["--snapshot-after-mib", "64"]));
        checked += known.iter_mut().map(|one| one.audit(&mut node.client())).sum::<u64>();
        let (acks_in, acks) = mpsc::channel();
        let writers: Vec<_> = std::mem::take(&mut known)
            .into_iter()
            .enumerate()
            .map(|(me, one)| {
                let (client, acks) = (node.client(), acks_in.clone());
                let seed = round * WRITERS + me as u64 + 1;
                std::thread::spawn(move || write(one, client, seed, &format!("w{me}"), &acks))
            })
            .collect();
        drop(acks_in);
        let wanted = 50 + rng.below(3000);
        let mut seen = 0;
        while seen < wanted {
            seen += acks.recv().expect("the writers write until the node is gone");
        }
        node.kill();
        known = writers.into_iter().map(|one| one.join().expect("a writer does not panic")).collect();
        acknowledged += seen;
        if rng.one_in(3) {
            kill_while_starting(folder.path(), &mut rng);
        }
    }
    let node = Node::start(folder.path());
    checked += known.iter_mut().map(|one| one.audit(&mut node.client())).sum::<u64>();
    println!("{rounds} rounds: {acknowledged} writes acknowledged at the least, {checked} keys audited, none lost");
}
