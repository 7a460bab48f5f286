//! The memcached protocol on real processes, as text over TCP: what is asked, and what comes back, byte by byte. The answers are
//! memcached 1.6's, where this file doesn't say otherwise.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use support::cluster::{Cluster, NODES};
use support::{Folder, Node, Reply};

struct Memcached(TcpStream);

impl Memcached {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("a ready node takes connections");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout can be set");
        stream.set_nodelay(true).expect("an option can be set");
        Self(stream)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("a node takes commands");
    }

    /// The bytes that come, as many as are expected.
    fn must_get(&mut self, wanted: &[u8], why: &str) {
        let mut got = vec![0; wanted.len()];
        let mut len = 0;
        while len < got.len() && got[..len] == wanted[..len] {
            match self.0.read(&mut got[len..]).expect("a node answers") {
                0 => break,
                n => len += n,
            }
        }
        let shown = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
        assert!(got[..len] == *wanted, "{why}: got {:?}, wanted {:?}", shown(&got[..len]), shown(wanted));
    }

    /// One line.
    fn line(&mut self) -> String {
        let (mut line, mut byte) = (Vec::new(), [0]);
        while !line.ends_with(b"\r\n") {
            self.0.read_exact(&mut byte).expect("a node answers");
            line.push(byte[0]);
        }
        String::from_utf8_lossy(&line[..line.len() - 2]).into_owned()
    }

    /// Lines of `request => answer`, in which `|` stands for the end of a line. Behind each comes mn, so that an answer that is too
    /// long, or none, is seen.
    fn play(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (request, answer) = line.split_once("=>").unwrap_or_else(|| panic!("{line} has no answer"));
            let bytes = |text: &str| text.trim().replace('|', "\r\n");
            self.send(format!("{}\r\nmn\r\n", bytes(request)).as_bytes());
            let answer = bytes(answer);
            let end = if answer.is_empty() { "MN\r\n".to_owned() } else { format!("{answer}\r\nMN\r\n") };
            self.must_get(end.as_bytes(), request);
        }
    }
}

fn start(name: &str) -> (Folder, Node, Memcached) {
    let folder = Folder::new(name);
    let node = Node::start_with(folder.path(), |command| command.args(["--memcached-port", "0"]));
    let client = Memcached::connect(node.memcached());
    (folder, node, client)
}

#[test]
fn what_every_old_client_sends() {
    let (_folder, _node, mut client) = start("memcached");
    client.play(
        "get k => END
         set k 5 0 3|abc => STORED
         get k => VALUE k 5 3|abc|END
         get x k y k => VALUE k 5 3|abc|VALUE k 5 3|abc|END
         add k 0 0 1|x => NOT_STORED
         add n 0 0 2|10 => STORED
         replace z 0 0 1|x => NOT_STORED
         append z 0 0 1|x => NOT_STORED
         replace k 6 0 1|c => STORED
         append k 9 0 1|d => STORED
         prepend k 9 0 1|b => STORED
         get k => VALUE k 6 3|bcd|END
         cas z 0 0 1 1|x => NOT_FOUND
         cas k 0 0 1 18446744073709551615|x => EXISTS
         incr n 5 => 15
         decr n 6 => 9
         get n => VALUE n 0 1|9|END
         decr n 100 => 0
         incr z 1 => NOT_FOUND
         incr k 1 => CLIENT_ERROR cannot increment or decrement non-numeric value
         incr n x => CLIENT_ERROR invalid numeric delta argument
         touch k 100 => TOUCHED
         touch z 100 => NOT_FOUND
         gat 200 k z => VALUE k 6 3|bcd|END
         gat x k => CLIENT_ERROR invalid exptime argument
         mg k t => HD t200
         delete n => DELETED
         delete n => NOT_FOUND
         delete n 1 => CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]
         set e 0 -1 1|x => STORED
         get e => END
         set n 0 0 1 noreply|7 =>
         get n => VALUE n 0 1|7|END
         delete n noreply =>
         touch k 0 noreply =>
         mg k t => HD t-1
         verbosity 1 => OK
         verbosity => ERROR
         flush_all 10 => SERVER_ERROR flush_all can't wait here; nothing was flushed; give no delay
         flush_all noreply =>
         get k => END
         flush_all => OK
         bogus => ERROR
         get => ERROR
         => ERROR",
    );
    client.send(b"gets k\r\nset k 0 0 1\r\na\r\ngets k\r\n");
    assert_eq!([client.line(), client.line()], ["END", "STORED"]);
    let cas = client.line().strip_prefix("VALUE k 0 1 ").expect("a version").to_owned();
    assert_eq!([client.line(), client.line()], ["a", "END"]);
    client.play(&format!("cas k 0 0 1 {cas}|b => STORED\n cas k 0 0 1 {cas}|c => EXISTS"));
}

#[test]
fn the_meta_commands() {
    let (_folder, _node, mut client) = start("memcached");
    client.play(
        "mg a => EN
         mg a v q =>
         mg a k Oxyz => EN ka Oxyz
         ms a 3 k O123 s T30 F5|abc => HD ka O123 s3
         mg a s t f v k Oxx => VA 3 s3 t30 f5 ka Oxx|abc
         mg a => HD
         mg a q k => HD ka
         ms a 1 ME|x => NS
         ms z 1 MR|x => NS
         ms z 1 MA|x => NS
         ms z 1 MA N30|x => HD
         ms a 1 MA s|d => HD s4
         ms a 1 MP q|_ =>
         mg a v f => VA 5 f5|_abcd
         ms a 1 C1|x => EX
         ms none 1 C1|x => NF
         ms a 1 M?|x => CLIENT_ERROR invalid mode for ms M token
         ms a 1 Fx|x => CLIENT_ERROR bad token in command line format
         mg a v v => CLIENT_ERROR duplicate flag
         mg a w => CLIENT_ERROR invalid flag
         md a C1 => EX
         md a q =>
         md a => NF
         md a q => NF
         ma c => NF
         ma c N0 J13 v => VA 2|13
         ma c v t => VA 2 t-1|14
         ma c MD D5 v => VA 1|9
         ma c M- D500 v T60 t => VA 1 t60|0
         ma c q =>
         ma c MQ => CLIENT_ERROR invalid mode for ma M token
         ms t 1|x => HD
         ma t => CLIENT_ERROR cannot increment or decrement non-numeric value
         ms Zm9v 1 b k|z => HD kZm9v b
         mg foo v => VA 1|z
         mg Zm9v b k v => VA 1 kZm9v b|z
         mg !!! b v => CLIENT_ERROR error decoding key
         ms e 2 E77 c|xx => HD c77
         mg e c => HD c77
         md e x => HD
         mg e v f => VA 0 f0|
         mg e h l => HD h0 l0
         mg e h => HD h1
         me none => EN
         mg => ERROR
         ms => ERROR
         ms a S3 => CLIENT_ERROR bad command line format",
    );
}

#[test]
fn one_wins_the_task_to_bring_a_new_value() {
    let (_folder, node, mut client) = start("memcached");
    client.play(
        "ms k 3 T300|old => HD
         md k I T30 => HD
         mg k v t => VA 3 t30 X W|old
         mg k v => VA 3 Z X|old
         get k => VALUE k 0 3|old|END
         ms k 3 T60|new => HD
         mg k v => VA 3|new
         mg k R30 v => VA 3|new
         mg k R61 v => VA 3 W|new
         mg k R61 v => VA 3 Z|new
         mg fresh N30 v t => VA 0 t30 W|
         mg fresh N30 v => VA 0 Z|
         ms fresh 4|here => HD
         mg fresh v => VA 4|here",
    );
    // The winner's version lets nobody's value but his own in, whatever else changes meanwhile.
    client.play("md k I => HD");
    client.send(b"mg k c\r\n");
    let won = client.line();
    let cas = won.strip_prefix("HD c").and_then(|rest| rest.strip_suffix(" X W")).unwrap_or_else(|| panic!("{won}"));
    client.play(&format!(
        "set other 0 0 1|x => STORED\n ms k 1 C{cas}|1 => HD\n ms k 1 C{cas}|2 => EX\n mg k v => VA 1|1"
    ));
    // Ten thousand ask, in one pipe for each of ten clients: one wins.
    client.play("md k I => HD");
    let mut crowd: Vec<Memcached> = (0..10).map(|_| Memcached::connect(node.memcached())).collect();
    crowd.iter_mut().for_each(|one| one.send(&b"mg k\r\n".repeat(1000)));
    let wins: usize = crowd.iter_mut().map(|one| (0..1000).filter(|_| one.line().ends_with(" W")).count()).sum();
    assert_eq!(wins, 1);
}

#[test]
fn values_are_those_of_other_clients() {
    let (_folder, node, mut client) = start("memcached");
    let mut redis = node.client();
    let mut ask = |words: &str| redis.ask(&words.split(' ').collect::<Vec<_>>()).expect("a node answers");
    client.play("set k 7 100 3|abc => STORED");
    assert_eq!(ask("GET k"), Reply::bulk("abc"));
    assert_eq!(ask("TTL k"), Reply::Integer(100));
    assert_eq!(ask("EXPIRE k 50"), Reply::Integer(1));
    client.play("mg k v f t => VA 3 f7 t50|abc");
    assert_eq!(ask("SET k x"), Reply::ok());
    client.play("mg k v f t => VA 1 f0 t-1|x");
    assert_eq!(ask("RPUSH l 1"), Reply::Integer(1));
    client.play(
        "get l => SERVER_ERROR WRONGTYPE Operation against a key holding the wrong kind of value
         mg l v => SERVER_ERROR WRONGTYPE Operation against a key holding the wrong kind of value
         incr l 1 => SERVER_ERROR WRONGTYPE Operation against a key holding the wrong kind of value
         set l 0 0 1|y => STORED",
    );
    assert_eq!(ask("TYPE l"), Reply::Simple("string".to_owned()));
    assert_eq!(ask("INCR c"), Reply::Integer(1));
    client.play("incr c 41 => 42");
    assert_eq!(ask("GET c"), Reply::bulk("42"));
    // Who is filling a key is told that another one has written it.
    let Reply::Array(parts) = ask("GETFILL f 1000") else { panic!("it is a task") };
    let Reply::Integer(token) = parts[2] else { panic!("it has a token") };
    client.play("delete f => NOT_FOUND");
    assert!(matches!(ask(&format!("FILL f {token} old")), Reply::Error(text) if text.starts_with("LOST ")));
    client.send(b"stats\r\n");
    let stats: Vec<String> = std::iter::repeat_with(|| client.line()).take_while(|line| line != "END").collect();
    assert!(stats.iter().any(|line| line == "STAT curr_connections 2"), "{stats:?}");
    client.send(b"version\r\n");
    assert!(client.line().starts_with("VERSION 1.6."));
    client.send(b"quit\r\nget k\r\n");
    assert_eq!(client.0.read(&mut [0; 8]).expect("it is closed"), 0);
}

#[test]
fn pipelines_keep_their_order_and_their_own_writes() {
    let (_folder, _node, mut client) = start("memcached");
    let (mut asked, mut wanted) = (Vec::new(), Vec::new());
    for at in 0..2_000 {
        asked.extend(format!("set k{} {at} 0 {}\r\n{at}\r\n", at % 7, at.to_string().len()).into_bytes());
        asked.extend(format!("get k{} none\r\nmg none\r\nmg k{} v k\r\nversions\r\n", at % 7, at % 7).into_bytes());
        let text = at.to_string();
        let (key, len) = (at % 7, text.len());
        wanted.extend(format!("STORED\r\nVALUE k{key} {at} {len}\r\n{text}\r\nEND\r\n").into_bytes());
        wanted.extend(format!("EN\r\nVA {len} kk{key}\r\n{text}\r\nERROR\r\n").into_bytes());
    }
    let mut writer = client.0.try_clone().expect("a socket can be shared");
    std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(&asked).expect("a node takes commands"));
        client.must_get(&wanted, "a pipeline");
    });
}

#[test]
fn what_is_too_large_or_makes_no_sense_costs_one_answer() {
    let (_folder, _node, mut client) = start("memcached");
    let large = vec![b'x'; 3 << 20];
    client.send(format!("set large 1 0 {}\r\n", large.len()).as_bytes());
    client.send(&large);
    client.send(b"\r\nget large\r\n");
    client.must_get(format!("STORED\r\nVALUE large 1 {}\r\n", large.len()).as_bytes(), "a large value");
    client.must_get(&large, "a large value");
    client.must_get(b"\r\nEND\r\n", "a large value");
    let bytes = base::limits::MEMCACHED_VALUE_BYTES_MAX + 1;
    client.send(format!("set larger 1 0 {bytes}\r\n").as_bytes());
    let piece = vec![b'\n'; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let part = left.min(piece.len());
        client.send(&piece[..part]);
        left -= part;
    }
    client.send(b"\r\n");
    client.must_get(b"SERVER_ERROR object too large for cache\r\n", "too large a value");
    let key = "k".repeat(250);
    client.play(&format!("set {key} 0 0 1|x => STORED\n get {key} => VALUE {key} 0 1|x|END"));
    client.play(&format!(
        "get larger => END
         set {key}k 0 0 1|x => CLIENT_ERROR bad command line format
         get {key}k => CLIENT_ERROR bad command line format
         set k 0 0 -1 => CLIENT_ERROR bad command line format
         set k 0 0 x => CLIENT_ERROR bad command line format
         set k -1 0 1|x => CLIENT_ERROR bad command line format
         set k 4294967296 0 1|x => CLIENT_ERROR bad command line format
         set k 0 x 1|x => CLIENT_ERROR bad command line format
         set k 0 0 2|abcd => CLIENT_ERROR bad data chunk|ERROR
         set k => ERROR"
    ));
    client.send(&[b'x'; 4096]);
    client.must_get(b"CLIENT_ERROR bad command line format\r\n", "a line without an end");
    assert_eq!(client.0.read(&mut [0; 8]).unwrap_or(0), 0, "nothing behind it can be understood");
}

#[test]
fn a_password_and_this_protocol_don_t_go_together() {
    let folder = Folder::new("memcached");
    let output = support::refused_with(folder.path(), "0", &["--memcached-port", "0", "--requirepass", "x"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be used with"), "{output:?}");
}

/// Any node answers for all shards, through the death of one; without a majority it says so.
#[test]
fn three_nodes_serve_as_one() {
    let folder = Folder::new("memcached-cluster");
    let mut cluster = Cluster::start(folder.path());
    let address = |cluster: &Cluster, at: usize| format!("127.0.0.1:{}", cluster.ports[at][4]);
    let mut clients: Vec<Memcached> = (0..NODES).map(|at| Memcached::connect(&address(&cluster, at))).collect();
    for at in 0..32 {
        clients[at % NODES].play(&format!("set key{at} {at} 0 2|v{} => STORED", at % 10));
    }
    let names: Vec<String> = (0..32).map(|at| format!("key{at}")).collect();
    let values: Vec<String> = (0..32).map(|at| format!("VALUE key{at} {at} 2|v{}", at % 10)).collect();
    let all = format!("get {} => {}|END", names.join(" "), values.join("|"));
    clients.iter_mut().for_each(|client| client.play(&all));
    cluster.kill(0);
    clients[1].play(&all);
    for at in 0..32 {
        // A write that was on its way to the node that died may be in doubt; the next one is not.
        clients[2].send(format!("set key{at} {at} 0 2\r\nw{}\r\n", at % 10).as_bytes());
        let told = clients[2].line();
        assert!(told == "STORED" || told.starts_with("SERVER_ERROR INDOUBT "), "{told}");
    }
    clients[1].play(&all.replace("|v", "|w"));
    cluster.kill(1);
    let told = loop {
        clients[2].send(b"set key1 0 0 1\r\nx\r\n");
        match clients[2].line() {
            told if told.starts_with("SERVER_ERROR INDOUBT ") || told == "STORED" => {}
            told => break told,
        }
    };
    assert!(told.starts_with("SERVER_ERROR NOQUORUM ") || told.starts_with("SERVER_ERROR TRYAGAIN "), "{told}");
}
