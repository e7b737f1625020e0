//! Who is to be told which flows. Pure: no sockets. Each client has a queue of bounded length; what does not
//! fit is counted and told to that client as a loss. Nobody waits for anybody. Not here: sending (`serve`).

use super::enrich::Flow;
use super::filter::Filter;
use super::format::{LostEvents, Record};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Flows that are remembered for clients that ask for history.
pub const HISTORY: usize = 4096;
/// Lines that wait for one client at most; a line is about 600 bytes. No less than the history.
pub const QUEUE: usize = 8192;

/// A client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientId(u64);

/// A flow, and its line of JSON, made once for all clients.
type Told = (Arc<Flow>, Arc<str>);

/// The clients and what waits for them.
#[derive(Debug, Default)]
pub struct Fanout {
    history: VecDeque<Told>,
    clients: BTreeMap<ClientId, Client>,
    next: u64,
}

#[derive(Debug)]
struct Client {
    filter: Filter,
    queue: VecDeque<Arc<str>>,
    lost: u64,
}

impl Fanout {
    /// A new client. With [`Filter::history`] what is remembered already waits for it.
    pub fn join(&mut self, filter: Filter) -> ClientId {
        let id = ClientId(self.next);
        self.next += 1;
        let past = self.history.iter().filter(|(flow, _)| filter.history && filter.matches(flow));
        let queue = past.map(|(_, line)| Arc::clone(line)).collect();
        self.clients.insert(id, Client { filter, queue, lost: 0 });
        id
    }

    /// Forgets a client.
    pub fn leave(&mut self, id: ClientId) {
        self.clients.remove(&id);
    }

    /// Tells a flow to everybody who wants it.
    pub fn flow(&mut self, flow: Flow) {
        let flow = Arc::new(flow);
        let Some(line) = json(&Record::Flow((*flow).clone())) else { return };
        for client in self.clients.values_mut().filter(|client| client.filter.matches(&flow)) {
            client.push(&line);
        }
        self.history.push_back((flow, line));
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
    }

    /// Tells everybody of flows that nobody will be told.
    pub fn lost(&mut self, lost: LostEvents) {
        let Some(line) = json(&Record::Lost(lost)) else { return };
        for client in self.clients.values_mut() {
            client.push(&line);
        }
    }

    /// The next line for a client, with its end.
    pub fn next(&mut self, id: ClientId) -> Option<Arc<str>> {
        let client = self.clients.get_mut(&id)?;
        if let Some(line) = client.queue.pop_front() {
            return Some(line);
        }
        let count = std::mem::take(&mut client.lost);
        if count == 0 { None } else { json(&Record::Lost(LostEvents { source: "client".to_owned(), count })) }
    }

    /// Whether a line waits for a client.
    #[must_use]
    pub fn waits(&self, id: ClientId) -> bool {
        self.clients.get(&id).is_some_and(|client| !client.queue.is_empty() || client.lost > 0)
    }
}

impl Client {
    fn push(&mut self, line: &Arc<str>) {
        if self.queue.len() < QUEUE {
            self.queue.push_back(Arc::clone(line));
        } else {
            self.lost += 1;
        }
    }
}

fn json(record: &Record) -> Option<Arc<str>> {
    let line = serde_json::to_string(record).ok()?;
    Some(format!("{line}\n").into())
}

#[cfg(test)]
mod tests {
    use super::super::enrich::{enrich, tests};
    use super::*;

    fn flow(generation: u32) -> Flow {
        Flow { generation, ..enrich(&tests::dropped(), &tests::Known, tests::BOOT) }
    }

    fn told(fanout: &mut Fanout, id: ClientId) -> Vec<Record> {
        let lines = std::iter::from_fn(|| fanout.next(id));
        lines.map(|line| serde_json::from_str(&line).unwrap()).collect()
    }

    #[test]
    fn each_client_is_told_what_it_asked_for() {
        let mut fanout = Fanout::default();
        fanout.flow(flow(1));
        let all = fanout.join(Filter::default());
        let past = fanout.join(Filter { history: true, ..Filter::default() });
        let other = fanout.join(Filter { ports: vec![443], history: true, ..Filter::default() });
        fanout.flow(flow(2));
        assert_eq!(told(&mut fanout, all), [Record::Flow(flow(2))]);
        assert_eq!(told(&mut fanout, past), [Record::Flow(flow(1)), Record::Flow(flow(2))]);
        assert_eq!(told(&mut fanout, other), []);
        fanout.leave(all);
        fanout.flow(flow(3));
        assert!(!fanout.waits(all));
        assert!(fanout.waits(past));
    }

    #[test]
    fn a_slow_client_loses_what_is_new_and_is_told_how_much() {
        let mut fanout = Fanout::default();
        let slow = fanout.join(Filter::default());
        for generation in 0..QUEUE as u32 + 3 {
            fanout.flow(flow(generation));
        }
        let told = told(&mut fanout, slow);
        assert_eq!(told.len(), QUEUE + 1);
        assert_eq!(told[0], Record::Flow(flow(0)));
        assert_eq!(told[QUEUE], Record::Lost(LostEvents { source: "client".into(), count: 3 }));
        assert!(!fanout.waits(slow));
    }

    #[test]
    fn history_is_bounded_and_losses_reach_everybody() {
        let mut fanout = Fanout::default();
        for generation in 0..HISTORY as u32 + 5 {
            fanout.flow(flow(generation));
        }
        let picky = fanout.join(Filter { ports: vec![1], ..Filter::default() });
        let past = fanout.join(Filter { history: true, ..Filter::default() });
        let lost = LostEvents { source: "ring".into(), count: 9 };
        fanout.lost(lost.clone());
        assert_eq!(told(&mut fanout, picky), [Record::Lost(lost)]);
        let past = told(&mut fanout, past);
        assert_eq!((past.len(), &past[0]), (HISTORY + 1, &Record::Flow(flow(5))));
    }
}
