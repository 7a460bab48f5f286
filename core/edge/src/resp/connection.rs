//! Commands about the connection itself: who speaks, in which version, and how it comes back to where it began.

use super::client::printable;
use super::encode::Proto;
use super::session::{Muted, Session, error};
use base::limits::DATABASE_COUNT;
use data::{Command, Refused, Reply};

impl Session {
    /// Runs a command about this connection alone; nothing where the binary must answer, or nobody.
    pub(super) fn local(&mut self, command: &Command, args: &[&[u8]]) -> Option<Reply> {
        Some(match command.name {
            "ping" => match args.get(1) {
                _ if args.len() > 2 => Reply::Error(Refused::Arity("ping".to_owned())),
                _ if self.awaits_messages_alone() => Self::ping_of_listener(args),
                None => Reply::Simple("PONG"),
                Some(text) => Reply::bulk(text),
            },
            "echo" => Reply::bulk(args[1]),
            "hello" => self.hello(args),
            "auth" => self.auth(args),
            "readonly" | "readwrite" | "asking" => self.route_reads(command),
            _ => return self.client(args),
        })
    }

    fn hello(&mut self, args: &[&[u8]]) -> Reply {
        let mut proto = self.proto;
        if let Some(version) = args.get(1) {
            proto = match *version {
                b"2" => Proto::Two,
                b"3" => Proto::Three,
                other if super::parse::integer(other).is_some() => {
                    return error("NOPROTO unsupported protocol version");
                }
                _ => return error("ERR Protocol version is not an integer or out of range"),
            };
        }
        let (mut rest, mut name) = (args.get(2..).unwrap_or_default(), None);
        while let Some(option) = rest.first() {
            match (option.to_ascii_lowercase().as_slice(), rest) {
                (b"auth", [_, user, password, ..]) => {
                    if let Reply::Error(refused) = self.authenticate(user, password) {
                        return Reply::Error(refused);
                    }
                    rest = &rest[3..];
                }
                (b"setname", [_, given, ..]) => {
                    name = Some(given.to_vec());
                    rest = &rest[2..];
                }
                _ => {
                    let option = String::from_utf8_lossy(option);
                    return error(&format!("ERR Syntax error in HELLO option '{option}'"));
                }
            }
        }
        if !self.authenticated {
            return error(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
                 <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
                 the same time",
            );
        }
        if let Some(name) = name {
            if !printable(&name) {
                return error("ERR Client names cannot contain spaces, newlines or special characters.");
            }
            self.name = name;
        }
        self.proto = proto;
        let pair = |key: &str, value: Reply| (Reply::text(key), value);
        Reply::Map(vec![
            pair("server", Reply::text("redis")),
            pair("version", Reply::text("7.0.15")),
            pair("proto", Reply::Int(i64::from(self.resp()))),
            pair("id", Reply::Int(i64::try_from(self.id.0).unwrap_or(i64::MAX))),
            pair("mode", Reply::text(if self.cluster.is_some() { "cluster" } else { "standalone" })),
            pair("role", Reply::text("master")),
            pair("modules", Reply::Array(Vec::new())),
        ])
    }

    fn auth(&mut self, args: &[&[u8]]) -> Reply {
        match args {
            [_, password] if self.config.requirepass.is_none() => {
                let _ = password;
                error(
                    "ERR AUTH <password> called without any password configured for the default user. Are you sure \
                     your configuration is correct?",
                )
            }
            [_, password] => self.authenticate(b"default", password),
            [_, user, password] => self.authenticate(user, password),
            _ => Reply::Error(Refused::Syntax),
        }
    }

    fn authenticate(&mut self, user: &[u8], password: &[u8]) -> Reply {
        let right = self.config.requirepass.as_ref().is_none_or(|wanted| same(wanted, password));
        if user != b"default" || !right {
            return error("WRONGPASS invalid username-password pair or user is disabled.");
        }
        self.authenticated = true;
        Reply::Ok
    }

    pub(super) fn database(number: &[u8]) -> Result<u8, Refused> {
        let number = super::parse::integer(number).ok_or(Refused::NotAnInteger)?;
        let number = i32::try_from(number).map_err(|_| Refused::NotAnInt)?;
        u8::try_from(number).ok().filter(|db| *db < DATABASE_COUNT).ok_or(Refused::DbOutOfRange)
    }

    /// RESET; what listened, and what was tracked, is for the driver to forget.
    pub(super) fn reset(&mut self) {
        self.transaction = None;
        self.watched.clear();
        self.under = None;
        self.db = 0;
        self.proto = Proto::Two;
        self.name.clear();
        self.muted = Muted::No;
        (self.monitors, self.no_evict, self.no_touch) = (false, false, false);
        self.authenticated = self.config.requirepass.is_none();
        if let Some(view) = &mut self.cluster {
            view.readonly = false;
        }
    }
}

/// Compares without telling by its time where the first difference is.
fn same(wanted: &[u8], given: &[u8]) -> bool {
    wanted.len() == given.len() && wanted.iter().zip(given).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}
