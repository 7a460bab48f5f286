//! Commands with subcommands, as data: which there are, how many arguments they take, and what HELP says.
//!
//! An unknown subcommand is refused where an unknown command is, before it runs or is queued by MULTI. DEBUG is not
//! here: in Redis too it reads its words by itself.

use super::{Command, ID_MAX, memory};
use crate::{Refused, Reply};

/// A subcommand.
#[derive(Debug)]
pub struct Sub {
    pub name: &'static str,
    /// As for commands, both words included.
    pub arity: i16,
    /// The lines of HELP.
    pub help: &'static [&'static str],
}

/// Checks the subcommand of a call, if its command has any, and tells its place among them; `args` with the name.
pub fn check(command: &Command, args: &[&[u8]]) -> Result<Option<usize>, Refused> {
    let Some(Container { subs, .. }) = of(command) else { return Ok(None) };
    let Some(word) = args.get(1) else { return Ok(None) };
    let Some(at) = subs.iter().position(|sub| word.eq_ignore_ascii_case(sub.name.as_bytes())) else {
        let word = String::from_utf8_lossy(&word[..word.len().min(128)]);
        let name = command.name.to_uppercase();
        return Err(Refused::Text(format!("ERR unknown subcommand '{word}'. Try {name} HELP.")));
    };
    let wanted = usize::from(subs[at].arity.unsigned_abs());
    let fits = if subs[at].arity < 0 { args.len() >= wanted } else { args.len() == wanted };
    if fits { Ok(Some(at)) } else { Err(Refused::Arity(format!("{}|{}", command.name, subs[at].name))) }
}

/// The name of a command with its subcommand, which stands at a place among them if there is one: "client|list".
#[must_use]
pub fn full_name(command: &Command, sub: Option<usize>) -> String {
    let sub = sub.and_then(|at| of(command)?.subs.get(at));
    sub.map_or_else(|| command.name.to_owned(), |sub| format!("{}|{}", command.name, sub.name))
}

/// True if a command has subcommands that are known here.
#[must_use]
pub fn has(command: &Command) -> bool {
    of(command).is_some()
}

/// The subcommands of a command.
pub(super) fn subs(command: &Command) -> &'static [Sub] {
    of(command).map_or(&[], |container| container.subs)
}

/// What HELP of a command answers.
#[must_use]
pub fn help(command: &Command) -> Reply {
    let Some(Container { head, subs, .. }) = of(command) else { return Reply::Array(Vec::new()) };
    let lines = subs.iter().flat_map(|sub| sub.help);
    Reply::Array([head].into_iter().chain(lines).map(|line| Reply::Simple(line)).collect())
}

struct Container {
    id: u16,
    head: &'static str,
    subs: &'static [Sub],
}

fn of(command: &Command) -> Option<&'static Container> {
    BY_ID[usize::from(command.id)]
}

static BY_ID: [Option<&'static Container>; ID_MAX] = index();

const fn index() -> [Option<&'static Container>; ID_MAX] {
    let mut index = [None; ID_MAX];
    let mut at = 0;
    while at < CONTAINERS.len() {
        index[CONTAINERS[at].id as usize] = Some(&CONTAINERS[at]);
        at += 1;
    }
    index
}

pub(super) const fn sub(name: &'static str, arity: i16, help: &'static [&'static str]) -> Sub {
    Sub { name, arity, help }
}

pub(super) const HELP: Sub = sub("help", 2, &["HELP", "    Prints this help."]);

static CONTAINERS: [Container; 15] = [
    Container {
        id: 800,
        head: "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        subs: &memory::subs::MEMORY,
    },
    Container {
        id: 802,
        head: "LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        subs: &memory::subs::LATENCY,
    },
    Container {
        id: 815,
        head: "MODULE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        subs: &memory::subs::MODULE,
    },
    Container {
        id: 816,
        head: "ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        subs: &memory::subs::ACL,
    },
    Container {
        id: 407,
        head: "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        subs: &[
            sub(
                "caching",
                3,
                &["CACHING (YES|NO)", "    Track the keys of the next command, or not, in OPTIN or OPTOUT mode."],
            ),
            sub("getredir", 2, &["GETREDIR", "    Return the ID of the client that gets this one's invalidations."]),
            sub("getname", 2, &["GETNAME", "    Return the name of the current connection."]),
            sub("id", 2, &["ID", "    Return the ID of the current connection."]),
            sub("info", 2, &["INFO", "    Return information about the current client connection."]),
            sub(
                "kill",
                -3,
                &[
                    "KILL <ip:port>",
                    "    Kill connection made from <ip:port>.",
                    "KILL <option> <value> [<option> <value> [...]]",
                    "    Kill connections. Options are: ADDR, LADDR, TYPE, USER, SKIPME, ID.",
                ],
            ),
            sub("list", -2, &["LIST [TYPE <type> | ID <id> ...]", "    Return information about client connections."]),
            sub(
                "pause",
                -3,
                &[
                    "PAUSE <timeout> [WRITE|ALL]",
                    "    Let the commands of this node's clients wait for <timeout> milliseconds.",
                ],
            ),
            sub("unpause", 2, &["UNPAUSE", "    End CLIENT PAUSE."]),
            sub(
                "tracking",
                -3,
                &[
                    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
                    "         [OPTIN] [OPTOUT] [NOLOOP]",
                    "    Tell this client which of the keys that it has read are changed.",
                ],
            ),
            sub("trackinginfo", 2, &["TRACKINGINFO", "    Return how this client's keys are tracked."]),
            sub("no-evict", 3, &["NO-EVICT (ON|OFF)", "    Accepted; nothing is ever evicted."]),
            sub("no-touch", 3, &["NO-TOUCH (ON|OFF)", "    Accepted; reads leave no trace."]),
            sub("reply", 3, &["REPLY (ON|OFF|SKIP)", "    Control the replies sent to the current connection."]),
            sub("setinfo", 4, &["SETINFO <option> <value>", "    Set LIB-NAME or LIB-VER of this connection."]),
            sub(
                "unblock",
                -3,
                &[
                    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
                    "    Unblock the client that waits in a blocking command, as if its time were over or with an error.",
                ],
            ),
            sub("setname", 3, &["SETNAME <name>", "    Assign the name <name> to the current connection."]),
            HELP,
        ],
    },
    Container {
        id: 413,
        head: "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        subs: &[
            sub("count", 2, &["COUNT", "    Return the total number of commands."]),
            sub("docs", -2, &["DOCS [<command-name> ...]", "    Return documentation of commands."]),
            sub("getkeys", -4, &["GETKEYS <full-command>", "    Return the keys from a full command."]),
            sub("info", -2, &["INFO [<command-name> ...]", "    Return details about commands."]),
            sub(
                "getkeysandflags",
                -4,
                &[
                    "GETKEYSANDFLAGS <full-command>",
                    "    Return the keys from a full command, and what it does to each.",
                ],
            ),
            sub(
                "list",
                -2,
                &[
                    "LIST [FILTERBY (MODULE <module-name> | ACLCAT <category> | PATTERN <pattern>)]",
                    "    Return the names of all commands, or of some.",
                ],
            ),
            HELP,
        ],
    },
    Container {
        id: 414,
        head: "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        subs: &[
            sub(
                "get",
                -3,
                &["GET <pattern>", "    Return parameters matching the glob-like <pattern> and their values."],
            ),
            sub("set", -4, &["SET <directive> <value>", "    Set the configuration <directive> to <value>."]),
            sub("resetstat", 2, &["RESETSTAT", "    Reset statistics reported by the INFO command."]),
            sub("rewrite", 2, &["REWRITE", "    Refused: there is no configuration file."]),
            HELP,
        ],
    },
    Container {
        id: 240,
        head: "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        subs: &[
            sub(
                "encoding",
                3,
                &["ENCODING <key>", "    Return the kind of internal representation of the value of <key>."],
            ),
            sub(
                "freq",
                3,
                &["FREQ <key>", "    Return the counter of the uses of <key>, under a policy that keeps one."],
            ),
            sub("idletime", 3, &["IDLETIME <key>", "    Return the seconds since <key> was last used."]),
            sub("refcount", 3, &["REFCOUNT <key>", "    Return the number of references of the value of <key>."]),
            HELP,
        ],
    },
    Container {
        id: 417,
        head: "SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        subs: &[
            sub(
                "get",
                -2,
                &[
                    "GET [<count>]",
                    "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
                    "    Entries are made of:",
                    "    id, timestamp, time in microseconds, arguments array, client IP and port,",
                    "    client name",
                ],
            ),
            sub("len", 2, &["LEN", "    Return the length of the slowlog."]),
            sub("reset", 2, &["RESET", "    Reset the slowlog."]),
            HELP,
        ],
    },
    Container {
        id: super::scripts::SCRIPT_ID,
        head: "SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        subs: &super::scripts::SCRIPT_SUBS,
    },
    Container {
        id: super::scripts::FUNCTION_ID,
        head: "FUNCTION <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        subs: &super::scripts::FUNCTION_SUBS,
    },
    Container {
        id: super::streams::XGROUP_ID,
        head: "XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        subs: &super::streams::XGROUP_SUBS,
    },
    Container {
        id: super::streams::XINFO_ID,
        head: "XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        subs: &super::streams::XINFO_SUBS,
    },
    Container {
        id: super::pubsub::PUBSUB_ID,
        head: "PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        subs: &[
            sub("channels", -2, &["CHANNELS [<pattern>]", "    Return the channels that somebody listens to."]),
            sub("numpat", 2, &["NUMPAT", "    Return how many patterns somebody listens to."]),
            sub("numsub", -2, &["NUMSUB [<channel> ...]", "    Return how many clients listen to each channel."]),
            sub(
                "shardchannels",
                -2,
                &["SHARDCHANNELS [<pattern>]", "    Return the shard channels that somebody listens to."],
            ),
            sub(
                "shardnumsub",
                -2,
                &["SHARDNUMSUB [<shardchannel> ...]", "    Return how many clients listen to each shard channel."],
            ),
            HELP,
        ],
    },
    Container {
        id: super::cluster::CLUSTER_ID,
        head: "CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        subs: &super::cluster::SUBS,
    },
];

#[cfg(test)]
mod tests {
    use super::super::{by_id, find};
    use super::*;

    fn refusal(words: &str) -> Option<String> {
        let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        check(find(args[0]).expect("a command"), &args).err().map(|refused| refused.to_string())
    }

    #[test]
    fn containers_name_their_commands() {
        for container in &CONTAINERS {
            let command = by_id(u64::from(container.id)).expect("a container is a command");
            assert!(container.head.starts_with(&format!("{} <", command.name.to_uppercase())), "{}", command.name);
        }
    }

    #[test]
    fn subcommands_are_known_by_name_and_arity() {
        assert_eq!(refusal("client list"), None);
        assert_eq!(refusal("CLIENT SetName a"), None);
        assert_eq!(refusal("command"), None);
        assert_eq!(refusal("get x"), None);
        assert_eq!(refusal("client Foo x").as_deref(), Some("ERR unknown subcommand 'Foo'. Try CLIENT HELP."));
        let arity = "ERR wrong number of arguments for 'client|setname' command";
        assert_eq!(refusal("client setname").as_deref(), Some(arity));
        assert_eq!(
            refusal("slowlog len x").as_deref(),
            Some("ERR wrong number of arguments for 'slowlog|len' command")
        );
    }
}
