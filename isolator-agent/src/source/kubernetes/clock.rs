//! Asks the API server now and then what time it has: tokens and certificates fail where clocks differ. Any answer says
//! it, a refusal, too. Not here: how much is too much (`heard`).

use super::backoff::random;
use super::client::PATIENCE;
use super::kinds::{DEFINITIONS, Kind};
use super::state::Event;
use hyper::http;
use kube::Client;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

/// Everybody who is somebody may ask this, whatever his role.
const VERSION: &str = "/version";
/// At most so long after the last time.
const EVERY: Duration = Duration::from_secs(300);
/// The same after no answer.
const RETRY: Duration = Duration::from_secs(30);

/// Asks until nobody listens.
pub(super) async fn run(client: Client, events: Sender<(Kind, Event)>) {
    while !events.is_closed() {
        let skew = ask(&client).await;
        let wait = if skew.is_some() { EVERY } else { RETRY };
        if let Some(skew) = skew {
            // Of no kind; this one is always wanted.
            let _closed = events.send((&DEFINITIONS, Event::Skew(skew))).await;
        }
        tokio::time::sleep(wait.mul_f64(0.5 + random() / 2.0)).await;
    }
}

/// Seconds by which the server's clock is ahead of ours. `None`: it does not answer, which its watches say, or says no
/// time.
async fn ask(client: &Client) -> Option<i64> {
    let request = http::Request::get(VERSION).body(kube::client::Body::empty()).ok()?;
    let answer = timeout(PATIENCE, client.send(request)).await.ok()?.ok()?;
    let date = answer.headers().get(http::header::DATE)?.to_str().ok()?;
    let server = k8s_openapi::jiff::fmt::rfc2822::parse(date).ok()?.timestamp().as_second();
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(server - i64::try_from(ours).ok()?)
}
