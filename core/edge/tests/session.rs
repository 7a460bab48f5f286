//! What a session answers by itself, byte by byte as redis-server 7.0 does; the differential check found each of these.

use base::ClientId;
use bytes::Bytes;
use data::Reply;
use data::reply::Blob;
use edge::{Session, SessionConfig, Step};

/// How a session went on after a frame.
#[derive(Debug, PartialEq, Eq)]
enum After {
    Open,
    Closed,
}

fn ask(session: &mut Session, words: &[&str]) -> (String, After) {
    let mut frame = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| frame.push_str(&format!("${}\r\n{word}\r\n", word.len())));
    let (mut used, mut out) = (0, Vec::new());
    let after = match session.step(frame.as_bytes(), &mut used, &mut out) {
        Step::Close => After::Closed,
        Step::Answered => After::Open,
        other => panic!("{words:?} is answered by the session, not {other:?}"),
    };
    (String::from_utf8(out).expect("these replies are text"), after)
}

fn fresh() -> Session {
    Session::new(ClientId(1), SessionConfig::default())
}

fn answers(session: &mut Session, words: &[&str], wanted: &str) {
    assert_eq!(ask(session, words), (format!("{wanted}\r\n"), After::Open), "{words:?}");
}

/// A page in a browser can make it send a form to any port; behind the headers could stand commands.
#[test]
fn http_gets_no_answer_but_the_end() {
    for words in [&["POST", "/", "HTTP/1.1"][..], &["Host:", "localhost"]] {
        assert_eq!(ask(&mut fresh(), words), (String::new(), After::Closed), "{words:?}");
    }
}

#[test]
fn a_malformed_exec_discards_the_transaction() {
    let mut session = fresh();
    let text = "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command";
    answers(&mut session, &["EXEC", "x"], text);
    answers(&mut session, &["MULTI"], "+OK");
    answers(&mut session, &["EXEC", "x"], text);
    answers(&mut session, &["EXEC"], "-ERR EXEC without MULTI");
}

#[test]
fn versions_and_databases_are_integers_in_one_spelling() {
    let mut session = fresh();
    for word in ["", "abc", "+3", "03", "3 "] {
        answers(&mut session, &["HELLO", word], "-ERR Protocol version is not an integer or out of range");
        answers(&mut session, &["SELECT", word], "-ERR value is not an integer or out of range");
    }
    for word in ["-1", "1", "4"] {
        answers(&mut session, &["HELLO", word], "-NOPROTO unsupported protocol version");
    }
    answers(&mut session, &["SELECT", "16"], "-ERR DB index is out of range");
    let text = "-ERR value is out of range, value must between -2147483648 and 2147483647";
    answers(&mut session, &["SELECT", "9999999999"], text);
}

#[test]
fn an_unknown_command_is_shown_up_to_its_zero_bytes() {
    let text = "-ERR unknown command 'no', with args beginning with: 'a' '' 'b' ";
    answers(&mut fresh(), &["no\0such", "a\0x", "\0", "b"], text);
}

fn request(session: &mut Session, words: &[&str]) -> u64 {
    let mut frame = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| frame.push_str(&format!("${}\r\n{word}\r\n", word.len())));
    let (mut used, mut out) = (0, Vec::new());
    match session.step(frame.as_bytes(), &mut used, &mut out) {
        Step::Request(call) => call.seq,
        other => panic!("{words:?} is a request, not {other:?}"),
    }
}

/// A reply may share large values many times over: their bytes are made as the client takes them.
#[test]
fn replies_are_made_as_the_client_takes_them() {
    let mut session = fresh();
    let value = Reply::Bulk(Blob::Shared(Bytes::from(vec![b'x'; 100_000])));
    let first = request(&mut session, &["MGET", "a", "b"]);
    let second = request(&mut session, &["GET", "a"]);
    let mut out = Vec::new();
    session.on_reply(second, value.clone(), &mut out);
    assert!(out.is_empty(), "replies leave in order");
    let list = Reply::Array(vec![Reply::Array(vec![value.clone(); 500]), Reply::Array(vec![value; 500])]);
    session.on_reply(first, Reply::Array(vec![list; 20]), &mut out);
    let (mut made, mut pieces) = (0, 0);
    while session.holds() || !out.is_empty() {
        assert!(out.len() < 300_000, "a piece has {} bytes", out.len());
        made += out.len();
        pieces += 1;
        out.clear();
        session.go_on(&mut out);
    }
    let bulk = "$100000\r\n".len() + 100_000 + 2;
    let lists = "*20\r\n".len() + 20 * ("*2\r\n".len() + 2 * "*500\r\n".len());
    assert_eq!(made, 20_001 * bulk + lists);
    assert!(pieces > 5000, "{pieces} pieces");
    assert_eq!(session.pending(), 0);
}

/// HELLO doesn't change what was asked before it.
#[test]
fn a_reply_speaks_what_the_client_spoke_when_it_asked() {
    let mut session = fresh();
    let old = request(&mut session, &["GET", "a"]);
    let (mut used, mut out) = (0, Vec::new());
    assert!(matches!(session.step(b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n", &mut used, &mut out), Step::Answered));
    let new = request(&mut session, &["GET", "a"]);
    session.on_reply(old, Reply::Nil, &mut out);
    assert!(out.starts_with(b"$-1\r\n%7\r\n"), "{}", String::from_utf8_lossy(&out));
    out.clear();
    session.on_reply(new, Reply::Nil, &mut out);
    assert_eq!(out, b"_\r\n");
}

fn exec_of(session: &mut Session, words: &[&str]) -> (Option<(Vec<u8>, u64)>, usize) {
    let mut frame = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| frame.push_str(&format!("${}\r\n{word}\r\n", word.len())));
    match session.step(frame.as_bytes(), &mut 0, &mut Vec::new()) {
        Step::Exec(exec) => {
            let id = exec.once.as_ref().map(|once| (once.as_id().client.to_vec(), once.as_id().seq));
            (id, exec.commands.len())
        }
        other => panic!("{words:?} is a transaction, not {other:?}"),
    }
}

#[test]
fn once_covers_a_command_or_a_whole_transaction() {
    let mut session = fresh();
    let frame = b"*4\r\n$4\r\nonce\r\n$3\r\na:1\r\n$4\r\nINCR\r\n$1\r\nk\r\n";
    match session.step(frame, &mut 0, &mut Vec::new()) {
        Step::Request(call) => assert_eq!((call.command.name, call.args.len()), ("once", 4)),
        other => panic!("{other:?}"),
    }
    let mut session = fresh();
    answers(&mut session, &["ONCE", "a:1", "EXEC"], "-ERR EXEC without MULTI");
    answers(&mut session, &["MULTI"], "+OK");
    answers(&mut session, &["INCR", "k"], "+QUEUED");
    answers(&mut session, &["PING"], "+QUEUED");
    assert_eq!(exec_of(&mut session, &["ONCE", "a:7", "EXEC"]), (Some((b"a".to_vec(), 7)), 1));
}

#[test]
fn what_once_can_not_cover_is_refused_before_it_runs() {
    let mut session = fresh();
    let (text, _) = ask(&mut session, &["ONCE", "a:1", "GET", "k"]);
    assert!(text.starts_with("-ERR ONCE is for commands that change keys"), "{text}");
    answers(&mut session, &["MULTI"], "+OK");
    let (text, _) = ask(&mut session, &["ONCE", "a:1", "SET", "k", "v"]);
    assert!(text.starts_with("-ERR ONCE can't stand inside MULTI"), "{text}");
    answers(&mut session, &["ONCE", "a:1", "EXEC"], "-EXECABORT Transaction discarded because of previous errors.");
    // An id that is none ends the transaction, as a malformed EXEC does.
    answers(&mut session, &["MULTI"], "+OK");
    let (text, _) = ask(&mut session, &["ONCE", "a", "EXEC"]);
    assert!(text.starts_with("-EXECABORT Transaction discarded because of: 'a' is no id for ONCE"), "{text}");
    answers(&mut session, &["EXEC"], "-ERR EXEC without MULTI");
    answers(&mut session, &["MULTI"], "+OK");
    answers(&mut session, &["PING"], "+QUEUED");
    let (text, _) = ask(&mut session, &["ONCE", "a:1", "EXEC"]);
    assert!(text.contains("ONCE needs a command with a key"), "{text}");
}

/// What was done under a lock is done before the lock is given back, and what comes behind a call about a lock finds it done; calls about
/// locks alone run together.
#[test]
fn calls_about_locks_and_other_commands_keep_their_order() {
    let mut session = fresh();
    let mut out = Vec::new();
    let mut step = |session: &mut Session, line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let mut frame = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| frame.push_str(&format!("${}\r\n{word}\r\n", word.len())));
        match session.step(frame.as_bytes(), &mut 0, &mut out) {
            Step::Request(call) => Some(call.seq),
            Step::Lock(call) => Some(call.seq),
            Step::Blocked => None,
            other => panic!("{line}: {other:?}"),
        }
    };
    let set = step(&mut session, "SET k v").expect("it is handed out");
    assert_eq!(step(&mut session, "LOCK.RELEASE l me 7"), None);
    session.on_reply(set, Reply::Ok, &mut Vec::new());
    let release = step(&mut session, "LOCK.RELEASE l me 7").expect("nothing is before it");
    let acquire = step(&mut session, "LOCK.ACQUIRE m me 500").expect("only locks are before it");
    assert_eq!(step(&mut session, "GET k"), None);
    session.on_reply(release, Reply::Int(1), &mut Vec::new());
    assert!(session.asks_locks());
    assert_eq!(step(&mut session, "GET k"), None);
    session.on_reply(acquire, Reply::NilArray, &mut Vec::new());
    assert!(step(&mut session, "GET k").is_some() && session.waits().is_none());
    session = fresh();
    let waits = step(&mut session, "LOCK.ACQUIRE m me 500 WAIT 100").expect("nothing is before it");
    assert_eq!(session.waits(), Some(waits));
    assert_eq!(step(&mut session, "LOCK.INFO m"), None, "its connection does nothing else");
}
