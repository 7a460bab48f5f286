//! The engine beside redis-server 7.0.15: `replies.txt` holds what that answers to a client of RESP3, one call after the other.
//! And what no server is asked for: scripts that have to be ended, and what is left of them.

use base::{Index, ShardId, Stamp};
use data::batch::{Batch, Done, End, Pace, Purpose, Queued, Stop, Stopped, Task};
use data::shard::{EntryWriter, genesis};
use data::{Reply, ShardState, Told, command};
use script::{Engine, Limits};
use std::sync::Arc;

/// A shard of one replica, whose log is applied at once.
struct Bench {
    engine: Engine,
    state: ShardState,
    index: u64,
}

fn queued(words: &[&[u8]]) -> Queued {
    let row = command::find(words[0]).expect("a command");
    Queued { db: 0, command: row, args: words.iter().map(|word| word.to_vec()).collect() }
}

impl Bench {
    fn new(limits: Limits) -> Self {
        let mut bench = Self { engine: Engine::new(limits), state: ShardState::default(), index: 0 };
        bench.apply(&genesis(Stamp(1_000), (1, 2)));
        bench
    }

    fn apply(&mut self, entry: &[u8]) -> Vec<Reply> {
        let mut replies = Vec::new();
        self.index += 1;
        let applied = self.state.apply(Index(self.index), entry, |told| match told {
            Told::Reply(reply) => replies.push(reply),
            other => panic!("nobody waits here: {other:?}"),
        });
        applied.expect("an entry is read");
        replies
    }

    fn batch(&mut self, tasks: impl IntoIterator<Item = Task>, pace: Pace) -> Batch {
        let purpose = Purpose::Entry { index: Index(self.index + 1), stamp: Stamp(2_000), reads_now: true };
        Batch {
            shard: ShardId(0),
            shard_count: 1,
            state: Some(std::mem::take(&mut self.state)),
            purpose,
            pace,
            entry: EntryWriter::default(),
            once_kept_ms: 1_000,
            refuses_memory: false,
            tasks: tasks.into_iter().collect(),
            texts: Vec::new(),
            done: Vec::new(),
            end: End::Done,
            messages: Vec::new(),
            lines: Vec::new(),
            called: Vec::new(),
            stop: Arc::new(Stop::default()),
        }
    }

    /// Runs a batch and applies its entry: what it answers, and how it ended.
    fn run(&mut self, mut batch: Batch) -> (Vec<Reply>, Batch) {
        batch = self.engine.run(batch);
        self.state = batch.state.take().expect("the state comes back");
        let told = if batch.entry.is_empty() { Vec::new() } else { self.close(&mut batch.entry) };
        let mut told = told.into_iter();
        let replies = batch.done.drain(..).map(|done| match done {
            Done::Answered(reply) => reply,
            Done::Logged(kept) => match (told.next().expect("the log answers each"), kept) {
                (Reply::Kept, Some(kept)) => kept,
                (told, _) => told,
            },
        });
        (replies.collect(), batch)
    }

    fn close(&mut self, entry: &mut EntryWriter) -> Vec<Reply> {
        let entry = entry.finish(Stamp(2_000));
        self.apply(&entry)
    }

    fn ask(&mut self, words: &[&[u8]]) -> Reply {
        let batch = self.batch([Task::Command(queued(words))], Pace::Patient);
        let (mut replies, _) = self.run(batch);
        replies.pop().expect("an answer")
    }

    fn eval(&mut self, text: &str) -> String {
        show(&self.ask(&[b"EVAL", text.as_bytes(), b"1", b"k"]))
    }
}

/// A word of the file, and what stands behind it.
fn word(text: &str) -> Option<(Vec<u8>, &str)> {
    let mut bytes = Vec::new();
    let mut rest = text.trim_start().strip_prefix('"')?;
    loop {
        let (first, behind) = rest.split_at_checked(1)?;
        match first {
            "\"" => return Some((bytes, behind)),
            "\\" => {
                let (kind, behind) = behind.split_at_checked(1)?;
                rest = behind;
                match kind {
                    "n" => bytes.push(b'\n'),
                    "r" => bytes.push(b'\r'),
                    "x" => {
                        let (digits, behind) = rest.split_at_checked(2)?;
                        bytes.push(u8::from_str_radix(digits, 16).ok()?);
                        rest = behind;
                    }
                    other => bytes.extend_from_slice(other.as_bytes()),
                }
            }
            other => {
                bytes.extend_from_slice(other.as_bytes());
                rest = behind;
            }
        }
    }
}

fn words(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = line;
    while let Some((word, behind)) = word(rest) {
        words.push(word);
        rest = behind;
    }
    words
}

fn plain(bytes: &[u8], quotes: bool) -> String {
    let escape = |byte: &u8| match byte {
        b'\n' => "\\n".to_owned(),
        b'\r' => "\\r".to_owned(),
        b'\\' => "\\\\".to_owned(),
        b'"' if quotes => "\\\"".to_owned(),
        32..127 => char::from(*byte).to_string(),
        other => format!("\\x{other:02x}"),
    };
    bytes.iter().map(escape).collect()
}

fn all<'a>(items: impl Iterator<Item = &'a Reply>) -> Vec<String> {
    items.map(show).collect()
}

fn sorted(mut items: Vec<String>) -> String {
    items.sort();
    items.join(" ")
}

/// A reply as the file has it.
fn show(reply: &Reply) -> String {
    match reply {
        Reply::Ok => "+OK".into(),
        Reply::Simple(word) => format!("+{word}"),
        Reply::Status(word) => format!("+{}", plain(word, false)),
        Reply::Nil | Reply::NilArray => "nil".into(),
        Reply::Int(n) => format!(":{n}"),
        Reply::Double(n) => format!(",{}", Reply::digits(*n)),
        Reply::Decimal(n) => format!(",{}", Reply::plain(*n)),
        Reply::Bool(told) => if *told { "#t" } else { "#f" }.into(),
        Reply::BigNumber(digits) => format!("({}", plain(digits, false)),
        Reply::Bulk(blob) => format!("\"{}\"", plain(blob.as_bytes(), true)),
        Reply::Formatted(format, text) => format!("={}\"{}\"", plain(format, false), plain(text, true)),
        Reply::Verbatim(text) => format!("=txt\"{}\"", plain(text.as_bytes(), true)),
        Reply::Array(items) => format!("[{}]", all(items.iter()).join(" ")),
        Reply::Strings(strings) => {
            let all: Vec<String> = strings.iter().map(|string| format!("\"{}\"", plain(string, true))).collect();
            format!("[{}]", all.join(" "))
        }
        Reply::Set(items) => format!("~[{}]", sorted(all(items.iter()))),
        Reply::Map(pairs) | Reply::Pairs(pairs) => {
            format!(
                "{{{}}}",
                sorted(pairs.iter().map(|(key, value)| format!("{}: {}", show(key), show(value))).collect())
            )
        }
        Reply::Couples(pairs) => {
            let pairs: Vec<String> = pairs.iter().map(|(one, two)| format!("[{} {}]", show(one), show(two))).collect();
            format!("[{}]", pairs.join(" "))
        }
        Reply::Error(refused) => format!("-{}", plain(refused.to_string().as_bytes(), false)),
        Reply::Kept | Reply::Watched(_) => "nothing that a client sees".into(),
    }
}

#[test]
fn scripts_answer_as_those_of_redis() {
    let mut bench = Bench::new(Limits::default());
    let text = include_str!("replies.txt");
    let (mut asked, mut wrong) = (0, Vec::new());
    for (call, wanted) in text.lines().step_by(2).zip(text.lines().skip(1).step_by(2)) {
        let words = words(call.strip_prefix("> ").expect("calls and answers take turns"));
        let got = show(&bench.ask(&words.iter().map(Vec::as_slice).collect::<Vec<_>>()));
        asked += 1;
        if got != wanted {
            wrong.push(format!("{call}\n  Redis {wanted}\n  here  {got}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {asked} answers differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(asked > 380, "{asked}");
}

/// Few steps and little memory.
const TIGHT: Limits = Limits { brisk_steps: 20_000, brisk_bytes: 1 << 20, steps: 500_000, bytes: 4 << 20, ms: 0 };

/// What never ends, or takes more than there is.
const ENDLESS: &[&str] = &[
    "while true do end",
    "while true do pcall(function() while true do end end) end",
    "while true do xpcall(error, function() while true do end end) end",
    "local function deep() return pcall(deep) end while true do deep() end",
    "while true do local c = coroutine.wrap(function() while true do end end) pcall(c) end",
    "setmetatable({}, {__index = function() while true do end end}).x = nil return setmetatable({}, {__index = function() \
     while true do end end}).x",
    "for i = 1, 1e9 do redis.call('get', KEYS[1]) end",
    "for i = 1, 1e9 do redis.pcall('nope') end",
    "return string.find(string.rep('a', 3000), string.rep('a-', 12) .. 'b')",
    "return string.match(string.rep('a', 3000), '(.-)(.-)(.-)(.-)b')",
    "return string.gsub(string.rep('a', 30000), '.-.-.-.-b', 'x')",
    "for w in string.gmatch(string.rep('a', 30000), '.-.-.-b') do end",
    "while true do string.rep('x', 1000) end",
    "while true do table.concat({'a', 'b', 'c'}) end",
    "while true do cjson.encode({1, 2, 3}) end",
    "while true do cmsgpack.unpack(cmsgpack.pack({1, 2, 3})) end",
    "local t = {} for i = 1, 5000 do t[i] = i end table.sort(t, function() while true do end end)",
    "while true do loadstring('return 1')() end",
    "local t = {} while true do t[#t + 1] = string.rep('x', 10000) .. #t end",
    "local s = 'x' while true do s = s .. s end",
    "return string.rep('x', 1e9)",
    "return string.rep('x', 1e6):rep(1e6)",
    "local t = {} while true do t = {t} end",
    "local t = {} while true do pcall(function() t[#t + 1] = string.rep('x', 10000) .. #t end) end",
];
/// What leads deep, or far: it fails, or answers something.
const DEEP: &[&str] = &[
    "return cjson.decode(string.rep('[', 1e6))",
    "local function deep() return coroutine.wrap(deep)() end return deep()",
    "local function deep(x) return deep(x) + 1 end return deep(1)",
    "local function deep() local t = setmetatable({}, {__index = function(t, k) return deep()[k] end}) return t end return deep().x",
    "return string.find(string.rep('a', 30000), string.rep('a?', 5000) .. 'b')",
    "return string.find(string.rep('(', 30000), string.rep('(', 40) .. 'x')",
    "return string.find('x', string.rep('(x', 100))",
    "return error(select(2, loadstring('return ' .. string.rep('{', 100000))))",
    "return error(select(2, loadstring(string.rep('(', 100000))))",
    "local t = {} for i = 1, 5000 do t = {t} end return cjson.encode(t)",
    "return struct.pack(string.rep('i', 100000), 1)",
    "return struct.unpack('>c2147483647', 'x')",
    "return string.format('%99999d', 1)",
    "return string.format(string.rep('%s', 1000), unpack({}, 1, 1000))()",
    "return unpack({}, 1, 1e8)",
    "return {string.byte(string.rep('x', 900000), 1, -1)}",
    "return table.concat({}, 'x', 1, 1e9)",
    "error(setmetatable({}, {__tostring = function() while true do end end}))",
];

/// Nodes give as much to the threads that run scripts.
const STACK_BYTES: usize = 16 << 20;

#[test]
fn what_is_ended_by_force_leaves_nothing_and_the_engine_goes_on() {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(all_are_ended).expect("there are threads");
    thread.join().expect("all are ended");
}

fn all_are_ended() {
    let mut bench = Bench::new(TIGHT);
    assert_eq!(bench.eval("return redis.call('set', KEYS[1], 'before')"), "+OK");
    for (body, endless) in ENDLESS.iter().map(|body| (body, true)).chain(DEEP.iter().map(|body| (body, false))) {
        let told = bench.eval(&format!("redis.call('set', KEYS[1], 'x') {body}"));
        let stopped = told.starts_with("-ERR Script stopped: it ");
        assert!(stopped || !endless, "{body}: {told}");
        let wanted = if stopped { "\"before\"" } else { "\"x\"" };
        assert_eq!(bench.eval("return redis.call('get', KEYS[1])"), wanted, "{body}: {told}");
        assert_eq!(bench.eval("redis.call('set', KEYS[1], 'before') return 5"), ":5", "{body}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "another thread is what it is about")]
fn a_flag_of_another_thread_ends_what_no_limit_does() {
    let limits = Limits { steps: u64::MAX, ..Limits::default() };
    let mut bench = Bench::new(limits);
    for body in [
        "while true do pcall(function() while true do end end) end",
        "return string.find(string.rep('a', 30000), \
         string.rep('a-', 12) .. 'b')",
    ] {
        let text = format!("redis.call('set', KEYS[1], 'x') {body}");
        let batch = bench.batch([Task::Command(queued(&[b"EVAL", text.as_bytes(), b"1", b"k"]))], Pace::Patient);
        let stop = Arc::clone(&batch.stop);
        // It may be set before or behind the first step: both end it.
        let setter = std::thread::spawn(move || stop.set(Stopped::Killed));
        let (replies, _) = bench.run(batch);
        setter.join().expect("it ends");
        assert!(show(&replies[0]).starts_with("-ERR Script killed by user with SCRIPT KILL."), "{replies:?}");
        assert_eq!(bench.eval("return redis.call('exists', KEYS[1])"), ":0");
    }
}

#[test]
fn what_takes_long_is_left_for_another_place_with_all_that_it_needs() {
    let mut bench = Bench::new(TIGHT);
    let slow = b"for i = 1, 30000 do end return redis.call('incr', KEYS[1])";
    let eval = || Task::Command(queued(&[b"EVAL", slow, b"1", b"k"]));
    let both = Task::Transaction {
        once: None,
        fences: Vec::new(),
        watched: Vec::new(),
        commands: vec![queued(&[b"EVAL", b"return 1", b"0"]), queued(&[b"EVAL", slow, b"1", b"k"])],
    };
    // A transaction whose second script is slow is slow itself: nobody has shared its time with it.
    for task in [eval(), both] {
        let batch = bench.batch([task, eval()], Pace::Brisk);
        let (replies, batch) = bench.run(batch);
        assert_eq!((replies.len(), batch.end, batch.tasks.len(), batch.entry.is_empty()), (0, End::Untouched, 2, true));
    }
    // Behind a brisk one it gets another chance alone.
    let brisk = Task::Command(queued(&[b"EVAL", b"return redis.call('incr', KEYS[1])", b"1", b"n"]));
    let batch = bench.batch([brisk, eval()], Pace::Brisk);
    let (replies, batch) = bench.run(batch);
    assert_eq!((replies, batch.end, batch.tasks.len()), (vec![Reply::Int(1)], End::Done, 1));
    // By its hash alone, too, where nobody has seen it.
    let sha = data::scripts::sha_text(&data::scripts::sha_of(slow));
    let by_sha = Task::Command(queued(&[b"EVALSHA", sha.as_bytes(), b"1", b"k"]));
    let batch = bench.batch([by_sha], Pace::Brisk);
    let (_, batch) = bench.run(batch);
    assert_eq!((batch.end, &batch.texts), (End::Untouched, &vec![bytes::Bytes::from_static(slow)]));
    bench.engine = Engine::new(TIGHT);
    let mut patient = bench.batch(batch.tasks, Pace::Patient);
    patient.texts = batch.texts;
    assert_eq!(bench.run(patient).0, [Reply::Int(1)]);
}

#[test]
fn a_script_sees_what_stands_before_it_in_its_entry_and_none_sees_what_was_not_applied() {
    let mut bench = Bench::new(Limits::default());
    let plain = |words: &[&[u8]]| Task::Command(queued(words));
    let read = b"return {redis.call('get', 'a'), redis.call('lrange', 'l', 0, -1)}";
    let digest = bench.state.keyspace().digest();
    let tasks = [
        plain(&[b"SET", b"a", b"1"]),
        plain(&[b"EVAL", b"redis.call('rpush', 'l', redis.call('incr', 'a')) return redis.call('get', 'a')", b"0"]),
        plain(&[b"INCR", b"a"]),
        plain(&[b"EVAL", read, b"0"]),
    ];
    let batch = bench.batch(tasks, Pace::Brisk);
    let batch = bench.engine.run(batch);
    let state = batch.state.as_ref().expect("the state comes back");
    assert_eq!(state.keyspace().digest(), digest, "a trial leaves no trace");
    let mut batch = batch;
    bench.state = batch.state.take().expect("it is there");
    let told = bench.close(&mut batch.entry);
    assert_eq!(told, [Reply::Ok, Reply::Kept, Reply::Int(3), Reply::Kept]);
    let kept: Vec<String> = batch.done.iter().map(|done| format!("{done:?}")).collect();
    assert_eq!(bench.eval("return {redis.call('get', 'a'), redis.call('lrange', 'l', 0, -1)}"), "[\"3\" [\"2\"]]");
    assert!(kept[3].contains("Array"), "{kept:?}");
}

#[test]
fn what_is_published_goes_with_what_was_done() {
    let mut bench = Bench::new(TIGHT);
    let eval = |text: &str| Task::Command(queued(&[b"EVAL", text.as_bytes(), b"0"]));
    let tasks = [
        eval("redis.call('publish', 'c', 'one') return redis.call('incr', 'n')"),
        eval("redis.call('publish', 'c', 'lost') while true do end"),
        eval("redis.call('spublish', 'c', 'two') error('x')"),
    ];
    for (task, wanted) in tasks.into_iter().zip([&["one"][..], &[], &["two"]]) {
        let batch = bench.batch([task], Pace::Patient);
        let (_, batch) = bench.run(batch);
        let told: Vec<&[u8]> = batch.messages.iter().map(|message| &*message.payload).collect();
        assert_eq!(told, wanted.iter().map(|text| text.as_bytes()).collect::<Vec<_>>());
    }
}

#[test]
fn what_has_touched_nothing_can_be_run_without_keys_up_to_where_it_would_touch_one() {
    let mut bench = Bench::new(TIGHT);
    bench.eval("return redis.call('set', KEYS[1], 'there')");
    let mut apart = |text: &str| {
        let task = Task::Command(queued(&[b"EVAL", text.as_bytes(), b"1", b"k", b"word"]));
        let mut batch = bench.batch([task], Pace::Patient);
        batch.purpose = Purpose::Apart { number: 1, stamp: Stamp(2_000), seed: 5 };
        let state = batch.state.take().expect("it was lent");
        batch.state = Some(state.bare());
        bench.state = state;
        let mut batch = bench.engine.run(batch);
        (batch.done.pop(), batch.end, batch.tasks.len(), batch.entry.is_empty())
    };
    let answered = |text: &str| (Some(Done::Answered(Reply::bulk(text.as_bytes()))), End::Done, 0, true);
    assert_eq!(apart("for i = 1, 30000 do end return ARGV[1]"), answered("word"));
    for touches in ["return redis.call('get', KEYS[1])", "pcall(redis.call, 'set', KEYS[1], 'x') return 1"] {
        assert_eq!(apart(touches), (None, End::Touches, 1, true), "{touches}");
    }
    let (done, end, ..) = apart("local t = {} while true do t[#t + 1] = #t end");
    assert!(matches!(done, Some(Done::Answered(Reply::Error(_)))) && end == End::Done, "{done:?}");
    // One that was ended for its time has touched a key.
    let touching = "redis.call('get', KEYS[1]) for i = 1, 30000 do end return 1";
    let batch = bench.batch([Task::Command(queued(&[b"EVAL", touching.as_bytes(), b"1", b"k"]))], Pace::Brisk);
    assert_eq!(bench.run(batch).1.end, End::TooSlow);
    assert_eq!(bench.eval("return redis.call('get', KEYS[1])"), "\"there\"");
}
