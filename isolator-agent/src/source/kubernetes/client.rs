//! The connection to an API server: from a kubeconfig, or as a pod of its cluster. Not here: what is asked (`watch`,
//! `clock`, and the agent's `publish`).

use anyhow::{Context, Result};
use http_body_util::BodyExt;
use hyper::http;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Status;
use kube::{Client, Config};
use std::path::Path;
use std::time::Duration;

/// To connect, and to answer a request that is no watch.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The connection, for those who write.
#[derive(Clone)]
pub struct Api(pub(super) Client);

impl Api {
    /// Sends a request that is no watch, and reads the answer as a whole.
    ///
    /// # Errors
    /// When there is no answer, or it is a refusal.
    pub async fn ask(&self, request: http::Request<Vec<u8>>) -> Result<String, kube::Error> {
        read(&self.0, request).await
    }
}

/// A client of the API server that `kubeconfig` names; without one, of the cluster that this is a pod of.
///
/// # Errors
/// With the cure, when the kubeconfig cannot be read or names no usable server, or this is no pod.
pub(super) async fn connect(kubeconfig: Option<&Path>) -> Result<Client> {
    let mut config = match kubeconfig {
        Some(path) => {
            let wrong = || {
                format!(
                    "the kubeconfig {} cannot be used; check it with `kubectl --kubeconfig {} version`",
                    path.display(),
                    path.display()
                )
            };
            let read = Kubeconfig::read_from(path).with_context(wrong)?;
            Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.with_context(wrong)?
        }
        None => Config::incluster().context(
            "this is no pod of a cluster, or its service account has no token; say --kubeconfig PATH, or let the pod have \
             a token (automountServiceAccountToken)",
        )?,
    };
    config.connect_timeout = Some(PATIENCE);
    config.write_timeout = Some(PATIENCE);
    // Watches are quiet for minutes; whoever reads them knows for how long.
    config.read_timeout = None;
    // Waiting is for the watches, which do not wait for the same moment on every node.
    config.default_retry = false;
    let server = config.cluster_url.to_string();
    Client::try_from(config).with_context(|| format!("cannot prepare a connection to {server}"))
}

/// Sends a request that is no watch, and reads the answer as a whole.
pub(super) async fn read(client: &Client, request: http::Request<Vec<u8>>) -> Result<String, kube::Error> {
    let silent = |_| {
        let message = format!("it did not answer for {} s", PATIENCE.as_secs());
        kube::Error::Service(message.into())
    };
    let answer = tokio::time::timeout(PATIENCE, client.send(request.map(Into::into)));
    let answer = answer.await.map_err(silent)??;
    let status = answer.status();
    let body = tokio::time::timeout(PATIENCE, answer.into_body().collect()).await.map_err(silent)??;
    let text = String::from_utf8(body.to_bytes().into()).map_err(kube::Error::FromUtf8)?;
    if status.is_success() {
        return Ok(text);
    }
    let refusal = serde_json::from_str::<Status>(&text);
    let mut refusal =
        refusal.unwrap_or_else(|_| Status::failure(text.lines().next().unwrap_or_default(), ""));
    refusal.code = status.as_u16();
    Err(kube::Error::Api(refusal.boxed()))
}
