//! What a session answers by itself, byte by byte as redis-server 7.0 does; the differential check found each of these.

use base::ClientId;
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
