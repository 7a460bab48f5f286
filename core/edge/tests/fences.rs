//! FENCE and FENCE.SET as a session hands them out: what goes under which fences, and what is refused here.

use base::ClientId;
use data::fence::as_fences;
use data::{Reply, Run};
use edge::{Session, SessionConfig, Step};

/// What a session did with a frame: what it answered, or what the core is asked.
fn send(session: &mut Session, words: &str) -> String {
    let words: Vec<&str> = words.split(' ').collect();
    let mut frame = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| frame.push_str(&format!("${}\r\n{word}\r\n", word.len())));
    let (mut used, mut out) = (0, Vec::new());
    let (seq, told) = match session.step(frame.as_bytes(), &mut used, &mut out) {
        Step::Request(call) => {
            let fenced = call.under_fences();
            let (row, args) = match &fenced {
                Some((row, args)) => (*row, &args[..]),
                None => (call.command, &call.args[..]),
            };
            let joins = if call.joins { " joins" } else { "" };
            let said: Vec<_> = args.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
            (call.seq, format!("{}: {}{joins}", row.name, said.join(" ")))
        }
        Step::Exec(exec) => {
            let fences = as_fences(&exec.fences);
            let fences = fences.iter().map(|one| format!("{} {}", String::from_utf8_lossy(one.lock), one.number));
            let names: Vec<&str> = exec.commands.iter().map(|one| one.command.name).collect();
            assert!(exec.commands.iter().all(|one| !matches!(one.command.run, Run::Prefix(_))));
            let id = if exec.once.is_some() { " once" } else { "" };
            (exec.seq, format!("exec [{}]{id} {}", fences.collect::<Vec<_>>().join(", "), names.join(" ")))
        }
        _ => return String::from_utf8(out).expect("replies are text").trim_end().to_owned(),
    };
    session.on_reply(seq, Reply::Array(Vec::new()), &mut Vec::new());
    told
}

fn fresh() -> Session {
    Session::new(ClientId(1), SessionConfig::default())
}

#[test]
fn a_connection_goes_under_its_fences_until_they_are_taken_away() {
    let mut session = fresh();
    assert_eq!(send(&mut session, "GET k"), "get: GET k");
    assert_eq!(send(&mut session, "FENCE.SET a 5"), "+OK");
    assert_eq!(send(&mut session, "FENCE.SET b 1"), "+OK");
    assert_eq!(send(&mut session, "GET k"), "fence: FENCE a 5 FENCE b 1 GET k");
    assert_eq!(send(&mut session, "FENCE.SET a 7"), "+OK");
    assert_eq!(send(&mut session, "SET k v"), "fence: FENCE b 1 FENCE a 7 SET k v");
    assert_eq!(send(&mut session, "ONCE c:1 SET k v"), "fence: FENCE b 1 FENCE a 7 ONCE c:1 SET k v");
    assert_eq!(send(&mut session, "EVAL x 0"), "fence: FENCE b 1 FENCE a 7 EVAL x 0");
    for words in ["WATCH k", "DBSIZE", "SCAN 0", "FENCE.INFO a"] {
        assert!(send(&mut session, words).ends_with(words), "no shard can judge {words}");
    }
    assert!(send(&mut session, "FLUSHALL").starts_with("-ERR 'flushall' concerns all shards"));
    assert!(send(&mut session, "FLUSHDB").starts_with("-ERR 'flushdb' concerns all shards"));
    assert_eq!(send(&mut session, "FENCE.CLEAR nobody"), ":0");
    assert_eq!(send(&mut session, "FENCE.CLEAR b"), ":1");
    assert_eq!(send(&mut session, "GET k"), "fence: FENCE a 7 GET k");
    assert_eq!(send(&mut session, "FENCE.CLEAR"), ":1");
    assert_eq!(send(&mut session, "FLUSHALL"), "flushall: FLUSHALL");
    send(&mut session, "FENCE.SET a 7");
    assert_eq!(send(&mut session, "RESET"), "+RESET");
    assert_eq!(send(&mut session, "GET k"), "get: GET k");
    for words in ["FENCE.SET a", "FENCE.SET a 5 6", "FENCE.CLEAR a b"] {
        assert!(send(&mut session, words).starts_with("-ERR wrong number of arguments"), "{words}");
    }
    assert!(send(&mut session, "FENCE.SET a 0").starts_with("-ERR '0' is no fence"));
    for n in 0..16 {
        assert_eq!(send(&mut session, &format!("FENCE.SET l{n} 1")), "+OK");
    }
    assert!(send(&mut session, "FENCE.SET more 1").starts_with("-ERR a command can stand under 16 fences at most"));
}

#[test]
fn a_transaction_stands_under_all_fences_of_its_parts() {
    let mut session = fresh();
    let mut all = |words: &[&str]| words.iter().map(|words| send(&mut session, words)).last().expect("there is one");
    assert_eq!(all(&["MULTI", "FENCE a 5 SET k v", "GET k", "FENCE b 1 GET l", "EXEC"]), "exec [a 5, b 1] set get get");
    assert_eq!(all(&["MULTI", "SET k v", "FENCE a 5 ONCE c:1 EXEC"]), "exec [a 5] once set");
    assert_eq!(all(&["MULTI", "FENCE a 5 SET k v", "FENCE a 5 FENCE b 2 EXEC"]), "exec [a 5, b 2] set");
    assert_eq!(all(&["FENCE.SET c 9", "MULTI", "FENCE a 5 SET k v", "EXEC"]), "exec [a 5, c 9] set");
    assert!(all(&["MULTI", "PING", "EXEC"]).starts_with("exec []"), "nothing there can be judged");
    assert!(all(&["MULTI", "SET k v", "FENCE c 8 EXEC"]).starts_with("-EXECABORT"), "it is another number");
    assert_eq!(all(&["EXEC"]), "-ERR EXEC without MULTI");
    all(&["FENCE.CLEAR"]);
    let refused = "-EXECABORT Transaction discarded because of";
    assert!(all(&["MULTI", "PING", "FENCE a 5 EXEC"]).starts_with(refused));
    assert!(
        all(&["MULTI", "FENCE a 5 SET k v", "FENCE a 6 GET k"]).starts_with("-ERR the command stands under two fences")
    );
    assert!(all(&["EXEC"]).starts_with("-EXECABORT"));
    for words in ["FENCE.SET a 1", "FENCE.CLEAR", "FENCE.RESET a", "FENCE.INFO a"] {
        let refused = all(&["MULTI", words]);
        assert!(refused.contains("can't stand in MULTI"), "{words}: {refused}");
        all(&["DISCARD"]);
    }
    assert!(all(&["MULTI", "FENCE a 1 ONCE c:1 SET k v"]).starts_with("-ERR ONCE can't stand inside MULTI"));
    all(&["DISCARD"]);
    assert_eq!(all(&["FENCE a 1 EXEC"]), "-ERR EXEC without MULTI");
}

/// A later read joins a write's entry; one that only might have been logged, it needn't.
#[test]
fn a_read_under_a_fence_is_a_read() {
    let mut session = fresh();
    let mut taken = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        let mut frame = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| frame.push_str(&format!("${}\r\n{word}\r\n", word.len())));
        match session.step(frame.as_bytes(), &mut 0, &mut Vec::new()) {
            Step::Request(call) => call.joins,
            other => panic!("{words:?} is for the core, not {other:?}"),
        }
    };
    assert!(!taken("FENCE a 1 GET k") && !taken("GET k"));
    assert!(!taken("FENCE a 1 SET k v") && taken("GET k"));
}
