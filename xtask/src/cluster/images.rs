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

const PAGE: &str = "<!DOCTYPE html><title>Welcome to a server!</title>\n";

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
    save(
        "web.tar",
        &["isolator.test/web:1"],
        &["/bin/httpd"],
        &["-f", "-p", "80", "-h", "/www"],
        "",
        web(shell())?,
    )?;
    let mut coredns = Tar::default();
    coredns.file("coredns", 0o755, &read(&bin.join("coredns"))?);
    save("coredns.tar", &["isolator.test/coredns:1.12.1"], &["/coredns"], &[], "", coredns)
}

/// A page to serve, and curl to ask for it, whose exit code tells silence from a refusal.
fn web(mut layer: Tar) -> Result<Tar> {
    layer.folder("www", 0o755);
    layer.file("www/index.html", 0o644, PAGE.as_bytes());
    layer.file("usr/bin/curl", 0o755, &read(Path::new("/usr/bin/curl"))?);
    for library in libraries(&output(command("ldd").arg("/usr/bin/curl"))?) {
        layer.file(library.trim_start_matches('/'), 0o755, &read(Path::new(library))?);
    }
    Ok(layer)
}

/// The files that a program loads, of what ldd says about it.
fn libraries(ldd: &str) -> Vec<&str> {
    ldd.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/'))).collect()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader_are_found_and_what_is_no_file_is_not() {
        let said =
            "\tlinux-vdso.so.1 (0x01)\n\tlibz.so.1 => /lib/libz.so.1 (0x02)\n\t/lib64/ld-linux.so.2 (0x03)\n";
        assert_eq!(libraries(said), ["/lib/libz.so.1", "/lib64/ld-linux.so.2"]);
    }
}
