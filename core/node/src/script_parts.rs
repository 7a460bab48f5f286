//! SCRIPT and FUNCTION, whose subcommands concern every shard: what needs none, and the answers of all as one.

use crate::scripts::refusal;
use data::command::scripts::{Need, need, sub};
use data::command::{Scatter, containers};
use data::{Command, Refused, Reply};

/// What a subcommand answers that is about no shard; nothing if it is about one.
pub(crate) fn answered_at_once(command: &'static Command, scatter: Scatter, args: &[&[u8]]) -> Option<Reply> {
    match (scatter, sub(args).as_str()) {
        (Scatter::Script | Scatter::Function, "help") => Some(containers::help(command)),
        (Scatter::Script, "debug") => Some(match args.get(2).map(|word| word.to_ascii_lowercase()).as_deref() {
            Some(b"no") => Reply::Ok,
            Some(b"yes" | b"sync") => refusal("ERR scripts are not debugged here"),
            _ => refusal("ERR Use SCRIPT DEBUG YES/SYNC/NO"),
        }),
        _ => None,
    }
}

/// Which shards a subcommand asks: one is like another where it reads.
pub(crate) fn asks_one(scatter: Scatter, args: &[&[u8]]) -> bool {
    scatter.is_of_scripts() && need(scatter, args) == Need::Look
}

/// The answers of all shards as one.
pub(crate) fn merge(scatter: Scatter, replies: Vec<Reply>) -> Reply {
    let is_error = |reply: &&Reply| matches!(reply, Reply::Error(_));
    if replies.iter().any(|reply| matches!(reply, Reply::Array(_))) {
        return merge_lists(scatter, replies);
    }
    let not_busy = |reply: &&Reply| matches!(reply, Reply::Error(Refused::Text(text)) if text.starts_with("NOTBUSY"));
    // Of KILL the one that had something to end counts, of all others the one that failed.
    let told = replies.iter().find(|reply| is_error(reply) && !not_busy(reply));
    let told = told.or_else(|| replies.iter().find(|reply| !is_error(reply))).or(replies.first());
    told.cloned().unwrap_or(Reply::Nil)
}

fn merge_lists(scatter: Scatter, replies: Vec<Reply>) -> Reply {
    if let Some(error) = replies.iter().find(|reply| matches!(reply, Reply::Error(_))) {
        return error.clone();
    }
    let mut lists =
        replies.into_iter().filter_map(|reply| if let Reply::Array(items) = reply { Some(items) } else { None });
    let Some(first) = lists.next() else { return Reply::Nil };
    let more = |one: &Reply, other: &Reply| matches!((one, other), (Reply::Int(one), Reply::Int(other)) if other > one);
    let sum = lists.fold(first, |mut sum, list| {
        for (to, from) in sum.iter_mut().zip(list) {
            if matches!(to, Reply::Nil) || more(to, &from) {
                *to = from;
            }
        }
        sum
    });
    match (scatter, sum.as_slice()) {
        (Scatter::Function, [running, libraries @ Reply::Int(_), functions]) => Reply::Map(vec![
            (Reply::text("running_script"), running.clone()),
            (
                Reply::text("engines"),
                Reply::Map(vec![(
                    Reply::text("LUA"),
                    Reply::Map(vec![
                        (Reply::text("libraries_count"), libraries.clone()),
                        (Reply::text("functions_count"), functions.clone()),
                    ]),
                )]),
            ),
        ]),
        _ => Reply::Array(sum),
    }
}
