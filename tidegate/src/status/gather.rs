//! How the other nodes stand: each is asked at its admin port, all at once, and none is waited for longer than a part of a second.

use super::document::document;
use crate::shared::{Shared, lock};
use base::NodeId;
use base::roster::Card;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// A node that needs longer is unreachable: the whole answer takes less than a second.
const ANSWER_TIME_MAX: Duration = Duration::from_millis(700);
/// What a sane node answers with is far below this.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The document of the whole cluster.
pub async fn gather(shared: &Arc<Shared>) -> Value {
    let roster = lock(&shared.roster).clone();
    let cards = roster.iter().flat_map(|roster| roster.cards()).filter(|(node, _)| **node != shared.node);
    let mut asked = JoinSet::new();
    let mut others: Vec<(NodeId, Card, Option<Value>)> = Vec::new();
    for (at, (node, card)) in cards.enumerate() {
        others.push((*node, card.clone(), None));
        let (node, admin) = (*node, card.admin.clone());
        asked.spawn(async move { (at, tokio::time::timeout(ANSWER_TIME_MAX, ask(node, &admin)).await) });
    }
    while let Some(done) = asked.join_next().await {
        if let Ok((at, Ok(Some(answer)))) = done {
            others[at].2 = Some(answer);
        }
    }
    remember_names(shared, &others);
    document(shared, &others)
}

/// What a node says of itself; nothing if another one answers, or none.
async fn ask(node: NodeId, admin: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(admin.parse::<SocketAddr>().ok()?).await.ok()?;
    let request = format!("GET /status/self HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let value: Value = serde_json::from_str(body).ok().filter(|_| head.split(' ').nth(1) == Some("200"))?;
    (value["node"]["id"] == format!("{:016x}", node.0)).then_some(value)
}

/// A node that doesn't answer some day is called by the name that it gave before.
fn remember_names(shared: &Shared, others: &[(NodeId, Card, Option<Value>)]) {
    let name = |(node, _, answer): &(NodeId, Card, Option<Value>)| {
        let name = answer.as_ref()?["node"]["name"].as_str()?;
        Some((*node, name.to_owned()))
    };
    let known: BTreeMap<NodeId, String> = others.iter().filter_map(name).collect();
    lock(&shared.names).extend(known);
}
