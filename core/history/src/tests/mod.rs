//! The checker against histories that were thought out, against brute force, and against itself with parts broken.

mod brute;
mod differential;
mod large;
mod stories;
mod switches;

use crate::{Command, History, Reply, Verdict, check, configurations};

/// Writes a history as a list of operations: client, call, return, words, result.
///
/// Times are in ns; `-` is no return. A result is `nil`, a number, `!` and an error, `[..]` with commas, or a text.
/// Transactions part their commands by `;`.
fn history(lines: &str) -> History {
    let mut history = History::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (head, result) = line.split_once(" => ").expect("a line has a result");
        let words: Vec<&str> = head.split_whitespace().collect();
        let [client, call, ret, words @ ..] = words.as_slice() else { panic!("a short line: {line}") };
        let command = match words {
            ["MULTI", rest @ ..] => {
                Command::transaction(&rest.split(|word| *word == ";").collect::<Vec<_>>()).expect("a transaction")
            }
            words => Command::redis(words).expect("a command"),
        };
        let op = history.invoke(client, command, call.parse().expect("a time"));
        if *ret != "-" {
            history.returned(op, reply(result), ret.parse().expect("a time"));
        }
    }
    history
}

fn reply(text: &str) -> Reply {
    if let Some(list) = text.strip_prefix('[') {
        return Reply::List(list.trim_end_matches(']').split(", ").map(reply).collect());
    }
    match (text, text.strip_prefix('!'), text.parse()) {
        ("nil", _, _) => Reply::Nil,
        (_, Some(error), _) => Reply::Error(error.to_owned()),
        (_, _, Ok(number)) => Reply::Int(number),
        _ => Reply::text(text),
    }
}

fn verdict(history: &History) -> Verdict {
    check(history, configurations(2_000_000))
}

fn is_linearizable(history: &History) -> bool {
    match verdict(history) {
        Verdict::Linearizable(_) => true,
        Verdict::Violation(..) => false,
        Verdict::Undecided(hard, _) => panic!("small histories are decided: {hard:?}"),
    }
}
