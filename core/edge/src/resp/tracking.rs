//! CLIENT TRACKING: which of a connection's reads its client keeps, and must hear of when they change.
//!
//! A read is noted before it is sent on, so that no change is missed. A change may be heard of while the read's answer is
//! still on its way; the answer may or may not show it. The client is told then, for the sake of what it read before, and
//! once more behind the answer: an invalidation too many costs a read, one too few a stale value.

use super::session::{Session, error, lower};
use data::{Command, Refused, Reply};

/// How a connection's reads are tracked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracking {
    /// The client that gets the invalidations; this one if zero.
    pub redirect: u64,
    pub mode: Mode,
    /// What the client changes by itself it needn't hear of.
    pub noloop: bool,
    /// The other client is gone, and this one was told so.
    pub broken: bool,
    /// CLIENT CACHING was said: the next command is an exception.
    caching: bool,
}

/// Which reads are tracked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// All.
    #[default]
    All,
    /// Those behind CLIENT CACHING YES.
    OptIn,
    /// All but those behind CLIENT CACHING NO.
    OptOut,
    /// None: every key that begins with one of these is heard of.
    Broadcast(Vec<Vec<u8>>),
}

/// A key that was invalidated while a read was on its way; any key if none is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Again {
    /// The read.
    seq: u64,
    key: Option<Box<[u8]>>,
}

/// Keys to be named once more; beyond that, all are meant.
const AGAIN_COUNT_MAX: usize = 1024;

/// The options of a call of CLIENT TRACKING.
#[derive(Debug, Default)]
struct Options {
    redirect: u64,
    broadcast: bool,
    opt_in: bool,
    opt_out: bool,
    noloop: bool,
    prefixes: Vec<Vec<u8>>,
}

impl Options {
    fn parse(words: &[&[u8]], is_client: impl Fn(u64) -> bool) -> Result<Self, Refused> {
        let mut options = Self::default();
        let mut rest = words;
        while let Some(word) = rest.first() {
            match (lower(word).as_str(), rest) {
                ("redirect", [_, id, ..]) => {
                    if options.redirect != 0 {
                        return Err(text("ERR A client can only redirect to a single other client"));
                    }
                    let id = super::parse::integer(id).ok_or(Refused::NotAnInteger)?;
                    let id = u64::try_from(id).ok().filter(|id| is_client(*id));
                    options.redirect =
                        id.ok_or_else(|| text("ERR The client ID you want redirect to does not exist"))?;
                    rest = &rest[1..];
                }
                ("prefix", [_, prefix, ..]) => {
                    options.prefixes.push(prefix.to_vec());
                    rest = &rest[1..];
                }
                ("bcast", _) => options.broadcast = true,
                ("optin", _) => options.opt_in = true,
                ("optout", _) => options.opt_out = true,
                ("noloop", _) => options.noloop = true,
                _ => return Err(Refused::Syntax),
            }
            rest = &rest[1..];
        }
        Ok(options)
    }

    /// The tracking that these options make of the former one, which must agree with them.
    fn apply(self, former: Option<&Tracking>) -> Result<Tracking, Refused> {
        if !self.broadcast && !self.prefixes.is_empty() {
            return Err(text("ERR PREFIX option requires BCAST mode to be enabled"));
        }
        let mode = former.map(|former| &former.mode);
        if mode.is_some_and(|mode| matches!(mode, Mode::Broadcast(_)) != self.broadcast) {
            return Err(text(
                "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling \
                 it with a different mode.",
            ));
        }
        if self.broadcast && (self.opt_in || self.opt_out) {
            return Err(text("ERR OPTIN and OPTOUT are not compatible with BCAST"));
        }
        if self.opt_in && self.opt_out {
            return Err(text("ERR You can't specify both OPTIN mode and OPTOUT mode"));
        }
        if (self.opt_in && mode == Some(&Mode::OptOut)) || (self.opt_out && mode == Some(&Mode::OptIn)) {
            return Err(text(
                "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it \
                 with a different mode.",
            ));
        }
        let kept: &[Vec<u8>] = if let Some(Mode::Broadcast(kept)) = mode { kept } else { &[] };
        let mode = match (self.opt_in, self.opt_out) {
            _ if self.broadcast => Mode::Broadcast(all_prefixes(kept, self.prefixes)?),
            (true, _) => Mode::OptIn,
            (_, true) => Mode::OptOut,
            _ => Mode::All,
        };
        Ok(Tracking { redirect: self.redirect, mode, noloop: self.noloop, broken: false, caching: false })
    }
}

/// The prefixes so far with new ones, none of which may begin with another; without any, the empty one.
fn all_prefixes(kept: &[Vec<u8>], new: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Refused> {
    let overlap = |a: &[u8], b: &[u8]| a.starts_with(b) || b.starts_with(a);
    let refusal = |one: &[u8], which: &str, other: &[u8]| {
        let (one, other) = (String::from_utf8_lossy(one), String::from_utf8_lossy(other));
        let why = "Prefixes for a single client must not overlap.";
        Refused::Text(format!("ERR Prefix '{one}' overlaps with {which} prefix '{other}'. {why}"))
    };
    for (at, prefix) in new.iter().enumerate() {
        if let Some(other) = kept.iter().find(|other| overlap(prefix, other)) {
            return Err(refusal(prefix, "an existing", other));
        }
        if let Some(other) = new[at + 1..].iter().find(|other| overlap(prefix, other)) {
            return Err(refusal(prefix, "another provided", other));
        }
    }
    let all: Vec<Vec<u8>> = kept.iter().cloned().chain(new).collect();
    Ok(if all.is_empty() { vec![Vec::new()] } else { all })
}

impl Session {
    /// How this connection's reads are tracked, if they are.
    #[must_use]
    pub fn tracking(&self) -> Option<&Tracking> {
        self.tracking.as_deref()
    }

    /// CLIENT TRACKING; `args` with both words. `is_client` tells whether a client of this number is connected.
    pub fn track(&mut self, args: &[&[u8]], is_client: impl Fn(u64) -> bool) -> Reply {
        let options = match Options::parse(&args[3..], is_client) {
            Ok(options) => options,
            Err(refused) => return Reply::Error(refused),
        };
        match lower(args[2]).as_str() {
            "on" => match options.apply(self.tracking()) {
                Ok(tracking) => self.tracking = Some(Box::new(tracking)),
                Err(refused) => return Reply::Error(refused),
            },
            "off" => drop(self.stop_tracking()),
            _ => return Reply::Error(Refused::Syntax),
        }
        Reply::Ok
    }

    /// Nothing is tracked any more; how it was.
    pub fn stop_tracking(&mut self) -> Option<Box<Tracking>> {
        self.again.clear();
        self.last_read = None;
        self.tracking.take()
    }

    /// Invalidations can't go where they should.
    pub fn break_redirect(&mut self) {
        self.tracking.iter_mut().for_each(|tracking| tracking.broken = true);
    }

    /// The client is about to be told that a key has changed, or any key: once more, if a read is on its way that may not
    /// show it.
    pub fn note_invalidation(&mut self, key: Option<&[u8]>) {
        let Some(seq) = self.last_read.filter(|seq| *seq >= self.head()) else { return };
        if self.again.len() >= AGAIN_COUNT_MAX {
            self.again = vec![Again { seq, key: None }];
        } else {
            self.again.push(Again { seq, key: key.map(Box::from) });
        }
    }

    /// True if something is to be told once more.
    #[must_use]
    pub fn owes_again(&self) -> bool {
        !self.again.is_empty()
    }

    /// What is to be told once more, for the reads that were on their way are answered: keys, or all if that is one of them.
    pub fn take_again(&mut self) -> Vec<Option<Box<[u8]>>> {
        let head = self.head();
        self.again.extract_if(.., |one| one.seq < head).map(|one| one.key).collect()
    }

    /// CLIENT CACHING.
    pub(super) fn caching(&mut self, word: &[u8]) -> Reply {
        let (wanted, refusal) = match lower(word).as_str() {
            _ if self.tracking.is_none() => {
                return error(
                    "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode \
                     enabled",
                );
            }
            "yes" => (Mode::OptIn, "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode."),
            "no" => (Mode::OptOut, "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode."),
            _ => return Reply::Error(Refused::Syntax),
        };
        match self.tracking.as_mut().filter(|tracking| tracking.mode == wanted) {
            Some(tracking) => {
                tracking.caching = true;
                Reply::Ok
            }
            None => error(refusal),
        }
    }

    /// CLIENT GETREDIR.
    pub(super) fn redirect(&self) -> Reply {
        Reply::Int(self.tracking().map_or(-1, |tracking| i64::try_from(tracking.redirect).unwrap_or(i64::MAX)))
    }

    /// CLIENT TRACKINGINFO.
    pub(super) fn tracking_info(&self) -> Reply {
        let (mut flags, mut prefixes) = (Vec::new(), Vec::new());
        match self.tracking() {
            None => flags.push("off"),
            Some(Tracking { mode, noloop, broken, caching, .. }) => {
                flags.push("on");
                match mode {
                    Mode::All => {}
                    Mode::OptIn => flags.extend(["optin", "caching-yes"].into_iter().take(1 + usize::from(*caching))),
                    Mode::OptOut => flags.extend(["optout", "caching-no"].into_iter().take(1 + usize::from(*caching))),
                    Mode::Broadcast(all) => {
                        flags.push("bcast");
                        prefixes = all.iter().map(|one| Reply::bulk(one)).collect();
                    }
                }
                flags.extend(noloop.then_some("noloop").into_iter().chain(broken.then_some("broken_redirect")));
            }
        }
        let flags = flags.into_iter().map(|flag| Reply::bulk(flag.as_bytes())).collect();
        Reply::Map(vec![
            (Reply::bulk(b"flags"), Reply::Set(flags)),
            (Reply::bulk(b"redirect"), self.redirect()),
            (Reply::bulk(b"prefixes"), Reply::Array(prefixes)),
        ])
    }

    /// A command is about to be handed out under `seq`: whether its keys are to be noted.
    pub(super) fn note_read(&mut self, command: &Command, seq: u64) -> bool {
        let Some(tracking) = &self.tracking else { return false };
        // A script reads its keys and may not be flagged so.
        if !command.is_readonly() && command.group != "scripting" {
            return false;
        }
        let (noted, shown) = match tracking.mode {
            Mode::All => (true, true),
            Mode::OptIn => (tracking.caching, tracking.caching),
            Mode::OptOut => (!tracking.caching, !tracking.caching),
            Mode::Broadcast(_) => (false, true),
        };
        if shown {
            self.last_read = Some(seq);
        }
        noted
    }

    /// A command has been taken: what CLIENT CACHING said was for it, or is for the transaction that it is part of.
    pub(super) fn forget_caching(&mut self, command: &Command) {
        if let Some(tracking) = self.tracking.as_mut().filter(|tracking| tracking.caching)
            && self.transaction.is_none()
            && command.name != "client"
        {
            tracking.caching = false;
        }
    }
}

fn text(text: &str) -> Refused {
    Refused::Text(text.to_owned())
}
