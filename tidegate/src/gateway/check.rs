//! One active check of an endpoint: a connection, with TLS if its service has that, or a GET that must be answered by 2xx.

use super::config::{Probe, Protocol};
use super::trunk::stream::Sent;
use super::trunk::{Place, Trunks};
use super::upstream::{Target, Upstream};
use super::want::Unconnected;
use gateway::Checked;
use hyper::{Request, Uri};
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Checks `target`, and tells its service.
pub async fn run(upstream: Rc<Upstream>, target: Rc<Target>, probe: Probe) {
    let passes = passes(&target, upstream.plan.protocol, probe.path.as_deref());
    let checked = match tokio::time::timeout(probe.time, passes).await {
        Ok(Ok(true)) => Checked::Passed,
        Ok(Err(Unconnected { why, want: Some(want) })) => {
            upstream.counts.wants.note(want, &upstream.plan.name, &target.name, &why);
            Checked::Unknown
        }
        Ok(Ok(false) | Err(_)) | Err(_) => Checked::Failed,
    };
    upstream.on_check(target.id, checked);
}

/// A connection of its own, since a check that shared one would tell of that one's fate.
async fn passes(target: &Target, protocol: Protocol, path: Option<&str>) -> Result<bool, Unconnected> {
    if protocol == Protocol::H2 {
        return passes_h2(target, path).await;
    }
    let mut stream = target.connect().await?;
    let Some(path) = path else { return Ok(true) };
    let address = target.address;
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nuser-agent: tidegate-check\r\nconnection: close\r\n\r\n");
    if stream.write_all(request.as_bytes()).await.is_err() || stream.flush().await.is_err() {
        return Ok(false);
    }
    // `HTTP/1.1 200`: the status is all that counts.
    let mut line = [0; 12];
    let read = stream.read_exact(&mut line).await.is_ok();
    Ok(read && line.starts_with(b"HTTP/1.") && line[8] == b' ' && line[9] == b'2')
}

/// The same over HTTP/2, whose connection is one only when it has answered a ping.
async fn passes_h2(target: &Target, path: Option<&str>) -> Result<bool, Unconnected> {
    let place = Rc::new(Trunks::default()).place(|| target.connect()).await?;
    let Some(path) = path else { return Ok(true) };
    Ok(answers_h2(target, place, path).await.unwrap_or(false))
}

async fn answers_h2(target: &Target, place: Place, path: &str) -> Option<bool> {
    let scheme = if target.is_secure() { "https" } else { "http" };
    let uri = Uri::builder().scheme(scheme).authority(target.address.to_string()).path_and_query(path).build().ok()?;
    let request = Request::get(uri).header("user-agent", "tidegate-check").body(()).ok()?;
    let mut sent = Sent::new(place, request, None).await.ok()?;
    let response = std::future::poll_fn(|context| sent.poll_head(context)).await.ok()?;
    Some(response.status().is_success())
}
