//! One active check of an endpoint: a connection, with TLS if its service has that, or a GET that must be answered by 2xx.

use super::config::Probe;
use super::upstream::{Target, Upstream};
use gateway::Checked;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Checks `target`, and tells its service.
pub async fn run(upstream: Rc<Upstream>, target: Rc<Target>, probe: Probe) {
    let passed = tokio::time::timeout(probe.time, passes(&target, probe.path.as_deref())).await;
    let checked = if passed.unwrap_or(false) { Checked::Passed } else { Checked::Failed };
    upstream.on_check(target.id, checked);
}

/// A connection of its own, since a check that shared one would tell of that one's fate.
async fn passes(target: &Target, path: Option<&str>) -> bool {
    let Ok(mut stream) = target.connect().await else { return false };
    let Some(path) = path else { return true };
    let address = target.address;
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nuser-agent: tidegate-check\r\nconnection: close\r\n\r\n");
    if stream.write_all(request.as_bytes()).await.is_err() || stream.flush().await.is_err() {
        return false;
    }
    // `HTTP/1.1 200`: the status is all that counts.
    let mut line = [0; 12];
    stream.read_exact(&mut line).await.is_ok() && line.starts_with(b"HTTP/1.") && line[8] == b' ' && line[9] == b'2'
}
