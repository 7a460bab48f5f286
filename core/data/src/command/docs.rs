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
        b"info" => Ok(Reply::Array(args[2..].iter().map(|name| named(name)).collect())),
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
    let names = |fits: &dyn Fn(&str, &'static Command) -> bool| {
        let fitting = all_names().filter(|(name, row)| fits(name, row));
        Ok(Reply::Array(fitting.map(|(name, _)| Reply::bulk(name.as_bytes())).collect()))
    };
    match filter {
        [] => names(&|_, _| true),
        [word, kind, what] if word.eq_ignore_ascii_case(b"filterby") => match kind.to_ascii_lowercase().as_slice() {
            b"pattern" => names(&|name, _| glob::glob(what, name.as_bytes())),
            b"aclcat" => {
                let category = std::str::from_utf8(what).unwrap_or_default().to_ascii_lowercase();
                let known = about::CATEGORIES.contains(&category.as_str());
                names(&|_, row| known && about::is_in(row, &category))
            }
            b"module" => names(&|_, _| false),
            _ => Err(Refused::Syntax),
        },
        _ => Err(Refused::Syntax),
    }
}

/// The names of all commands, and of subcommands with their command's before them; each with the row that tells about it.
fn all_names() -> impl Iterator<Item = (String, &'static Command)> {
    all().flat_map(|row| {
        let of_subs = containers::subs(row).iter().map(move |sub| (format!("{}|{}", row.name, sub.name), row));
        [(row.name.to_owned(), row)].into_iter().chain(of_subs)
    })
}

/// The row of a command, or of a subcommand by its name with its command's before it.
fn named(name: &[u8]) -> Reply {
    if let Some(row) = find(name) {
        return info(row);
    }
    let mut parts = name.split(|byte| *byte == b'|');
    let (Some(name), Some(sub), None) = (parts.next(), parts.next(), parts.next()) else { return Reply::Nil };
    let Some(row) = find(name) else { return Reply::Nil };
    let subs = containers::subs(row).iter();
    let mut found = subs.filter(|one| one.name.as_bytes().eq_ignore_ascii_case(sub));
    found.next().map_or(Reply::Nil, |one| info_of_sub(row, one))
}

fn info(row: &'static Command) -> Reply {
    let subs = containers::subs(row).iter().map(|one| info_of_sub(row, one)).collect();
    told(row, row.name, row.arity, subs)
}

/// A subcommand with a row of its own is told by it; another is like its command.
fn info_of_sub(row: &'static Command, sub: &containers::Sub) -> Reply {
    let name = format!("{}|{}", row.name, sub.name);
    let own = super::all().find(|one| one.name == name).unwrap_or(row);
    told(own, &name, sub.arity, Vec::new())
}

fn told(row: &'static Command, name: &str, arity: i16, subs: Vec<Reply>) -> Reply {
    let (first, last, step) = row.keys.shown();
    let categories = about::CATEGORIES.into_iter().zip(about::SHOWN).filter(|(name, _)| about::is_in(row, name));
    Reply::Array(vec![
        Reply::bulk(name.as_bytes()),
        Reply::Int(i64::from(arity)),
        Reply::Set(row.flags.split_whitespace().map(Reply::Simple).collect()),
        Reply::Int(i64::from(first)),
        Reply::Int(i64::from(last)),
        Reply::Int(i64::from(step)),
        Reply::Set(categories.map(|(_, shown)| Reply::Simple(shown)).collect()),
        Reply::Set(Vec::new()),
        Reply::Set(about::key_specs(row)),
        Reply::Set(subs),
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
    // A script may be called without keys: none is an answer then.
    let may_lack = row.flags.split(' ').any(|flag| flag == "no_mandatory_keys");
    match prefix::key_positions(row, call).next() {
        None if !may_lack => Err(Refused::Text("ERR The command has no key arguments".to_owned())),
        _ => Ok(row),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script may have no keys; a command that can have none is refused.
    #[test]
    fn keys_of_calls_without_keys() {
        let keys = |call: &[&str]| {
            let words: Vec<&[u8]> = ["COMMAND", "GETKEYS"].iter().chain(call).map(|word| word.as_bytes()).collect();
            command(&words)
        };
        assert_eq!(keys(&["EVAL", "return 1", "0", "a"]), Ok(Reply::Array(Vec::new())));
        assert_eq!(keys(&["EVAL", "return 1", "1", "a"]), Ok(Reply::Array(vec![Reply::bulk(b"a")])));
        assert_eq!(keys(&["TIME"]), Err(Refused::Text("ERR The command has no key arguments".to_owned())));
    }
}
