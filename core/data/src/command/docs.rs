//! COMMAND: the table as clients ask for it.

use super::{Command, Outcome, Run, all, containers, find, prefix};
use crate::{Refused, Reply};

/// COMMAND and its subcommands; `args` with the name.
pub fn command(args: &[&[u8]]) -> Outcome {
    let sub = args.get(1).map(|word| word.to_ascii_lowercase()).unwrap_or_default();
    match sub.as_slice() {
        b"" => Ok(Reply::Array(all().map(info).collect())),
        b"count" => Ok(Reply::count(all().count())),
        b"list" => Ok(Reply::Array(all().map(|row| Reply::bulk(row.name.as_bytes())).collect())),
        b"info" if args.len() == 2 => Ok(Reply::Array(all().map(info).collect())),
        b"info" => Ok(Reply::Array(args[2..].iter().map(|name| find(name).map_or(Reply::Nil, info)).collect())),
        b"docs" if args.len() == 2 => Ok(Reply::Map(all().map(docs).collect())),
        b"docs" => Ok(Reply::Map(args[2..].iter().filter_map(|name| find(name)).map(docs).collect())),
        b"getkeys" if args.len() >= 3 => get_keys(&args[2..]),
        _ => Ok(find(b"command").map_or(Reply::Nil, containers::help)),
    }
}

fn info(row: &'static Command) -> Reply {
    let (first, last, step) = row.keys.shown();
    Reply::Array(vec![
        Reply::bulk(row.name.as_bytes()),
        Reply::Int(i64::from(row.arity)),
        Reply::Set(row.flags.split(' ').map(Reply::Simple).collect()),
        Reply::Int(i64::from(first)),
        Reply::Int(i64::from(last)),
        Reply::Int(i64::from(step)),
        Reply::Set(Vec::new()),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
    ])
}

fn docs(row: &'static Command) -> (Reply, Reply) {
    let field = |name: &str, value: &str| (Reply::text(name), Reply::text(value));
    let fields = vec![field("summary", row.summary), field("since", row.since), field("group", row.group)];
    (Reply::bulk(row.name.as_bytes()), Reply::Map(fields))
}

fn get_keys(call: &[&[u8]]) -> Outcome {
    let row = find(call[0]).ok_or_else(|| Refused::Text("ERR Invalid command specified".to_owned()))?;
    if !row.accepts(call.len()) {
        return Err(Refused::Text("ERR Invalid number of arguments specified for command".to_owned()));
    }
    if let Run::Prefix(_) = row.run {
        prefix::parse(call)?;
    }
    let keys: Vec<Reply> = prefix::key_positions(row, call).map(|at| Reply::bulk(call[at])).collect();
    // A script may be called without keys: none is an answer then.
    if keys.is_empty() && !row.flags.split(' ').any(|flag| flag == "no_mandatory_keys") {
        Err(Refused::Text("ERR The command has no key arguments".to_owned()))
    } else {
        Ok(Reply::Array(keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script may have no keys; a command that can have none is refused.
    #[test]
    fn keys_of_calls_without_keys() {
        let keys = |call: &[&str]| get_keys(&call.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
        assert_eq!(keys(&["EVAL", "return 1", "0", "a"]), Ok(Reply::Array(Vec::new())));
        assert_eq!(keys(&["EVAL", "return 1", "1", "a"]), Ok(Reply::Array(vec![Reply::bulk(b"a")])));
        assert_eq!(keys(&["TIME"]), Err(Refused::Text("ERR The command has no key arguments".to_owned())));
    }
}
