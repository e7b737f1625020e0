//! The list and the watch of one kind, for ever: streamed where the server streams lists, by pages otherwise; a
//! watch that ends goes on where it ended, and one that cannot starts with a list. Not here: what objects say
//! (`reduce`), what changes (`state`).

use super::super::node::{Data, Node};
use super::away::Away;
use super::backoff::{Backoff, random};
use super::client;
use super::kinds::{Kind, Need};
use super::reduce::{Gone, Reduced};
use super::state::Event;
use futures::StreamExt;
use kube::Client;
use kube::api::{ListParams, Request, WatchEvent, WatchParams};
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, timeout};

/// Objects of a page.
const PAGE: u32 = 250;
/// The server is asked to end a watch after this many seconds, or up to a minute later.
const WATCH_SECONDS: u32 = 240;
/// Watches ten times as quiet as the server's bookmarks want are dead.
const QUIET: Duration = Duration::from_secs(150);
/// A list that is streamed says something all the time.
const QUIET_LIST: Duration = Duration::from_secs(30);
/// After this many failures in a row the place in the watch is given up, too: the server may have lost it.
const PATIENCE: u32 = 5;
/// How often a kind that the server does not have is asked for: after an upgrade it may have it.
const NOT_SERVED: Duration = Duration::from_secs(300);
/// What the bookmark at the end of a streamed list says.
const END_OF_LIST: &str = "k8s.io/initial-events-end";

/// The watch of one kind.
pub(super) struct Watch {
    client: Client,
    kind: Kind,
    events: Sender<(Kind, Event)>,
    /// Whether the server streams lists, as far as is known.
    streams: bool,
    backoff: Backoff,
}

/// How a watch went on.
enum End {
    /// It ended; it can go on from this version.
    Ended(String),
    /// The version is too old, or unknown.
    Lost,
    /// It told of an object that is older than what it had told of before: nobody knows what it left out.
    Backwards,
    /// It failed.
    Failed(Away),
    /// Lists are not streamed here.
    NotStreamed,
    /// Nobody listens any more.
    Closed,
}

impl Watch {
    /// A watch that has not begun.
    pub(super) fn new(client: Client, kind: Kind, events: Sender<(Kind, Event)>) -> Self {
        Watch { client, kind, events, streams: true, backoff: Backoff::default() }
    }

    /// Lists and watches until nobody listens.
    pub(super) async fn run(mut self) {
        // Where to go on; `None`: with a list.
        let mut version = None;
        while !self.events.is_closed() {
            let listing = version.is_none();
            let end = match version.take() {
                Some(from) => self.follow(from, false).await,
                None if self.streams => self.follow(String::new(), true).await,
                None => self.list().await,
            };
            match end {
                End::Ended(next) => version = Some(next),
                End::Lost => {
                    // A list that is itself too old is read too slowly, or the server has trouble: not at once again.
                    if listing {
                        self.pause().await;
                    }
                }
                End::Backwards => {
                    let _closed = self.send(Event::Away(Away::Garbled(BACKWARDS.to_owned()))).await;
                    self.pause().await;
                }
                End::NotStreamed => self.streams = false,
                End::Failed(Away::Missing) if self.kind.need == Need::WhereServed => {
                    for event in [Event::Begin, Event::Whole] {
                        let _closed = self.send(event).await;
                    }
                    tokio::time::sleep(NOT_SERVED).await;
                }
                End::Failed(away) => {
                    let _closed = self.send(Event::Away(away)).await;
                    self.pause().await;
                }
                End::Closed => return,
            }
        }
    }

    async fn pause(&mut self) {
        tokio::time::sleep(self.backoff.next(random())).await;
    }

    async fn send(&self, event: Event) -> Result<(), End> {
        self.events.send((self.kind, event)).await.map_err(|_| End::Closed)
    }

    /// Lists by pages.
    async fn list(&mut self) -> End {
        match self.pages().await {
            Ok(version) => {
                self.backoff.reset();
                End::Ended(version)
            }
            Err(end) => end,
        }
    }

    async fn pages(&self) -> Result<String, End> {
        let failed = |error: &kube::Error| match error {
            kube::Error::Api(status) if status.code == 410 => End::Lost,
            _ => End::Failed(Away::of(error, "list")),
        };
        self.send(Event::Begin).await?;
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let request = Request::new(self.kind.path()).list(&params);
            let request = request.map_err(|error| End::Failed(Away::Garbled(error.to_string())))?;
            let text = client::read(&self.client, request).await.map_err(|error| failed(&error))?;
            let list: Node =
                serde_json::from_str(&text).map_err(|error| End::Failed(Away::Garbled(error.to_string())))?;
            let metadata = |key| list.get("metadata").and_then(|metadata| metadata.get(key)?.as_str());
            let objects = match list.get("items").map(|items| &items.data) {
                Some(Data::Sequence(objects)) => objects.as_slice(),
                _ => &[],
            };
            let page = objects.iter().map(|object| Reduced::of(self.kind, object)).collect();
            self.send(Event::Page(page)).await?;
            match metadata("continue").filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token.to_owned()),
                None => {
                    let version = metadata("resourceVersion").unwrap_or_default().to_owned();
                    self.send(Event::Whole).await?;
                    return Ok(version);
                }
            }
        }
    }

    /// Follows what happens after a version; from a streamed list on where there is none.
    async fn follow(&mut self, from: String, list: bool) -> End {
        let mut version = from;
        match self.stream(&mut version, list).await {
            Ok(()) => End::Ended(version),
            Err(End::Failed(away)) if !list => {
                let _closed = self.send(Event::Away(away)).await;
                if self.backoff.failures() >= PATIENCE {
                    self.backoff.reset();
                    return End::Lost;
                }
                self.pause().await;
                End::Ended(version)
            }
            Err(end) => end,
        }
    }

    /// Reads a watch to its end and keeps `version` up to date.
    async fn stream(&mut self, version: &mut String, list: bool) -> Result<(), End> {
        let seconds = WATCH_SECONDS + (random() * 60.0) as u32;
        let until = Instant::now() + Duration::from_secs(u64::from(seconds - 1));
        let mut params = WatchParams::default().timeout(seconds);
        params.send_initial_events = list;
        let request = Request::new(self.kind.path()).watch(&params, version);
        let request = request.map_err(|error| End::Failed(Away::Garbled(error.to_string())))?;
        let failed = |error: &kube::Error| match error {
            kube::Error::Api(status) if status.code == 410 => End::Lost,
            // Servers without streamed lists refuse the parameters.
            kube::Error::Api(status) if list && matches!(status.code, 400 | 422) => End::NotStreamed,
            _ => End::Failed(Away::of(error, "watch")),
        };
        let opened = timeout(QUIET_LIST, self.client.request_events::<Node>(request)).await;
        let opened = opened.map_err(|_| End::Failed(silent("did not answer", QUIET_LIST)))?;
        let mut lines = std::pin::pin!(opened.map_err(|error| failed(&error))?);
        let mut listing = list;
        self.send(if list { Event::Begin } else { Event::Heard }).await?;
        loop {
            let patience = if listing { QUIET_LIST } else { QUIET };
            let line = match timeout(patience, lines.next()).await {
                Ok(Some(line)) => line.map_err(|error| failed(&error))?,
                Ok(None) if listing => return Err(End::Failed(Away::Unreachable(CUT.to_owned()))),
                Ok(None) => {
                    if Instant::now() < until {
                        // The server or something before it went away, and with it the watches of all nodes.
                        self.backoff.reset();
                        self.pause().await;
                    }
                    return Ok(());
                }
                // It sent what there is and does not know that it should say so.
                Err(_) if listing => return Err(End::NotStreamed),
                Err(_) => return Err(End::Failed(silent("said nothing", QUIET))),
            };
            let event = match line {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    note(version, &object, listing)?;
                    Event::Put(Reduced::of(self.kind, &object))
                }
                WatchEvent::Deleted(object) => {
                    note(version, &object, listing)?;
                    Event::Gone(Gone::of(self.kind, &object))
                }
                WatchEvent::Bookmark(bookmark) => {
                    bookmark.metadata.resource_version.clone_into(version);
                    let ends =
                        bookmark.metadata.annotations.get(END_OF_LIST).is_some_and(|end| end == "true");
                    if listing && ends { Event::Whole } else { Event::Heard }
                }
                WatchEvent::Error(status) => return Err(failed(&kube::Error::Api(status))),
            };
            if matches!(event, Event::Whole) {
                listing = false;
            }
            self.backoff.reset();
            self.send(event).await?;
        }
    }
}

/// What a streamed list is that ends before its end.
const CUT: &str = "the connection ended in the middle of a list";

fn silent(what: &str, after: Duration) -> Away {
    Away::Unreachable(format!("it {what} for {} s", after.as_secs()))
}

/// What a watch is that says what was before.
const BACKWARDS: &str = "its watch went back in time, so all of it is read anew";

/// Remembers the version of an object as the place in the watch, where that goes on. The objects of a list come in any
/// order. Versions that are no numbers have none.
fn note(version: &mut String, object: &Node, listing: bool) -> Result<(), End> {
    let own = object.get("metadata").and_then(|metadata| metadata.get("resourceVersion")?.as_str());
    let Some(own) = own else { return Ok(()) };
    if !listing
        && let (Ok(now), Ok(before)) = (own.parse::<u64>(), version.parse::<u64>())
        && now < before
    {
        return Err(End::Backwards);
    }
    own.clone_into(version);
    Ok(())
}
