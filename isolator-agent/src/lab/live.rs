//! A lab's life: made from the manifests, kept like them, obeying orders, until a signal ends it. Not here: the
//! process around it (`supervisor`), the parts it is made of (`build`, `agents`).

use super::agents::Agents;
use super::build::Lab;
use super::cgroups::Cgroups;
use super::control::{Order, Orders};
use super::plan::{Plan, Request, plan};
use super::process::ProcessId;
use super::proxy::{Frontend, KubeProxy, frontends};
use super::record::{Record, RunDir};
use super::serve::{Server, TCP, UDP};
use super::supervisor::{Report, Wanted, say};
use crate::source::{ManifestSource, Update};
use anyhow::{Context, Result, bail};
use isolator_policy::cluster::change::{Change, Object, ObjectKey};
use isolator_policy::model::Problem;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// Ports that the host outside listens on beside those that some pod declares.
const OUTSIDE_PORTS: [(u8, u16); 5] = [(TCP, 53), (TCP, 80), (TCP, 443), (TCP, 8080), (UDP, 53)];
/// How long an agent that is started anew may take.
const RESTART: Duration = Duration::from_secs(30);

/// A lab and all that keeps it.
struct Live {
    wanted: Wanted,
    dir: RunDir,
    objects: BTreeMap<ObjectKey, Object>,
    server: Server,
    lab: Lab,
    agents: Agents,
    cgroups: Result<Cgroups, String>,
    /// What the nodes translate.
    frontends: Vec<Frontend>,
}

/// Makes the lab, says so, and keeps it until SIGTERM.
pub(crate) async fn live(
    wanted: Wanted,
    dir: RunDir,
    cgroups: Result<Cgroups, String>,
    begun: Instant,
) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut child_ended = signal(SignalKind::child())?;
    let folder = wanted.manifests.display().to_string();
    let source = ManifestSource::start(&wanted.manifests);
    let ManifestSource { initial, mut updates } =
        source.with_context(|| format!("cannot watch the manifests in {folder}"))?;
    let orders = Orders::listen(&dir)?;
    let objects = initial.objects.into_iter().map(|object| (object.key(), object)).collect();
    let deadline = begun + wanted.limit;
    let (mut live, mut problems) = tokio::select! {
        made = Live::make(wanted, dir, cgroups, objects) => made?,
        _ = terminate.recv() => bail!("ended while it was being made"),
    };
    problems.splice(0..0, initial.problems.iter().map(Problem::to_string));
    let expected = live.expected();
    tokio::select! {
        ready = live.agents.wait_until_ready(&expected, deadline) => ready?,
        _ = terminate.recv() => bail!("ended while it was being made"),
    }
    live.publish()?;
    let (nodes, pods, ms) =
        (live.lab.plan.nodes.len(), live.lab.plan.pods.len(), begun.elapsed().as_millis() as u64);
    tracing::info!(nodes, pods, ms, "ready");
    if !say(&Report::Ready { nodes, pods, ms, problems }) {
        bail!("nobody waits for this lab any more");
    }
    let mut watching = true;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = child_ended.recv() => live.agents.reap(),
            (order, client) = orders.next() => client.answer(live.obey(order).await).await,
            update = updates.recv(), if watching => match update {
                Some(update) => live.follow(update).await,
                None => {
                    watching = false;
                    tracing::error!(folder, "the manifests are not watched any more; the lab stays as it is");
                }
            },
        }
    }
    tracing::info!("asked to end");
    live.agents.end().await;
    Ok(())
}

impl Live {
    async fn make(
        mut wanted: Wanted,
        dir: RunDir,
        cgroups: Result<Cgroups, String>,
        objects: BTreeMap<ObjectKey, Object>,
    ) -> Result<(Self, Vec<String>)> {
        let server = Server::new();
        let (plan, missing) =
            plan(&objects.values().cloned().collect::<Vec<_>>(), &request(&wanted), &Plan::default());
        let own = cgroups.clone().ok();
        let lab = Lab::create(
            dir.clone(),
            own.clone(),
            wanted.network,
            server.clone(),
            &plan,
            &outside_ports(&objects),
        )
        .await?;
        let agents = Agents::new(&dir, &wanted.manifests, own);
        if cgroups.is_ok() {
            // Judged there, so that nobody needs to drop it.
            wanted.proxy.mark = 0;
        }
        let frontends = Vec::new();
        let mut live = Live { wanted, dir, objects, server, lab, agents, cgroups, frontends };
        live.become_like(&plan).await?;
        let problems = live.problems(&missing);
        Ok((live, problems))
    }

    /// Takes a change of the manifests in. What goes wrong is in the log; the lab stays as far as it came.
    async fn follow(&mut self, update: Update) {
        for change in update.changes {
            match change {
                Change::Apply(object) => drop(self.objects.insert(object.key(), object)),
                Change::Delete(key) => drop(self.objects.remove(&key)),
                Change::Reset(objects) => {
                    self.objects = objects.into_iter().map(|object| (object.key(), object)).collect();
                }
            }
        }
        let objects: Vec<Object> = self.objects.values().cloned().collect();
        let (plan, missing) = plan(&objects, &request(&self.wanted), &self.lab.plan);
        let frontends = frontends(&objects, &plan);
        if plan == self.lab.plan && frontends == self.frontends {
            return;
        }
        let changed = self.become_like(&plan).await;
        self.problems(&missing);
        match changed.and_then(|()| self.publish()) {
            Ok(()) => tracing::info!(nodes = plan.nodes.len(), pods = plan.pods.len(), "changed"),
            Err(error) => tracing::error!(error = format!("{error:#}"), "cannot change the lab"),
        }
    }

    async fn become_like(&mut self, plan: &Plan) -> Result<()> {
        // Agents hear of a pod before its namespace appears: then it is known at once.
        self.dir.place(plan)?;
        self.lab.become_like(plan).await?;
        let objects: Vec<Object> = self.objects.values().cloned().collect();
        self.frontends = frontends(&objects, plan);
        for name in plan.nodes.keys() {
            if let Some(netns) = self.lab.node(name) {
                let programmed = self.wanted.proxy.program(netns, &self.frontends);
                programmed.with_context(|| format!("the services of node {name}"))?;
            }
        }
        if self.wanted.agents {
            let nodes: BTreeSet<String> = self.lab.plan.nodes.keys().cloned().collect();
            for gone in self.agents.nodes().filter(|node| !nodes.contains(node)).collect::<Vec<_>>() {
                self.agents.forget(&gone).await?;
            }
            for new in nodes {
                if !self.agents.nodes().any(|node| node == new) {
                    self.start_agent(&new)?;
                }
            }
        }
        Ok(())
    }

    async fn obey(&mut self, order: Order) -> Result<String> {
        match order {
            Order::KillAgent(node) => {
                self.agents.stop(&node, false).await.with_context(|| format!("the agent of node {node}"))?;
                Ok(format!("the agent of node {node} is killed"))
            }
            Order::RestartAgent(node) => {
                if self.agents.runs(&node) {
                    self.agents.stop(&node, false).await?;
                }
                self.start_agent(&node)?;
                let expected = self.expected().into_iter().filter(|(name, _)| *name == node).collect();
                self.agents.wait_until_ready(&expected, Instant::now() + RESTART).await?;
                Ok(format!("the agent of node {node} runs again"))
            }
        }
    }

    fn start_agent(&mut self, node: &str) -> Result<()> {
        let netns = self.lab.node(node).with_context(|| format!("there is no node {node} in this lab"))?;
        self.agents.start(node, netns).with_context(|| format!("the agent of node {node}"))
    }

    /// How many pods the agent of each node should have found.
    fn expected(&self) -> BTreeMap<String, usize> {
        let mut expected = BTreeMap::new();
        if self.wanted.agents {
            expected.extend(self.lab.plan.nodes.keys().map(|node| (node.clone(), 0)));
            for pod in self.lab.plan.pods.values().filter(|pod| !pod.host_network) {
                *expected.entry(pod.node.clone()).or_default() += 1;
            }
        }
        expected
    }

    fn publish(&self) -> Result<()> {
        self.dir.publish(&Record {
            name: self.wanted.name.clone(),
            supervisor: ProcessId::own()?,
            manifests: self.wanted.manifests.clone(),
            network: self.wanted.network,
            nodes: self.lab.nodes(),
            pods: self.lab.pods(),
            outside: self.lab.outside(),
            cgroups: self.cgroups.as_ref().map(|cgroups| cgroups.top().to_owned()).map_err(Clone::clone),
        })
    }

    /// What is missing from the lab, in words; also in the log.
    fn problems(&self, missing: &[Problem]) -> Vec<String> {
        let mut problems: Vec<String> = missing.iter().map(Problem::to_string).collect();
        problems.extend(self.server.problems());
        if let (true, Err(why)) =
            (self.wanted.agents && self.wanted.proxy.kind != KubeProxy::None, &self.cgroups)
        {
            problems.push(format!("what pods send to services of their node itself is dropped: {why}"));
        }
        for problem in &problems {
            tracing::warn!(problem, "something is missing");
        }
        problems
    }
}

fn request(wanted: &Wanted) -> Request {
    Request { nodes: wanted.nodes, external: wanted.external.clone(), network: wanted.network }
}

fn outside_ports(objects: &BTreeMap<ObjectKey, Object>) -> Vec<(u8, u16)> {
    let mut ports: BTreeSet<(u8, u16)> = OUTSIDE_PORTS.into();
    for object in objects.values() {
        if let Object::Pod(pod) = object {
            ports.extend(pod.ports.iter().map(|port| (port.protocol, port.port)));
        }
    }
    ports.into_iter().collect()
}
