//! The memcached protocol: the same commands and answers however the bytes are cut, and no more is held than is asked for.

use base::rng::Rng;
use edge::memcached::session::{Session, Step};

/// What a session makes of bytes that come in pieces: every step, and what it answered.
fn session(input: &[u8], piece: usize) -> (Vec<String>, Vec<u8>) {
    let mut session = Session::default();
    let (mut waiting, mut steps, mut out) = (Vec::new(), Vec::new(), Vec::new());
    for chunk in input.chunks(piece.max(1)) {
        waiting.extend_from_slice(chunk);
        let mut at = 0;
        while at < waiting.len() {
            let mut used = 0;
            match session.step(&waiting[at..], &mut used, &mut out) {
                Step::Requests(calls) => {
                    let calls: Vec<_> = calls
                        .iter()
                        .map(|call| (call.seq, call.part.command, format!("{:?}", call.part.args)))
                        .collect();
                    for (seq, command, args) in calls {
                        steps.push(format!("{} {args}", command.name));
                        session.on_reply(seq, data::Reply::Nil, &mut out);
                    }
                }
                Step::Stats { seq } => {
                    steps.push("stats".to_owned());
                    session.on_stats(seq, &[("pid", "1".to_owned())], &mut out);
                }
                Step::Answered => {}
                Step::NeedMore { need_at_least } => {
                    assert!(need_at_least > waiting.len() - at, "more is asked for than is there");
                    assert!(need_at_least <= base::limits::MEMCACHED_VALUE_BYTES_MAX + 4096, "no more than a value");
                    break;
                }
                Step::Close => {
                    steps.push("close".to_owned());
                    return (steps, out);
                }
            }
            assert!(used > 0, "a step takes bytes");
            at += used;
        }
        waiting.drain(..at);
    }
    assert_eq!(session.pending(), 0, "what was answered has left");
    (steps, out)
}

/// The target.
pub fn memcached(input: &[u8]) {
    let whole = session(input, input.len());
    for piece in [1, 2, 7, 64] {
        assert_eq!(session(input, piece), whole, "cut into pieces of {piece}");
    }
}

const LINES: &[&str] = &[
    "get k other\r\n",
    "gets k\r\n",
    "gat 10 k other\r\n",
    "set k 1 0 3\r\nabc\r\n",
    "cas k 1 0 1 77 noreply\r\na\r\n",
    "append k 0 0 2\r\n\r\n\r\n",
    "incr k 5\r\n",
    "touch k -1 noreply\r\n",
    "delete k 0\r\n",
    "flush_all\r\n",
    "verbosity 1\r\n",
    "stats\r\nversion\r\n",
    "mg k v f c t k s h l q O12\r\n",
    "mg Zm9v b N30 R10 T-1 E5\r\n",
    "ms k 2 T30 F7 C5 E6 I MA N5\r\nxy\r\n",
    "md k I T3 q x\r\n",
    "ma k N0 J5 D2 MD v t c\r\n",
    "me k\r\nmn\r\n",
    "set k 0 0 99999999\r\nabc\r\n",
    "quit\r\n",
];

/// Some commands of all kinds.
pub fn valid_memcached(rng: &mut Rng) -> Vec<u8> {
    let line = |rng: &mut Rng| LINES[usize::try_from(rng.below(LINES.len() as u64)).expect("few lines")];
    (0..1 + rng.below(6)).flat_map(|_| line(rng).bytes().collect::<Vec<_>>()).collect()
}
