//! The engines that judge packets: each side of a flow is judged on its node, by what was compiled for that
//! node, with the flow's first packet as it is on the wire. `Machine` is where the code runs. Not here: the
//! reading of policies.

use super::{Answer, Judge, SideAnswer, word};
use anyhow::{Context, Result, anyhow, bail};
use isolator_common::event::{NameKey, NameKind};
use isolator_common::policy::Direction;
use isolator_common::reason::Reason;
use isolator_policy::cluster::snapshot::Snapshot;
use isolator_policy::datapath::compiled::Compiled;
use isolator_policy::datapath::frame::Frame;
use isolator_policy::datapath::image::Image;
use isolator_policy::datapath::layout::{Attachment, Params, layout};
use isolator_policy::meaning::compile::compile;
use isolator_policy::meaning::flow::{FlowSpec, Found, find, judging_node};
use isolator_policy::meaning::why::By;
use isolator_policy::model::{Pod, PodKey};
use std::collections::{BTreeMap, HashMap};

/// What a machine says of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ruling {
    /// Why it passes or not.
    pub(super) reason: Reason,
    /// Number of the rule, 0 for none.
    pub(super) rule: u32,
}

/// Something that judges packets by an image.
pub(super) trait Machine: Sized {
    /// Takes the image of one node.
    fn load(image: Image) -> Result<Self>;
    /// Judges a frame at an interface of the node, as the first packet that it ever sees.
    fn judge(&mut self, ifindex: u32, frame: &[u8], direction: Direction) -> Result<Ruling>;
}

/// The nodes of a cluster, each compiled when it is first asked.
pub(super) struct Engine<'a, M> {
    snapshot: &'a Snapshot,
    nodes: BTreeMap<String, Node<M>>,
}

struct Node<M> {
    machine: M,
    interfaces: HashMap<PodKey, u32>,
    rules: HashMap<u32, String>,
}

impl<'a, M: Machine> Engine<'a, M> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        Engine { snapshot, nodes: BTreeMap::new() }
    }

    fn node(&mut self, name: &str) -> Result<&mut Node<M>> {
        if !self.nodes.contains_key(name) {
            let node = Node::new(self.snapshot, name).with_context(|| format!("node {name}"))?;
            self.nodes.insert(name.to_owned(), node);
        }
        self.nodes.get_mut(name).ok_or_else(|| anyhow!("node {name} was not kept"))
    }

    fn side(&mut self, frame: &[u8], direction: Direction, end: &Found<'_>) -> Result<SideAnswer> {
        match end.pod {
            None => Ok(SideAnswer { verdict: word(true), by: By::NotEnforced.to_string() }),
            Some(pod) => self.node(judging_node(pod))?.side(frame, direction, pod),
        }
    }
}

impl<M: Machine> Judge for Engine<'_, M> {
    fn judge(&mut self, flow: &FlowSpec) -> Result<Answer> {
        let (from, to) = find(self.snapshot, flow)?;
        if from.pod.zip(to.pod).is_some_and(|(from, to)| from.key == to.key) {
            // Such a packet never leaves the pod.
            let side = SideAnswer { verdict: word(true), by: By::Loopback.to_string() };
            return Ok(Answer::new(side.clone(), side));
        }
        let frame = Frame::flow(from.addr, to.addr, flow.protocol, flow.port).bytes();
        let egress = self.side(&frame, Direction::Egress, &from)?;
        let ingress = self.side(&frame, Direction::Ingress, &to)?;
        Ok(Answer::new(egress, ingress))
    }
}

impl<M: Machine> Node<M> {
    fn new(snapshot: &Snapshot, name: &str) -> Result<Self> {
        let compiled = compile(snapshot, name);
        let interfaces: HashMap<_, _> = compiled.endpoints.keys().cloned().zip(1..).collect();
        let image = image(&compiled, &interfaces)?;
        let rules = image.names.iter().filter(|(key, _)| key.kind == NameKind::Rule as u32);
        let rules = rules.map(|(NameKey { number, .. }, text)| (*number, text.clone())).collect();
        Ok(Node { machine: M::load(image)?, interfaces, rules })
    }

    fn side(&mut self, frame: &[u8], direction: Direction, pod: &Pod) -> Result<SideAnswer> {
        let Some(ifindex) = self.interfaces.get(&pod.key) else {
            bail!("pod {} was not compiled for its node", pod.key);
        };
        let Ruling { reason, rule } = self.machine.judge(*ifindex, frame, direction)?;
        let by = match self.rules.get(&rule) {
            Some(text) => text.clone(),
            None if rule == 0 => reason.help().to_owned(),
            None => bail!("the packet was judged by rule {rule}, which has no name"),
        };
        Ok(SideAnswer { verdict: word(reason.passes()), by })
    }
}

fn image(compiled: &Compiled, interfaces: &HashMap<PodKey, u32>) -> Result<Image> {
    let attachments: BTreeMap<_, _> =
        interfaces.iter().map(|(pod, ifindex)| (*ifindex, Attachment::of(Some(pod.clone())))).collect();
    // No time passes while flows are judged, and no event may be missed.
    let params =
        Params { ticks_per_second: 100, events_per_second: u32::MAX, capacities: Default::default() };
    Ok(layout(&Image::default(), compiled, &attachments, &params)?)
}
