//! The cluster that is measured, as a folder of ordinary manifests: many pods elsewhere, ten here, policies of the
//! shapes that people write, and two files that are edited. Not here: who reads them.

use anyhow::{Context, Result};
use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// Pods of the node under test.
pub(crate) const LOCAL: u32 = 10;
/// Name of that node.
pub(crate) const NODE: &str = "here";
const NAMESPACES: u32 = 50;
const APPS: u32 = 200;
/// Objects in a file.
const PODS_OF_FILE: u32 = 1_000;
const POLICIES_OF_FILE: u32 = 100;

/// A folder of manifests; vanishes with this value.
pub(crate) struct Manifests {
    root: PathBuf,
    edits: Cell<u32>,
}

impl Drop for Manifests {
    fn drop(&mut self) {
        let _best_effort = fs::remove_dir_all(&self.root);
    }
}

impl Manifests {
    /// Writes a cluster of `pods` pods elsewhere and `policies` policies.
    pub(crate) fn write(pods: u32, policies: u32) -> Result<Manifests> {
        let root = isolator_tests::netns::unique_dir("apply");
        let manifests = Manifests { root, edits: Cell::new(0) };
        let folder = manifests.folder();
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut text = format!(
            "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {NODE}}}\n\
             status: {{addresses: [{{type: InternalIP, address: 192.0.2.1}}]}}\n"
        );
        for number in 0..NAMESPACES {
            let tenant = number % 5;
            write!(
                text,
                "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: ns-{number}, labels: {{isolator.dev/tenant: t{tenant}}}}}\n"
            )?;
        }
        for number in 0..LOCAL {
            text += &pod(&format!("local-{number}"), number, NODE, &local(number));
        }
        fs::write(folder.join("cluster.yaml"), text)?;
        for first in (0..pods).step_by(PODS_OF_FILE as usize) {
            let of_file = (first..pods.min(first + PODS_OF_FILE))
                .map(|number| pod(&format!("pod-{number}"), number, "elsewhere", &elsewhere(number)));
            fs::write(folder.join(format!("pods-{first}.yaml")), of_file.collect::<String>())?;
        }
        for first in (0..policies).step_by(POLICIES_OF_FILE as usize) {
            let of_file = (first..policies.min(first + POLICIES_OF_FILE)).map(policy);
            fs::write(folder.join(format!("policies-{first}.yaml")), of_file.collect::<String>())?;
        }
        manifests.edit_policy()?;
        manifests.edit_pod()?;
        Ok(manifests)
    }

    /// The folder to watch.
    pub(crate) fn folder(&self) -> PathBuf {
        self.root.join("manifests")
    }

    /// A folder beside it.
    pub(crate) fn beside(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Changes the port of a policy that selects a pod of the node. Answers when: microseconds since 1970.
    pub(crate) fn edit_policy(&self) -> Result<u64> {
        let port = 8000 + self.next() % 1000;
        let text = format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: edited, namespace: ns-0}}\n\
             spec:\n  podSelector: {{matchLabels: {{name: local-0}}}}\n  ingress:\n  - from: [{{podSelector: {{}}}}]\n    \
             ports: [{{protocol: TCP, port: {port}}}]\n"
        );
        self.replace("edited-policy.yaml", &text)
    }

    /// Changes the labels of a pod elsewhere, so that other policies select it. Answers when.
    pub(crate) fn edit_pod(&self) -> Result<u64> {
        let text = pod("edited", self.next() * NAMESPACES, "elsewhere", "10.200.0.1");
        self.replace("edited-pod.yaml", &text)
    }

    fn next(&self) -> u32 {
        self.edits.set(self.edits.get() + 1);
        self.edits.get()
    }

    fn replace(&self, name: &str, text: &str) -> Result<u64> {
        let draft = self.root.join("draft");
        fs::write(&draft, text)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        fs::rename(&draft, self.folder().join(name))?;
        Ok(u64::try_from(now.as_micros())?)
    }
}

/// The address of a pod of the node.
pub(crate) fn local(number: u32) -> String {
    format!("10.0.0.{}", 10 + number)
}

fn elsewhere(number: u32) -> String {
    format!("10.{}.{}.{}", 64 + (number >> 16), number >> 8 & 255, number & 255)
}

fn pod(name: &str, number: u32, node: &str, address: &str) -> String {
    let (namespace, app) = (number % NAMESPACES, number / NAMESPACES % APPS);
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: ns-{namespace}\n  labels:\n    \
         app: app-{app}\n    name: {name}\nspec:\n  nodeName: {node}\n  containers:\n  - name: main\n    image: none\n    \
         ports: [{{name: http, containerPort: 8080}}]\nstatus:\n  podIPs: [{{ip: {address}}}]\n"
    )
}

fn policy(number: u32) -> String {
    let (namespace, subject, peer) = (number % NAMESPACES, number / 3 % APPS, number * 7 % APPS);
    let ports = match number % 3 {
        0 => String::new(),
        1 => "    ports: [{port: http}]\n".to_owned(),
        _ => format!("    ports: [{{protocol: UDP, port: {}}}]\n", 1000 + number % 97),
    };
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: policy-{number}, namespace: ns-{namespace}}}\n\
         spec:\n  podSelector: {{matchLabels: {{app: app-{subject}}}}}\n  ingress:\n  - from:\n    \
         - namespaceSelector: {{}}\n      podSelector: {{matchLabels: {{app: app-{peer}}}}}\n{ports}"
    )
}
