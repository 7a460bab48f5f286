//! COMMAND: the table as clients ask for it.

use super::{Command, Outcome, Run, about, containers, find, glob, of_call, prefix};
use crate::{Refused, Reply};

/// COMMAND and its subcommands; `args` with the name.
pub fn command(args: &[&[u8]]) -> Outcome {
    let sub = args.get(1).map(|word| word.to_ascii_lowercase()).unwrap_or_default();
    match sub.as_slice() {
        b"" => Ok(Reply::Array(all().map(info).collect())),
        b"count" => Ok(Reply::count(all().count())),
        b"list" => list(&args[2..]),
        b"info" if args.len() == 2 => Ok(Reply::Array(all().map(info).collect())),
        b"info" => Ok(Reply::Array(args[2..].iter().map(|name| find(name).map_or(Reply::Nil, info)).collect())),
        b"docs" if args.len() == 2 => Ok(Reply::Map(all().map(docs).collect())),
        b"docs" => Ok(Reply::Map(args[2..].iter().filter_map(|name| find(name)).map(docs).collect())),
        b"getkeys" if args.len() >= 3 => {
            let call = &args[2..];
            let row = row_with_keys(call)?;
            Ok(Reply::Array(prefix::key_positions(row, call).map(|at| Reply::bulk(call[at])).collect()))
        }
        b"getkeysandflags" if args.len() >= 3 => {
            let row = row_with_keys(&args[2..])?;
            Ok(Reply::Array(about::keys_and_uses(row, &args[2..])))
        }
        _ => Ok(find(b"command").map_or(Reply::Nil, containers::help)),
    }
}

/// The commands, each by its own row; subcommands go with their commands.
fn all() -> impl Iterator<Item = &'static Command> {
    super::all().filter(|row| !row.is_sub())
}

/// COMMAND LIST, of all commands or of some.
fn list(filter: &[&[u8]]) -> Outcome {
    let names = |rows: &mut dyn Iterator<Item = &'static Command>| {
        Ok(Reply::Array(rows.map(|row| Reply::bulk(row.name.as_bytes())).collect()))
    };
    match filter {
        [] => names(&mut all()),
        [word, kind, what] if word.eq_ignore_ascii_case(b"filterby") => match kind.to_ascii_lowercase().as_slice() {
            b"pattern" => names(&mut all().filter(|row| glob::glob(what, row.name.as_bytes()))),
            b"aclcat" => {
                let category = std::str::from_utf8(what).unwrap_or_default().to_ascii_lowercase();
                let known = about::CATEGORIES.contains(&category.as_str());
                names(&mut all().filter(|row| known && about::is_in(row, &category)))
            }
            b"module" => names(&mut std::iter::empty()),
            _ => Err(Refused::Syntax),
        },
        _ => Err(Refused::Syntax),
    }
}

fn info(row: &'static Command) -> Reply {
    let (first, last, step) = row.keys.shown();
    let categories = about::CATEGORIES.into_iter().filter(|category| about::is_in(row, category));
    Reply::Array(vec![
        Reply::bulk(row.name.as_bytes()),
        Reply::Int(i64::from(row.arity)),
        Reply::Set(row.flags.split_whitespace().map(Reply::Simple).collect()),
        Reply::Int(i64::from(first)),
        Reply::Int(i64::from(last)),
        Reply::Int(i64::from(step)),
        Reply::Set(categories.map(|category| Reply::text(format_args!("@{category}"))).collect()),
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

/// The row of a call that has keys.
fn row_with_keys(call: &[&[u8]]) -> Result<&'static Command, Refused> {
    let row = find(call[0]).ok_or_else(|| Refused::Text("ERR Invalid command specified".to_owned()))?;
    let row = of_call(row, call);
    if !row.accepts(call.len()) {
        return Err(Refused::Text("ERR Invalid number of arguments specified for command".to_owned()));
    }
    if let Run::Prefix(_) = row.run {
        prefix::parse(call)?;
    }
    match prefix::key_positions(row, call).next() {
        None => Err(Refused::Text("ERR The command has no key arguments".to_owned())),
        Some(_) => Ok(row),
    }
}
