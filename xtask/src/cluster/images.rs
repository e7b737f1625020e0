//! Images for pods out of static programs, as archives that containerd reads. Not here: our own (`image`).

use crate::image::{Image, Tar};
use crate::process::{command, output};
use anyhow::{Context as _, Result};
use std::fs;
use std::path::Path;

/// Waits until it is told to stop: what holds a pod's namespaces.
const PAUSE: &str = "trap 'exit 0' TERM INT; while :; do sleep 86400 & wait $!; done";
/// Users and groups that upstream's suite expects.
const PASSWD: &str = "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";

/// Writes all images into `folder`.
pub(crate) fn write(bin: &Path, folder: &Path) -> Result<()> {
    let busybox = read(Path::new("/bin/busybox"))?;
    let applets = output(command("/bin/busybox").arg("--list"))?;
    let shell = || {
        let mut layer = Tar::default();
        layer.folder("bin", 0o755);
        layer.file("bin/busybox", 0o755, &busybox);
        for applet in applets.lines().filter(|applet| *applet != "busybox") {
            layer.link(&format!("bin/{applet}"), "busybox");
        }
        layer.folder("etc", 0o755);
        layer.file("etc/passwd", 0o644, PASSWD.as_bytes());
        layer.file("etc/group", 0o644, GROUP.as_bytes());
        layer.folder("tmp", 0o1777);
        layer
    };
    let save =
        |file: &str, names: &[&str], entrypoint: &[&str], arguments: &[&str], user: &str, layer: Tar| {
            let image = Image { names, entrypoint, arguments, user, layer: layer.finish() };
            let path = folder.join(file);
            fs::write(&path, image.archive().0).with_context(|| format!("cannot write {}", path.display()))
        };
    let pause = ["/bin/busybox", "sh", "-c", PAUSE];
    save("pause.tar", &["isolator.test/pause:3.10.1"], &pause, &[], "65535:65535", shell())?;
    let mut agnhost = shell();
    agnhost.file("agnhost", 0o755, &read(&bin.join("agnhost"))?);
    save("agnhost.tar", &["isolator.test/e2e/agnhost:2.56"], &["/agnhost"], &["pause"], "", agnhost)?;
    let mut coredns = Tar::default();
    coredns.file("coredns", 0o755, &read(&bin.join("coredns"))?);
    save("coredns.tar", &["isolator.test/coredns:1.12.1"], &["/coredns"], &[], "", coredns)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
