//! Answers `GET /metrics`, and the probes `/healthz` and `/readyz`. Each answer reads the kernel's counters anew.
//! Not here: the numbers (`text`), what healthy is (`health`).

use super::text::text;
use super::totals::Totals;
use super::{Published, health};
use crate::datapath::read::{ReadError, ReadOnly};
use anyhow::{Context, Result};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tracing::{info, warn};

/// What OpenMetrics calls itself.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Clients at one time; more wait.
const CLIENTS: usize = 8;
/// A client that has not said what it wants by then is let go.
const PATIENCE: Duration = Duration::from_secs(5);

/// A question of a probe.
type Asks = fn(&Published, Instant) -> Result<(), String>;

/// What every answer is made of.
struct Account {
    published: watch::Receiver<Published>,
    maps: ReadOnly,
    totals: Mutex<Totals>,
}

/// Serves at `address` until the runtime ends.
///
/// # Errors
/// When nobody can listen there, or the maps pinned in `pin_dir` cannot be read.
pub async fn serve(address: SocketAddr, pin_dir: &Path, published: watch::Receiver<Published>) -> Result<()> {
    let maps = ReadOnly::open(pin_dir)?;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen at {address} for metrics; another --metrics helps"))?;
    info!(address = %listener.local_addr()?, "serving metrics");
    let account = Arc::new(Account { published, maps, totals: Mutex::default() });
    tokio::spawn(accept(listener, account));
    Ok(())
}

async fn accept(listener: TcpListener, account: Arc<Account>) {
    let room = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "a client of the metrics could not be accepted");
                tokio::time::sleep(PATIENCE).await;
                continue;
            }
        };
        let account = Arc::clone(&account);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let account = Arc::clone(&account);
                async move { Ok::<_, Infallible>(answer(&request, &account)) }
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
            // A client that goes away in the middle is its own business.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
            drop(place);
        });
    }
}

fn answer(request: &Request<Incoming>, account: &Account) -> Response<Full<Bytes>> {
    let (code, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => match account.text() {
            Ok(text) => (StatusCode::OK, OPEN_METRICS, text),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
        },
        (&Method::GET, "/healthz") => account.probe(health::alive),
        (&Method::GET, "/readyz") => account.probe(health::ready),
        (_, "/metrics" | "/healthz" | "/readyz") => {
            (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".to_owned())
        }
        _ => (StatusCode::NOT_FOUND, "text/plain", "only /metrics, /healthz and /readyz\n".to_owned()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}

impl Account {
    fn probe(&self, asks: Asks) -> (StatusCode, &'static str, String) {
        match asks(&self.published.borrow(), Instant::now()) {
            Ok(()) => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, "text/plain", format!("{why}\n")),
        }
    }

    fn text(&self) -> Result<String, ReadError> {
        let Published { status, measured, endpoints, stepped: _ } = self.published.borrow().clone();
        let counted: Result<Vec<_>, ReadError> =
            endpoints.iter().map(|(id, slot)| Ok((*id, self.maps.counters(*slot)?))).collect();
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.take(counted?);
        Ok(text(&status, &measured, &totals))
    }
}
