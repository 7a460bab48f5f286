//! CLIENT, as far as it concerns one connection alone: names, whether replies are sent, and what it says of its cache.
//!
//! The table of subcommands has checked names and numbers of arguments before.

use super::session::{Kind, Muted, Session, error, lower};
use data::{Command, Refused, Reply};

/// True for a call of CLIENT that the binary answers, for it concerns other connections.
pub(super) fn is_for_node(command: &Command, args: &[Vec<u8>]) -> bool {
    let sub = args.get(1).map(|word| lower(word)).unwrap_or_default();
    let of_node = ["info", "kill", "list", "pause", "unpause", "unblock", "help"];
    command.name == "client" && of_node.contains(&sub.as_str())
}

impl Session {
    /// CLIENT subcommands that concern this connection alone; nothing for the others, and for REPLY OFF and SKIP.
    pub(super) fn client(&mut self, args: &[&[u8]]) -> Option<Reply> {
        match (lower(args[1]).as_str(), args) {
            ("id", [_, _]) => Some(Reply::Int(i64::try_from(self.id.0).unwrap_or(i64::MAX))),
            ("getname", [_, _]) => Some(if self.name.is_empty() { Reply::Nil } else { Reply::bulk(&self.name) }),
            ("setname", [_, _, name]) if printable(name) => {
                self.name = name.to_vec();
                Some(Reply::Ok)
            }
            ("setname", [_, _, _]) => {
                Some(error("ERR Client names cannot contain spaces, newlines or special characters."))
            }
            ("setinfo", [_, _, attribute, value]) => Some(self.set_info(&lower(attribute), value)),
            ("no-touch", [_, _, on]) => Some(switch(on, &mut self.no_touch)),
            ("no-evict", [_, _, on]) => Some(switch(on, &mut self.no_evict)),
            ("caching", [_, _, word]) => Some(self.caching(word)),
            ("getredir", [_, _]) => Some(self.redirect()),
            ("trackinginfo", [_, _]) => Some(self.tracking_info()),
            ("reply", [_, _, mode]) => match lower(mode).as_str() {
                "on" => {
                    self.muted = Muted::No;
                    Some(Reply::Ok)
                }
                "off" => {
                    self.muted = Muted::Yes;
                    None
                }
                "skip" => {
                    // This command is silent itself, and so is the next.
                    self.muted = Muted::Yes;
                    let seq = self.open(Kind::Plain);
                    self.on_reply(seq, Reply::Ok, &mut Vec::new());
                    self.muted = Muted::Next;
                    None
                }
                _ => Some(Reply::Error(Refused::Syntax)),
            },
            _ => None,
        }
    }

    fn set_info(&mut self, attribute: &str, value: &[u8]) -> Reply {
        if !printable(value) {
            return error(&format!("ERR {attribute} cannot contain spaces, newlines or special characters."));
        }
        match attribute {
            "lib-name" => self.lib_name = value.to_vec(),
            "lib-ver" => self.lib_ver = value.to_vec(),
            other => return error(&format!("ERR Unrecognized option '{other}'")),
        }
        Reply::Ok
    }
}

fn switch(word: &[u8], to: &mut bool) -> Reply {
    match lower(word).as_str() {
        "on" => *to = true,
        "off" => *to = false,
        _ => return Reply::Error(Refused::Syntax),
    }
    Reply::Ok
}

pub(super) fn printable(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}
