//! Answers about locks as JSON, and as statuses of HTTP.
//!
//! Numbers of 64 bits (tokens, fences, versions) are strings of digits: a number of JavaScript, which many readers of JSON make of it,
//! holds 53 bits, and a rounded token is another token.

use super::{JSON, respond, spelling};
use bytes::Bytes;
use data::{Refused, Reply};
use http_body_util::Full;
use hyper::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};

/// Something that isn't done: the status, one word for programs, and what happened, why, and what to do.
#[derive(Debug)]
pub struct Problem {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// What the node refused.
    pub fn of(refused: &Refused) -> Self {
        let text = refused.to_string();
        let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
        let (status, code) = match word {
            "LOST" => (StatusCode::GONE, "lost"),
            "UNKNOWN" | "INDOUBT" => (StatusCode::GATEWAY_TIMEOUT, "unknown"),
            "NOQUORUM" => (StatusCode::SERVICE_UNAVAILABLE, "no_quorum"),
            "OVERLOADED" => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
            "MISCONF" => (StatusCode::INSUFFICIENT_STORAGE, "disk_full"),
            "ERR" => (StatusCode::BAD_REQUEST, "bad_request"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        Self::new(status, code, rest)
    }

    pub fn respond(self) -> Response<Full<Bytes>> {
        let Self { status, code, message } = self;
        let mut response = respond(status, JSON, line(&json!({ "error": code, "message": message })));
        let headers = response.headers_mut();
        match status {
            StatusCode::SERVICE_UNAVAILABLE => drop(headers.insert(RETRY_AFTER, HeaderValue::from_static("1"))),
            StatusCode::UNAUTHORIZED => drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            StatusCode::METHOD_NOT_ALLOWED => {
                let allowed = if code == READ_ONLY { "GET, HEAD" } else { "POST" };
                headers.insert(ALLOW, HeaderValue::from_static(allowed));
            }
            _ => {}
        }
        response
    }
}

/// The code of a method that changes, where there is nothing to be changed.
pub const READ_ONLY: &str = "read_only";

/// An answer of the node about the lock `name`.
pub fn answer(name: &[u8], reply: Reply) -> Result<Response<Full<Bytes>>, Problem> {
    let value = match reply {
        Reply::Error(refused) => return Err(Problem::of(&refused)),
        Reply::Nil | Reply::NilArray => {
            let message = "others hold the lock; nothing was changed; ask again later, or with wait_ms";
            return Err(Problem::new(StatusCode::CONFLICT, "refused", message));
        }
        Reply::Array(grant) => {
            let fields = ["token", "fence", "remaining_ms"].into_iter().zip(grant);
            object(name, fields.map(|(field, value)| (field.to_owned(), value)))
        }
        Reply::Map(pairs) => object(name, pairs.into_iter().map(|(field, value)| (word(&field), value))),
        other => other_value("", other),
    };
    Ok(respond(StatusCode::OK, JSON, line(&value)))
}

/// What was renewed, or released.
pub fn done(field: &str, reply: Reply) -> Result<Response<Full<Bytes>>, Problem> {
    match reply {
        Reply::Error(refused) => Err(Problem::of(&refused)),
        Reply::Int(1) if field == "released" => Ok(respond(StatusCode::OK, JSON, line(&json!({ "released": true })))),
        reply => Ok(respond(StatusCode::OK, JSON, line(&json!({ field: other_value(field, reply) })))),
    }
}

/// The list of locks.
pub fn list(reply: Reply) -> Result<Response<Full<Bytes>>, Problem> {
    let locks = match reply {
        Reply::Error(refused) => return Err(Problem::of(&refused)),
        Reply::Array(locks) => locks,
        _ => Vec::new(),
    };
    let one = |lock: Reply| {
        let Reply::Map(pairs) = lock else { return Value::Null };
        let name = pairs.iter().find(|(field, _)| word(field) == "name").map(|(_, name)| bytes(name));
        object(&name.unwrap_or_default(), pairs.into_iter().map(|(field, value)| (word(&field), value)))
    };
    let locks: Vec<Value> = locks.into_iter().map(one).collect();
    Ok(respond(StatusCode::OK, JSON, line(&json!({ "locks": locks }))))
}

/// Fields about a lock, with its name, and its path for names that are no text.
fn object(name: &[u8], fields: impl Iterator<Item = (String, Reply)>) -> Value {
    let mut all = fields_of(fields);
    all.insert("name".to_owned(), String::from_utf8_lossy(name).into());
    all.insert("path".to_owned(), format!("/v1/locks/{}", spelling::encode(name)).into());
    Value::Object(all)
}

fn fields_of(fields: impl Iterator<Item = (String, Reply)>) -> Map<String, Value> {
    fields
        .map(|(field, value)| {
            let value = other_value(&field, value);
            (field, value)
        })
        .collect()
}

fn other_value(field: &str, reply: Reply) -> Value {
    match reply {
        Reply::Int(number) if ["token", "fence", "version"].contains(&field) => number.to_string().into(),
        Reply::Int(number) => number.into(),
        Reply::Array(all) => all.into_iter().map(|one| other_value("", one)).collect(),
        Reply::Map(pairs) => Value::Object(fields_of(pairs.into_iter().map(|(field, value)| (word(&field), value)))),
        Reply::Nil | Reply::NilArray => Value::Null,
        other => String::from_utf8_lossy(&bytes(&other)).into(),
    }
}

fn bytes(reply: &Reply) -> Vec<u8> {
    match reply {
        Reply::Bulk(blob) => blob.as_bytes().to_vec(),
        Reply::Simple(text) => text.as_bytes().to_vec(),
        _ => Vec::new(),
    }
}

fn word(reply: &Reply) -> String {
    String::from_utf8_lossy(&bytes(reply)).into_owned()
}

fn line(value: &Value) -> String {
    format!("{value}\n")
}
