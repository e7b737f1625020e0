//! The programs of a cluster, built from source with Go: versions and checksums are those of the modules in
//! `tests/cluster/tools`. What is built stays until a module or the compiler changes. Not here: images.

use crate::process::{command, output, root};
use crate::progress::step;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// Programs that one module builds.
pub(crate) struct Tool {
    /// Folder below `tests/cluster/tools`.
    module: &'static str,
    /// The module whose version it is.
    source: &'static str,
    /// What a person waits for, cold and on two cores.
    what: &'static str,
    /// Name of the program, its package, and whether it is a test program.
    programs: &'static [(&'static str, &'static str, bool)],
}

/// What nodes and pods run.
pub(crate) const CLUSTER: [Tool; 5] = [
    Tool {
        module: "kubernetes",
        source: "k8s.io/kubernetes",
        what: "Kubernetes (once, 6 to 15 minutes)",
        programs: &[
            ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", false),
            ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", false),
            ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", false),
            ("kubelet", "k8s.io/kubernetes/cmd/kubelet", false),
            ("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy", false),
        ],
    },
    KUBECTL,
    AGNHOST,
    Tool {
        module: "etcd",
        source: "go.etcd.io/etcd/server/v3",
        what: "etcd (once, half a minute)",
        programs: &[("etcd", "go.etcd.io/etcd/server/v3", false)],
    },
    Tool {
        module: "coredns",
        source: "github.com/coredns/coredns",
        what: "CoreDNS (once, 3 minutes)",
        programs: &[("coredns", "github.com/coredns/coredns", false)],
    },
];

/// What talks to a cluster.
pub(crate) const KUBECTL: Tool = Tool {
    module: "kubernetes",
    source: "k8s.io/kubernetes",
    what: "kubectl (once, half a minute to 3 minutes)",
    programs: &[("kubectl", "k8s.io/kubernetes/cmd/kubectl", false)],
};

/// What pods of tests run.
pub(crate) const AGNHOST: Tool = Tool {
    module: "kubernetes",
    source: "k8s.io/kubernetes",
    what: "pods for tests (once, half a minute to 3 minutes)",
    programs: &[("agnhost", "k8s.io/kubernetes/test/images/agnhost", false)],
};

/// What makes a cluster out of Docker's containers.
pub(crate) const KIND: Tool = Tool {
    module: "kind",
    source: "sigs.k8s.io/kind",
    what: "kind (once, half a minute)",
    programs: &[("kind", "sigs.k8s.io/kind", false)],
};

/// What kind starts Kubernetes with.
pub(crate) const KUBEADM: Tool = Tool {
    module: "kubernetes",
    source: "k8s.io/kubernetes",
    what: "kubeadm (once, half a minute to 2 minutes)",
    programs: &[("kubeadm", "k8s.io/kubernetes/cmd/kubeadm", false)],
};

/// Upstream's end-to-end suite, what runs it, and a second suite by others.
pub(crate) const E2E: [Tool; 2] = [
    Tool {
        module: "kubernetes",
        source: "k8s.io/kubernetes",
        what: "upstream's end-to-end suite (once, 4 to 10 minutes)",
        programs: &[
            ("e2e.test", "k8s.io/kubernetes/test/e2e", true),
            ("ginkgo", "github.com/onsi/ginkgo/v2/ginkgo", false),
        ],
    },
    Tool {
        module: "cyclonus",
        source: "github.com/mattfenwick/cyclonus",
        what: "cyclonus (once, one or two minutes)",
        programs: &[("cyclonus", "github.com/mattfenwick/cyclonus/cmd/cyclonus", false)],
    },
];

/// A tool, as it is to be built and as it is.
struct Wanted {
    module: PathBuf,
    version: String,
    /// Where it is written what the programs were built from, and what should be there.
    stamp: PathBuf,
    content: String,
    built: bool,
}

fn wanted(bin: &Path, tool: &Tool, go: &str) -> Result<Wanted> {
    let module = root().join("tests/cluster/tools").join(tool.module);
    let read = |name: &str| {
        let path = module.join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let version = version(&read("go.mod")?, tool.source).to_owned();
    let content = format!("{go}\n{}{}", read("go.mod")?, read("go.sum")?);
    let stamp = bin.join(format!(".{}", tool.first()));
    let there = tool.programs.iter().all(|(name, ..)| bin.join(name).is_file());
    let built = there && fs::read_to_string(&stamp).is_ok_and(|found| found == content);
    Ok(Wanted { module, version, stamp, content, built })
}

/// Whether all of it is built already.
pub(crate) fn built(bin: &Path, tools: &[Tool]) -> Result<bool> {
    let go = output(command("go").arg("version"))?;
    for tool in tools {
        if !wanted(bin, tool, &go)?.built {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Builds what is not built yet into `bin`.
pub(crate) fn build<'a>(bin: &Path, logs: &Path, tools: impl IntoIterator<Item = &'a Tool>) -> Result<()> {
    let go = output(command("go").arg("version"))?;
    for tool in tools {
        let Wanted { module, version, stamp, content, built } = wanted(bin, tool, &go)?;
        if built {
            continue;
        }
        if version.is_empty() {
            bail!("{}/go.mod does not require {}", module.display(), tool.source);
        }
        let mut script = vec!["set -e".to_owned()];
        for (name, package, test) in tool.programs {
            // What upstream releases needs no vetting, which takes as long as compiling.
            let verb = if *test { "test -c -vet=off" } else { "build" };
            let flags = format!("-s -w{}", stamped(tool.module, &version));
            script.push(format!("go {verb} -ldflags '{flags}' -o '{}' {package}", bin.join(name).display()));
        }
        let mut build = command("sh");
        // Static, because images hold nothing but the program.
        build.args(["-c", &script.join("\n")]).current_dir(&module);
        build.env("CGO_ENABLED", "0").env("GOFLAGS", "-mod=readonly -buildvcs=false");
        let log = logs.join(format!("build-{}.log", tool.first()));
        step(&format!("building {}", tool.what), &mut build, &log)?;
        fs::write(&stamp, content).with_context(|| format!("cannot write {}", stamp.display()))?;
    }
    Ok(())
}

impl Tool {
    /// What names its stamp and its log.
    fn first(&self) -> &'static str {
        self.programs.first().map_or("", |(name, ..)| name)
    }
}

/// The version of a tool.
pub(crate) fn version_of(tool: &Tool) -> Result<String> {
    let path = root().join("tests/cluster/tools").join(tool.module).join("go.mod");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(version(&text, tool.source).to_owned())
}

/// The version of `source` that a go.mod requires; empty where it does not.
fn version<'a>(module: &'a str, source: &str) -> &'a str {
    let words =
        module.lines().map(|line| line.trim_start().trim_start_matches("require ").split_whitespace());
    let mut versions = words.filter_map(|mut words| (words.next()? == source).then(|| words.next())?);
    versions.next().unwrap_or_default()
}

/// What Kubernetes' programs are told of their own version.
fn stamped(module: &str, version: &str) -> String {
    let mut numbers = version.trim_start_matches('v').split('.');
    match (module, numbers.next(), numbers.next()) {
        ("kubernetes", Some(major), Some(minor)) => {
            let x = "-X k8s.io/component-base/version.git";
            format!(" {x}Version={version} {x}Major={major} {x}Minor={minor} {x}TreeState=clean")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_named_requirement() {
        let text = "module m\n\nrequire (\n\ta.b/c v2.1.0\n\tk8s.io/kubernetes v1.34.4\n)\n";
        assert_eq!(version(text, "k8s.io/kubernetes"), "v1.34.4");
        assert_eq!(version("module m\nrequire a.b/c v3.6.1\n", "a.b/c"), "v3.6.1");
        assert_eq!(version(text, "k8s.io"), "");
        assert!(stamped("kubernetes", "v1.34.4").contains("gitMinor=34 "));
        assert_eq!(stamped("etcd", "v3.6.1"), "");
    }

    #[test]
    fn every_program_has_its_module() {
        for tool in CLUSTER.iter().chain(&E2E).chain([&KIND, &KUBEADM]) {
            let module = root().join("tests/cluster/tools").join(tool.module).join("go.mod");
            let text = fs::read_to_string(&module).unwrap();
            assert!(version(&text, tool.source).starts_with('v'), "{}", module.display());
        }
    }
}
