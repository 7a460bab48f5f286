//! Locks over HTTP, in JSON: LOCK.* for those who speak no RESP, with the same meaning and the same bounds.
//!
//! ```text
//! POST /v1/locks/{name}:acquire {owner, ttl_ms, wait_ms?, shared? | permits?: {count, of}, token?, id?, fencing?: [key]}
//! POST /v1/locks/{name}:renew {owner, token, ttl_ms}       POST /v1/locks/{name}:release {owner, token}
//! GET /v1/locks/{name}[?newer_than=version&wait_ms=n]      GET /v1/locks[?match=pattern&count=n]
//! ```
//!
//! A request becomes the words of a LOCK command, so that what is refused there is refused here, for the same reason. The lane that
//! has the locks is asked by its mailbox; who hangs up before the answer has come loses its place in line.

use super::told::{self, Problem, READ_ONLY};
use super::visit::Visit;
use super::{port, spelling};
use crate::lane::{CALLERS_LANE, caller};
use crate::shared::{Input, Phase, Shared};
use base::ClientId;
use base::limits::LOCK_WAIT_MS_MAX;
use bytes::Bytes;
use data::Reply;
use data::command::locks::Ask;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::oneshot;

const ROOT: &str = "/v1/locks";

type Answer = Result<Response<Full<Bytes>>, Problem>;

/// True for the paths of locks.
pub fn serves(path: &str) -> bool {
    path.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Serves one request.
pub async fn serve(shared: &Arc<Shared>, visit: &Visit, request: Request<Incoming>) -> Response<Full<Bytes>> {
    try_serve(shared, visit, request).await.unwrap_or_else(Problem::respond)
}

async fn try_serve(shared: &Arc<Shared>, visit: &Visit, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    check_password(shared, &head.headers)?;
    let target = Target::of(&head.method, head.uri.path(), head.uri.query().unwrap_or(""))?;
    let words = match &target {
        Target::Change { verb, name } => {
            port::check_change(&head.headers)?;
            port::check_json(&head.headers)?;
            verb.words(name, &port::read(body).await?)?
        }
        Target::Look { words, .. } => words.clone(),
    };
    let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let command = data::command::find(args[0]).expect("the first word is a command's name");
    let ask = Ask::parse(command, &args).map_err(|refused| Problem::of(&refused))?;
    let reply = put(shared, visit, ask).await?;
    match target {
        Target::Change { verb: Verb::Acquire, name } => told::answer(&name, reply),
        Target::Change { verb: Verb::Renew, .. } => told::done("remaining_ms", reply),
        Target::Change { verb: Verb::Release, .. } => told::done("released", reply),
        Target::Look { name: Some(name), .. } => told::answer(&name, reply),
        Target::Look { name: None, .. } => told::list(reply),
    }
}

/// Asks the lane that has the locks.
async fn put(shared: &Arc<Shared>, visit: &Visit, ask: Ask) -> Result<Reply, Problem> {
    let unavailable = |why: &str| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", why);
    if shared.phase() != Phase::Ready {
        return Err(unavailable("the node starts or stops; no lock was changed; ask another node, or this one later"));
    }
    let wait_ms = ask.wait_ms();
    let too_long = wait_ms > LOCK_WAIT_MS_MAX;
    let _guest = match Duration::from_millis(wait_ms) {
        Duration::ZERO => None,
        // The lane says so.
        _ if too_long => None,
        wait => Some(visit.wait(shared, wait).ok_or_else(|| {
            let why = "as many clients are here as maxclients allows; no lock was changed; send it again later";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", why)
        })?),
    };
    let caller = caller(shared.next_caller.fetch_add(1, Relaxed));
    let (answer, answered) = oneshot::channel();
    let mailbox = &shared.mailboxes[usize::from(CALLERS_LANE.0)];
    let mut call = Call { shared: shared.clone(), caller, answered: false };
    mailbox.put(Input::LockCall { caller, ask, answer });
    let reply = answered.await;
    call.answered = true;
    let why = "the node stops; what was asked for may or may not have taken effect; ask another node, under the same owner and id";
    reply.map_err(|_| Problem::new(StatusCode::GATEWAY_TIMEOUT, "unknown", why))
}

/// A call whose caller may hang up.
#[derive(Debug)]
struct Call {
    shared: Arc<Shared>,
    caller: ClientId,
    answered: bool,
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.answered {
            let mailbox = &self.shared.mailboxes[usize::from(CALLERS_LANE.0)];
            mailbox.put(Input::LockCallerGone(self.caller));
        }
    }
}

/// A node with a password asks for it here too.
fn check_password(shared: &Shared, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(password) = &shared.requirepass else { return Ok(()) };
    let given = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    // Hashes, so that the time of the comparison tells nothing.
    if given.is_some_and(|given| Sha256::digest(given) == Sha256::digest(password)) {
        return Ok(());
    }
    let message = "the node has a password: send it as `authorization: Bearer PASSWORD`";
    Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", message))
}

fn bad(message: impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_request", format!("{message}; no lock was changed"))
}

/// What a request is about.
#[derive(Debug, PartialEq)]
enum Target {
    Change { verb: Verb, name: Vec<u8> },
    Look { name: Option<Vec<u8>>, words: Vec<Vec<u8>> },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Verb {
    Acquire,
    Renew,
    Release,
}

impl Target {
    fn of(method: &Method, path: &str, query: &str) -> Result<Self, Problem> {
        let rest = path.strip_prefix(ROOT).unwrap_or_default();
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        if rest.contains('/') {
            let message = format!("there is no {path} here: a / in the name of a lock is written %2F");
            return Err(Problem::new(StatusCode::NOT_FOUND, "not_found", message));
        }
        let reads = *method == Method::GET || *method == Method::HEAD;
        let decode = |name: &str| spelling::decode(name).ok_or_else(|| bad("% stands before two hexadecimal digits"));
        match rest.rsplit_once(':') {
            _ if reads => {
                let name = (!rest.is_empty()).then(|| decode(rest)).transpose()?;
                let words = look(name.as_deref(), query)?;
                Ok(Self::Look { name, words })
            }
            Some((name, verb)) if *method == Method::POST => {
                let verb = Verb::of(verb).ok_or_else(|| {
                    let message = format!("a lock can't be asked to '{verb}': acquire, renew and release are there");
                    Problem::new(StatusCode::NOT_FOUND, "not_found", message)
                })?;
                Ok(Self::Change { verb, name: decode(name)? })
            }
            Some((_, verb)) if Verb::of(verb).is_some() => {
                let message = format!("{path} answers POST, not {method}");
                Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "post_only", message))
            }
            _ => {
                let message = format!(
                    "{path} answers GET and HEAD, not {method}; a change is {path}:acquire, :renew or :release"
                );
                Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, READ_ONLY, message))
            }
        }
    }
}

/// LOCK.INFO, LOCK.WATCH or LOCK.LIST.
fn look(name: Option<&[u8]>, query: &str) -> Result<Vec<Vec<u8>>, Problem> {
    let asked = spelling::questions(query).ok_or_else(|| bad("what stands behind the ? can't be read"))?;
    let known: [&str; 2] = if name.is_some() { ["newer_than", "wait_ms"] } else { ["match", "count"] };
    let mut values: [Option<Vec<u8>>; 2] = [None, None];
    for (field, value) in asked {
        let at = known.iter().position(|one| *one == field);
        let at = at.ok_or_else(|| bad(format!("there is no '{field}' here, but {} and {}", known[0], known[1])))?;
        if values[at].replace(value).is_some() {
            return Err(bad(format!("'{field}' stands there twice")));
        }
    }
    let [first, second] = values;
    let mut words: Vec<Vec<u8>> = Vec::new();
    match (name, first) {
        (None, like) => {
            words.push(b"LOCK.LIST".to_vec());
            words.extend(like.into_iter().flat_map(|like| [b"MATCH".to_vec(), like]));
            words.extend(second.into_iter().flat_map(|count| [b"COUNT".to_vec(), count]));
        }
        (Some(_), None) if second.is_some() => return Err(bad("wait_ms needs newer_than, the version that was seen")),
        (Some(name), None) => words.extend([b"LOCK.INFO".to_vec(), name.to_vec()]),
        (Some(name), Some(version)) => {
            words.extend([b"LOCK.WATCH".to_vec(), name.to_vec(), version]);
            words.extend(second.into_iter().flat_map(|wait| [b"WAIT".to_vec(), wait]));
        }
    }
    Ok(words)
}

impl Verb {
    const ALL: [(&str, Self); 3] = [("acquire", Self::Acquire), ("renew", Self::Renew), ("release", Self::Release)];

    fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| *name == word).map(|(_, verb)| *verb)
    }

    /// The command that a body asks for.
    fn words(self, name: &[u8], body: &[u8]) -> Result<Vec<Vec<u8>>, Problem> {
        let name = name.to_vec();
        Ok(match self {
            Self::Acquire => parse::<Acquire>(body)?.words(name)?,
            Self::Renew => {
                let Renew { owner, token, ttl_ms } = parse(body)?;
                vec![b"LOCK.RENEW".to_vec(), name, owner.into_bytes(), token.0.into_bytes(), ttl_ms.0.into_bytes()]
            }
            Self::Release => {
                let Release { owner, token } = parse(body)?;
                vec![b"LOCK.RELEASE".to_vec(), name, owner.into_bytes(), token.0.into_bytes()]
            }
        })
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    // The reader would take a list for the fields in their order, too.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(bad("the body is no JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| bad(format!("the body can't be understood: {error}")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Acquire {
    owner: String,
    ttl_ms: Number,
    wait_ms: Option<Number>,
    #[serde(default)]
    shared: bool,
    permits: Option<Permits>,
    token: Option<Number>,
    id: Option<String>,
    #[serde(default)]
    fencing: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Permits {
    count: Number,
    of: Number,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Renew {
    owner: String,
    token: Number,
    ttl_ms: Number,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    owner: String,
    token: Number,
}

impl Acquire {
    fn words(self, name: Vec<u8>) -> Result<Vec<Vec<u8>>, Problem> {
        let Self { owner, ttl_ms, wait_ms, shared, permits, token, id, fencing } = self;
        if shared && permits.is_some() {
            return Err(bad("a lock is shared or has permits, not both"));
        }
        let mut words = vec![b"LOCK.ACQUIRE".to_vec(), name, owner.into_bytes(), ttl_ms.0.into_bytes()];
        let mut option = |word: &str, values: &[String]| {
            words.push(word.as_bytes().to_vec());
            words.extend(values.iter().map(|value| value.clone().into_bytes()));
        };
        if let Some(Number(wait)) = wait_ms {
            option("WAIT", &[wait]);
        }
        if shared {
            option("SHARED", &[]);
        }
        if let Some(Permits { count, of }) = permits {
            option("PERMITS", &[count.0, "OF".to_owned(), of.0]);
        }
        if let Some(Number(token)) = token {
            option("TOKEN", &[token]);
        }
        if let Some(id) = id {
            option("ID", &[id]);
        }
        if !fencing.is_empty() {
            option("FENCING", &fencing);
        }
        Ok(words)
    }
}

/// A number that isn't negative, as JSON's or as a string of digits.
struct Number(String);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Seen;
        impl Visitor<'_> for Seen {
            type Value = Number;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a whole number that isn't negative, or a string of its digits")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
                Ok(Number(number.to_string()))
            }

            fn visit_str<E: Error>(self, digits: &str) -> Result<Number, E> {
                Ok(Number(digits.to_owned()))
            }
        }
        from.deserialize_any(Seen)
    }
}

/// The paths that are served here, with their methods.
#[cfg(test)]
pub fn routes() -> impl Iterator<Item = (String, &'static str)> {
    let looks = [ROOT.to_owned(), format!("{ROOT}/{{name}}")].map(|path| (path, "get"));
    looks.into_iter().chain(Verb::ALL.iter().map(|(word, _)| (format!("{ROOT}/{{name}}:{word}"), "post")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(method: &str, path: &str, query: &str) -> Result<Target, (u16, &'static str)> {
        let method = method.parse().expect("a method");
        Target::of(&method, path, query).map_err(|problem| (problem.status.as_u16(), problem.code))
    }

    fn change(verb: Verb, name: &str) -> Result<Target, (u16, &'static str)> {
        Ok(Target::Change { verb, name: name.into() })
    }

    fn asked(target: Result<Target, (u16, &'static str)>) -> String {
        let Ok(Target::Look { words, .. }) = target else { panic!("{target:?}") };
        words.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ")
    }

    fn words(verb: Verb, body: &str) -> Result<String, String> {
        let words = verb.words(b"l", body.as_bytes()).map_err(|problem| problem.message)?;
        Ok(words.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_path_names_a_lock_and_the_last_colon_what_is_done() {
        assert_eq!(target("POST", "/v1/locks/a:acquire", ""), change(Verb::Acquire, "a"));
        assert_eq!(target("POST", "/v1/locks/orders:7:renew", ""), change(Verb::Renew, "orders:7"));
        assert_eq!(target("POST", "/v1/locks/a%2Fb%3Arelease:release", ""), change(Verb::Release, "a/b:release"));
        assert_eq!(asked(target("GET", "/v1/locks/orders:acquire", "")), "LOCK.INFO orders:acquire");
        assert_eq!(asked(target("HEAD", "/v1/locks/a", "newer_than=7&wait_ms=50")), "LOCK.WATCH a 7 WAIT 50");
        assert_eq!(asked(target("GET", "/v1/locks", "count=3&match=a*")), "LOCK.LIST MATCH a* COUNT 3");
        assert_eq!(asked(target("GET", "/v1/locks/", "")), "LOCK.LIST");
        for (method, path, query, why) in [
            ("POST", "/v1/locks/a:steal", "", (404, "not_found")),
            ("POST", "/v1/locks/a/b:acquire", "", (404, "not_found")),
            ("POST", "/v1/locks/a", "", (405, READ_ONLY)),
            ("DELETE", "/v1/locks/a", "", (405, READ_ONLY)),
            ("PUT", "/v1/locks/a:acquire", "", (405, "post_only")),
            ("GET", "/v1/locks/%4", "", (400, "bad_request")),
            ("GET", "/v1/locks/a", "wait_ms=5", (400, "bad_request")),
            ("GET", "/v1/locks/a", "newer_than=5&newer_than=6", (400, "bad_request")),
            ("GET", "/v1/locks", "pattern=5", (400, "bad_request")),
        ] {
            assert_eq!(target(method, path, query), Err(why), "{method} {path} {query}");
        }
        assert!(serves("/v1/locks") && serves("/v1/locks/a") && !serves("/v1/lockspeople") && !serves("/v1"));
    }

    #[test]
    fn a_body_becomes_a_command() {
        let body = r#"{"owner":"o","ttl_ms":"500","wait_ms":7,"token":"9223372036854775807","id":"r1","shared":true}"#;
        let command = "LOCK.ACQUIRE l o 500 WAIT 7 SHARED TOKEN 9223372036854775807 ID r1";
        assert_eq!(words(Verb::Acquire, body), Ok(command.to_owned()));
        let body = r#"{"owner":"o","ttl_ms":500,"permits":{"count":2,"of":3}}"#;
        assert_eq!(words(Verb::Acquire, body), Ok("LOCK.ACQUIRE l o 500 PERMITS 2 OF 3".to_owned()));
        let body = r#"{"owner":"o","ttl_ms":500,"fencing":["a","WAIT"],"id":"r1"}"#;
        assert_eq!(words(Verb::Acquire, body), Ok("LOCK.ACQUIRE l o 500 ID r1 FENCING a WAIT".to_owned()));
        assert_eq!(words(Verb::Renew, r#"{"owner":"o","token":7,"ttl_ms":5}"#), Ok("LOCK.RENEW l o 7 5".to_owned()));
        assert_eq!(words(Verb::Release, r#"{"owner":"o","token":"7"}"#), Ok("LOCK.RELEASE l o 7".to_owned()));
    }

    #[test]
    fn a_body_that_makes_no_sense_is_refused_with_the_reason() {
        for (body, why) in [
            ("", "no JSON object"),
            ("[\"o\",5]", "no JSON object"),
            ("{", "EOF"),
            (r#"{"owner":"o"}"#, "missing field `ttl_ms`"),
            (r#"{"owner":"o","ttl_ms":-5}"#, "a whole number that isn't negative"),
            (r#"{"owner":"o","ttl_ms":1.5}"#, "a whole number that isn't negative"),
            (r#"{"owner":"o","ttl_ms":5,"ttl":5}"#, "unknown field `ttl`"),
            (r#"{"owner":"o","ttl_ms":5,"shared":true,"permits":{"count":1,"of":1}}"#, "not both"),
        ] {
            let told = words(Verb::Acquire, body).expect_err(body);
            assert!(told.contains(why) && told.ends_with("no lock was changed"), "{body}: {told}");
        }
    }
}
