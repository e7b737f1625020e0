//! Images for pods out of static programs, as archives that containerd reads. Not here: our own (`image`).

use crate::image::{Image, Tar};
use crate::process::{command, output};
use anyhow::{Context as _, Result};
use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Waits until it is told to stop: what holds a pod's namespaces.
const PAUSE: &str = "trap 'exit 0' TERM INT; while :; do sleep 86400 & wait $!; done";
/// Users and groups that upstream's suite expects.
const PASSWD: &str = "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";

const PAGE: &str = "<!DOCTYPE html><title>Welcome to a server!</title>\n";
/// What kube-proxy starts.
const FIREWALL: [&str; 6] =
    ["iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"];

/// Where programs are taken from, and where images go.
pub(crate) struct Images<'a> {
    pub(crate) bin: &'a Path,
    pub(crate) folder: &'a Path,
}

impl Images<'_> {
    /// Writes all that the nodes of `cluster` are given.
    pub(crate) fn all(&self) -> Result<()> {
        self.nodes()?;
        self.tests()
    }

    /// What pods of tests run.
    pub(crate) fn tests(&self) -> Result<()> {
        let mut agnhost = shell()?;
        agnhost.file("agnhost", 0o755, &read(&self.bin.join("agnhost"))?);
        self.save("agnhost", "e2e/agnhost:2.56", &["/agnhost"], &["pause"], "", agnhost)?;
        self.save("web", "web:1", &["/bin/httpd"], &["-f", "-p", "80", "-h", "/www"], "", web()?)
    }

    /// What every node needs, whoever runs the control plane.
    fn nodes(&self) -> Result<()> {
        let pause = ["/bin/busybox", "sh", "-c", PAUSE];
        self.save("pause", "pause:3.10.1", &pause, &[], "65535:65535", shell()?)?;
        let mut coredns = Tar::default();
        coredns.file("coredns", 0o755, &read(&self.bin.join("coredns"))?);
        self.save("coredns", "coredns:1.12.1", &["/coredns"], &[], "", coredns)
    }

    /// What the nodes of a kind cluster need where there is nothing to fetch images from: the control plane in pods.
    pub(crate) fn control_plane(&self, version: &str) -> Result<()> {
        let programs = [
            ("kube-apiserver", version),
            ("kube-controller-manager", version),
            ("kube-scheduler", version),
            ("etcd", "3.6.16"),
        ];
        // The last that is written. Half a gigabyte has to be hashed, so not each time.
        let last = self.folder.join("kube-proxy.tar");
        let names = programs.iter().map(|(program, _)| *program).chain(["kube-proxy", "coredns"]);
        let sources = names.map(|name| self.bin.join(name)).chain(env::current_exe());
        if newer(&last, &sources.collect::<Vec<PathBuf>>()) {
            return Ok(());
        }
        self.nodes()?;
        for (program, tag) in programs {
            let mut layer = Tar::default();
            layer.file(&format!("usr/local/bin/{program}"), 0o755, &read(&self.bin.join(program))?);
            self.save(program, &format!("{program}:{tag}"), &[], &[], "", layer)?;
        }
        let mut proxy = shell()?;
        proxy.file("usr/local/bin/kube-proxy", 0o755, &read(&self.bin.join("kube-proxy"))?);
        firewall(&mut proxy)?;
        self.save("kube-proxy", &format!("kube-proxy:{version}"), &[], &[], "", proxy)
    }

    fn save(
        &self,
        file: &str,
        name: &str,
        entrypoint: &[&str],
        arguments: &[&str],
        user: &str,
        layer: Tar,
    ) -> Result<()> {
        let name = format!("isolator.test/{name}");
        let image = Image { names: &[&name], entrypoint, arguments, user, layer: layer.finish() };
        let path = self.folder.join(format!("{file}.tar"));
        fs::write(&path, image.archive().0).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Whether a file was written after all of its sources.
fn newer(file: &Path, sources: &[PathBuf]) -> bool {
    let written = |path: &Path| fs::metadata(path).and_then(|data| data.modified());
    let Ok(time) = written(file) else { return false };
    sources.iter().all(|source| written(source).is_ok_and(|source| source <= time))
}

/// A shell and what belongs to it.
fn shell() -> Result<Tar> {
    let mut layer = Tar::default();
    layer.folder("bin", 0o755);
    layer.file("bin/busybox", 0o755, &read(Path::new("/bin/busybox"))?);
    let applets = output(command("/bin/busybox").arg("--list"))?;
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        layer.link(&format!("bin/{applet}"), "busybox");
    }
    layer.folder("etc", 0o755);
    layer.file("etc/passwd", 0o644, PASSWD.as_bytes());
    layer.file("etc/group", 0o644, GROUP.as_bytes());
    layer.folder("tmp", 0o1777);
    Ok(layer)
}

/// A page to serve, and curl to ask for it, whose exit code tells silence from a refusal.
fn web() -> Result<Tar> {
    let mut layer = shell()?;
    layer.folder("www", 0o755);
    layer.file("www/index.html", 0o644, PAGE.as_bytes());
    add(&mut layer, &[PathBuf::from("/usr/bin/curl")])?;
    Ok(layer)
}

/// The iptables of this machine, which its kernel is known to take, with the extensions that it loads.
fn firewall(layer: &mut Tar) -> Result<()> {
    let found = output(command("sh").args(["-c", "readlink -f \"$(command -v iptables)\""]))?;
    let extensions = output(command("sh").args(["-c", "ls /usr/lib/*/xtables/*.so"]))?;
    let files: Vec<PathBuf> =
        [found.as_str()].into_iter().chain(extensions.lines()).map(PathBuf::from).collect();
    add(layer, &files)?;
    for name in FIREWALL {
        layer.link(&format!("usr/local/bin/{name}"), &found);
    }
    Ok(())
}

/// Adds programs at their own places, with the libraries that they load.
fn add(layer: &mut Tar, programs: &[PathBuf]) -> Result<()> {
    let mut files: BTreeSet<PathBuf> = programs.iter().cloned().collect();
    let said = output(command("ldd").args(programs))?;
    files.extend(libraries(&said).into_iter().map(PathBuf::from));
    for file in files {
        layer.file(&file.display().to_string()[1..], 0o755, &read(&file)?);
    }
    Ok(())
}

/// The files that programs load, of what ldd says about them.
pub(super) fn libraries(ldd: &str) -> Vec<&str> {
    // A line that ends in a colon names the program itself.
    let lines = ldd.lines().filter(|line| !line.ends_with(':'));
    lines.filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/'))).collect()
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn libraries_and_the_loader_are_found_and_what_is_no_file_is_not() {
        let said = "/usr/bin/curl:\n\tlinux-vdso.so.1 (0x01)\n\tlibz.so.1 => /lib/libz.so.1 (0x02)\n\t\
                    /lib64/ld-linux.so.2 (0x03)\n/usr/bin/static:\n\tstatically linked\n";
        assert_eq!(libraries(said), ["/lib/libz.so.1", "/lib64/ld-linux.so.2"]);
    }

    #[test]
    fn what_is_older_than_a_source_or_missing_is_written_again() {
        let folder = env::temp_dir().join(format!("isolator-images-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let at = |name: &str, seconds: u64| {
            let path = folder.join(name);
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            fs::File::create(&path).unwrap().set_modified(time).unwrap();
            path
        };
        let (old, middle, new) = (at("old", 1), at("middle", 2), at("new", 3));
        let [none, one] = [Vec::new(), vec![old.clone()]];
        assert!(newer(&middle, &none) && newer(&middle, &one));
        assert!(!newer(&middle, &[old, new]) && !newer(&folder.join("gone"), &one));
        assert!(!newer(&middle, &[folder.join("gone")]));
        fs::remove_dir_all(&folder).unwrap();
    }
}
