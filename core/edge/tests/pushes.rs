//! Sessions that listen, track and publish: what leaves when, in both versions of the protocol.

use base::ClientId;
use data::command::pubsub::{Everywhere, Message, Topic};
use data::{Blob, Reply};
use edge::{Listens, Mode, Push, Session, SessionConfig, Step};

struct Client {
    session: Session,
    out: Vec<u8>,
}

/// What a step asked for, without what it borrows.
#[derive(Debug, PartialEq)]
enum Asked {
    Nothing,
    Blocked,
    /// A command for the core or the binary; its number, and whether its keys are noted.
    Request(u64, bool),
    Everywhere(u64, Everywhere),
    Exec(u64),
    Listens(Vec<Listens>),
}

impl Client {
    fn new() -> Self {
        Self { session: Session::new(ClientId(7), SessionConfig::default()), out: Vec::new() }
    }

    fn of_resp3() -> Self {
        let mut client = Self::new();
        client.step("HELLO 3");
        client.out.clear();
        client
    }

    fn step(&mut self, words: &str) -> Asked {
        let words: Vec<&str> = words.split(' ').collect();
        let mut frame = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| frame.push_str(&format!("${}\r\n{word}\r\n", word.len())));
        match self.session.step(frame.as_bytes(), &mut 0, &mut self.out) {
            Step::Answered => Asked::Nothing,
            Step::Blocked => Asked::Blocked,
            Step::Request(call) | Step::Admin(call) => Asked::Request(call.seq, call.noted),
            Step::Everywhere(call) => Asked::Everywhere(call.seq, call.what),
            Step::Exec(exec) => Asked::Exec(exec.seq),
            Step::Listens(changes) | Step::Reset { listens: changes, .. } => Asked::Listens(changes),
            other => panic!("{other:?}"),
        }
    }

    fn text(&mut self, words: &str) -> String {
        self.step(words);
        self.take()
    }

    fn take(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.out)).expect("replies here are text")
    }

    fn push(&mut self, push: &Push) {
        if let Some(bytes) = self.session.push(push) {
            self.out.extend_from_slice(&bytes);
        }
    }

    fn reply(&mut self, seq: u64, reply: Reply) {
        self.session.on_reply(seq, reply, &mut self.out);
    }
}

fn listens(topic: Topic, name: &str, on: bool) -> Listens {
    Listens { topic, name: name.as_bytes().into(), on }
}

fn hi() -> Message {
    Message { topic: Topic::Channel, channel: "a".into(), payload: "hi".into() }
}

const HI_TWO: &str = "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n";

#[test]
fn subscriptions_are_confirmed_one_by_one_and_counted_as_redis_counts() {
    let mut client = Client::new();
    let on = |topic, name| listens(topic, name, true);
    assert_eq!(client.step("SUBSCRIBE a b a"), Asked::Listens(vec![on(Topic::Channel, "a"), on(Topic::Channel, "b")]));
    let confirmed = |name: &str, count| format!("*3\r\n$9\r\nsubscribe\r\n$1\r\n{name}\r\n:{count}\r\n");
    assert_eq!(client.take(), confirmed("a", 1) + &confirmed("b", 2) + &confirmed("a", 2));
    assert!(client.text("PSUBSCRIBE a*").ends_with(":3\r\n"), "patterns are counted with channels");
    assert!(client.text("SSUBSCRIBE s").ends_with(":1\r\n"), "shard channels are not");
    assert_eq!(client.session.subscriptions(Topic::Channel), 2);
    assert_eq!(client.step("SUNSUBSCRIBE"), Asked::Listens(vec![listens(Topic::Shard, "s", false)]));
    assert_eq!(client.take(), "*3\r\n$12\r\nsunsubscribe\r\n$1\r\ns\r\n:0\r\n");
    assert_eq!(client.text("SUNSUBSCRIBE"), "*3\r\n$12\r\nsunsubscribe\r\n$-1\r\n:0\r\n");
    assert_eq!(client.step("UNSUBSCRIBE z"), Asked::Listens(Vec::new()), "it never listened");
}

#[test]
fn a_listener_of_resp2_may_do_little_else_and_one_of_resp3_anything() {
    let mut client = Client::new();
    client.text("SUBSCRIBE a");
    assert_eq!(client.text("PING"), "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    assert_eq!(client.text("PING x"), "*2\r\n$4\r\npong\r\n$1\r\nx\r\n");
    let refusal = client.text("CLIENT ID");
    let text = "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";
    assert_eq!(refusal, format!("-ERR Can't execute 'client|id': {text}\r\n"));
    assert!(client.text("HELLO 3").starts_with("-ERR Can't execute 'hello'"));
    client.text("UNSUBSCRIBE");
    assert_eq!(client.text("PING"), "+PONG\r\n");

    let mut client = Client::of_resp3();
    assert_eq!(client.text("SUBSCRIBE a"), ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    assert_eq!(client.text("PING"), "+PONG\r\n");
    assert_eq!(client.step("GET k"), Asked::Request(2, false));
    client.reply(2, Reply::Nil);
    assert_eq!(client.take(), "_\r\n");
    assert_eq!(client.text("CLIENT REPLY OFF"), "");
    client.push(&Push::message(&hi(), None));
    assert_eq!(client.take(), HI_TWO.replacen('*', ">", 1), "what was not asked for is not silenced");
    assert_eq!(client.step("RESET"), Asked::Listens(vec![listens(Topic::Channel, "a", false)]));
    assert_eq!(client.take(), "+RESET\r\n");
    assert!(!client.session.is_subscribed() && client.session.resp() == 2);
}

#[test]
fn subscribing_waits_for_all_earlier_replies_and_publishing_for_those_of_other_commands() {
    let mut client = Client::of_resp3();
    assert_eq!(client.step("SET k v"), Asked::Request(1, false));
    assert_eq!(client.step("SUBSCRIBE a"), Asked::Blocked);
    assert_eq!(client.step("PUBLISH a hi"), Asked::Blocked);
    client.reply(1, Reply::Ok);
    assert_eq!(client.step("PUBLISH a hi"), Asked::Everywhere(2, Everywhere::Publish(hi())));
    assert_eq!(client.step("PUBLISH a hi"), Asked::Everywhere(3, Everywhere::Publish(hi())), "these keep their order");
    assert_eq!(client.step("SUBSCRIBE a"), Asked::Blocked);
    client.reply(3, Reply::Int(1));
    client.reply(2, Reply::Int(0));
    assert_eq!(client.take(), "+OK\r\n:0\r\n:1\r\n");
    assert!(matches!(client.step("SUBSCRIBE a"), Asked::Listens(_)));
    assert!(client.text("PUBSUB CHANNELS a b").contains("Try PUBSUB HELP."));
}

#[test]
fn a_push_never_stands_inside_a_reply() {
    let mut client = Client::of_resp3();
    client.text("SUBSCRIBE a");
    assert_eq!(client.step("MGET k k"), Asked::Request(1, false));
    let large = || Reply::Bulk(Blob::Shared(vec![b'x'; 100_000].into()));
    client.reply(1, Reply::Array(vec![large(), large(), large()]));
    client.push(&Push::message(&hi(), None));
    assert!(client.session.unsent_bytes() > 0);
    let mut all = String::new();
    while client.session.holds() {
        all += &client.take();
        client.session.go_on(&mut client.out);
    }
    all += &client.take();
    let message = HI_TWO.replacen('*', ">", 1);
    assert!(all.ends_with(&message) && all.matches("message").count() == 1, "behind the reply");
    assert_eq!(all.len(), 3 * (100_000 + 11) + "*3\r\n".len() + message.len());
    assert_eq!(client.session.unsent_bytes(), 0);
}

#[test]
fn messages_of_a_transaction_leave_once_it_is_committed() {
    let mut client = Client::new();
    for words in ["MULTI", "SET k v", "PUBLISH a hi", "PING", "PUBLISH a hi"] {
        client.text(words);
    }
    assert_eq!(client.step("EXEC"), Asked::Exec(5));
    client.take();
    client.reply(5, Reply::Array(vec![Reply::Ok]));
    assert_eq!(client.step("GET k"), Asked::Blocked);
    let due = client.session.take_due();
    assert_eq!(due.len(), 2);
    assert_eq!(client.take(), "", "its reply tells how many got the messages");
    for (call, count) in due.iter().zip([3, 4]).rev() {
        assert_eq!(call.what, Everywhere::Publish(hi()));
        client.reply(call.seq, Reply::Int(count));
    }
    assert_eq!(client.take(), "*4\r\n+OK\r\n:3\r\n+PONG\r\n:4\r\n");
    assert!(matches!(client.step("GET k"), Asked::Request(..)));

    let mut client = Client::new();
    client.text("MULTI");
    client.text("PUBLISH a hi");
    assert_eq!(client.step("EXEC"), Asked::Exec(2));
    client.reply(2, Reply::NilArray);
    assert!(client.session.take_due().is_empty(), "a transaction that fails sends nothing");
    assert!(client.take().ends_with("*-1\r\n"));
    client.text("MULTI");
    assert!(client.text("SUBSCRIBE a").starts_with("-ERR SUBSCRIBE can't stand in MULTI"));
    assert!(client.text("EXEC").starts_with("-EXECABORT"));
}

#[test]
fn a_client_that_monitors_asks_for_no_keys() {
    let mut client = Client::new();
    assert_eq!(client.step("MONITOR"), Asked::Request(0, false));
    client.session.begin_monitor();
    client.reply(0, Reply::Ok);
    client.take();
    for words in ["GET k", "SET k v", "PUBLISH a b", "DBSIZE"] {
        assert_eq!(client.text(words), "-ERR Replica can't interact with the keyspace\r\n", "{words}");
    }
    assert_eq!(client.text("PING"), "+PONG\r\n");
    client.push(&Push::line("+line\r\n".into()));
    assert_eq!(client.take(), "+line\r\n");
    client.text("RESET");
    assert!(!client.session.monitors());
}

fn track(client: &mut Client, words: &str) -> String {
    let words = format!("CLIENT TRACKING {words}");
    let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    match client.session.track(&args, |id| id == 9) {
        Reply::Error(refused) => refused.to_string(),
        reply => format!("{reply:?}"),
    }
}

#[test]
fn tracking_options_are_checked_as_redis_checks_them() {
    let mut client = Client::new();
    for (words, wanted) in [
        ("ON PREFIX a", "ERR PREFIX option requires BCAST mode to be enabled"),
        ("foo", "ERR syntax error"),
        ("ON foo", "ERR syntax error"),
        ("ON OPTIN OPTOUT", "ERR You can't specify both OPTIN mode and OPTOUT mode"),
        ("ON BCAST OPTIN", "ERR OPTIN and OPTOUT are not compatible with BCAST"),
        ("ON REDIRECT", "ERR syntax error"),
        ("ON REDIRECT x", "ERR value is not an integer or out of range"),
        ("ON REDIRECT 8", "ERR The client ID you want redirect to does not exist"),
        ("ON REDIRECT 9 REDIRECT 9", "ERR A client can only redirect to a single other client"),
        (
            "ON BCAST PREFIX a PREFIX ab",
            "ERR Prefix 'a' overlaps with another provided prefix 'ab'. Prefixes for a single client must not overlap.",
        ),
        ("OFF", "Ok"),
        ("ON BCAST PREFIX a NOLOOP REDIRECT 9", "Ok"),
        (
            "ON BCAST PREFIX ab",
            "ERR Prefix 'ab' overlaps with an existing prefix 'a'. Prefixes for a single client must not overlap.",
        ),
        ("ON BCAST PREFIX b", "Ok"),
    ] {
        assert_eq!(track(&mut client, words), wanted, "{words}");
    }
    let prefixes = vec![b"a".to_vec(), b"b".to_vec()];
    assert_eq!(client.session.tracking().map(|tracking| &tracking.mode), Some(&Mode::Broadcast(prefixes)));
    assert!(track(&mut client, "ON").starts_with("ERR You can't switch BCAST mode on/off"));
    let info = client.text("CLIENT TRACKINGINFO");
    assert_eq!(
        info,
        "*6\r\n$5\r\nflags\r\n*2\r\n$2\r\non\r\n$5\r\nbcast\r\n$8\r\nredirect\r\n:0\r\n$8\r\nprefixes\r\n*2\r\n$1\r\na\r\n\
         $1\r\nb\r\n"
    );
    track(&mut client, "OFF");
    assert_eq!(client.text("CLIENT GETREDIR"), ":-1\r\n");
    assert!(client.text("CLIENT CACHING YES").starts_with("-ERR CLIENT CACHING can be called only"));
}

#[test]
fn reads_are_noted_as_the_mode_says() {
    let mut client = Client::of_resp3();
    let noted = |client: &mut Client, words: &str| match client.step(words) {
        Asked::Request(seq, noted) => {
            client.reply(seq, Reply::Nil);
            noted
        }
        other => panic!("{other:?}"),
    };
    assert!(!noted(&mut client, "GET k"));
    track(&mut client, "ON");
    assert!(noted(&mut client, "GET k") && noted(&mut client, "MGET k l") && !noted(&mut client, "SET k v"));
    track(&mut client, "OFF");
    track(&mut client, "ON OPTIN");
    assert!(!noted(&mut client, "GET k"));
    client.text("CLIENT CACHING YES");
    assert!(noted(&mut client, "GET k") && !noted(&mut client, "GET k"));
    track(&mut client, "OFF");
    track(&mut client, "ON OPTOUT");
    client.text("CLIENT CACHING NO");
    assert!(!noted(&mut client, "GET k") && noted(&mut client, "GET k"));
    client.text("CLIENT CACHING NO");
    client.text("MULTI");
    client.text("GET k");
    assert_eq!(client.text("CLIENT TRACKINGINFO"), "+QUEUED\r\n");
    assert!(matches!(client.step("EXEC"), Asked::Exec(_)));
}

#[test]
fn a_change_while_a_read_is_on_its_way_is_told_again_behind_the_answer() {
    let mut client = Client::of_resp3();
    track(&mut client, "ON");
    client.session.note_invalidation(Some(b"k"));
    assert!(client.session.take_again().is_empty(), "nothing was on its way");
    let Asked::Request(seq, true) = client.step("GET k") else { panic!("a read") };
    client.session.note_invalidation(Some(b"k"));
    assert!(client.session.take_again().is_empty(), "its answer has not come");
    client.reply(seq, Reply::Nil);
    assert_eq!(client.session.take_again(), [Some(Box::from(&b"k"[..]))]);
    assert!(client.session.take_again().is_empty());
    let Asked::Request(seq, true) = client.step("GET k") else { panic!("a read") };
    for _ in 0..5000 {
        client.session.note_invalidation(Some(b"k"));
    }
    client.reply(seq, Reply::Nil);
    let again = client.session.take_again();
    assert!(again.len() <= 1024 && again.contains(&None), "so many mean all");
}
