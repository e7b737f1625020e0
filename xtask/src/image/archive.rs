//! A container image of one layer as an archive that every engine takes: an OCI layout, with the index that
//! `docker load` reads beside it. Equal content gives equal bytes. Not here: what is in the image.

use super::tar::Tar;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// What programs run with that look for others.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An image.
pub(crate) struct Image<'a> {
    /// All names that it gets, with registry and tag.
    pub(crate) names: &'a [&'a str],
    /// The program that a container starts, and its arguments.
    pub(crate) entrypoint: &'a [&'a str],
    /// Arguments that a pod may replace.
    pub(crate) arguments: &'a [&'a str],
    /// User and group by number; empty: root.
    pub(crate) user: &'a str,
    /// The only layer, as a tar archive.
    pub(crate) layer: Vec<u8>,
}

impl Image<'_> {
    /// The archive, and the digest of the image's manifest.
    pub(crate) fn archive(&self) -> (Vec<u8>, String) {
        let layer = digest(&self.layer);
        let config = format!(
            r#"{{"architecture":"amd64","config":{{"Cmd":{},"Entrypoint":{},"Env":["{PATH}"],"User":"{}","WorkingDir":"/"}},"os":"linux","rootfs":{{"diff_ids":["sha256:{layer}"],"type":"layers"}}}}"#,
            list(self.arguments),
            list(self.entrypoint),
            self.user,
        );
        let config_digest = digest(config.as_bytes());
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:{config_digest}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:{layer}","size":{}}}]}}"#,
            config.len(),
            self.layer.len(),
        );
        let manifest_digest = digest(manifest.as_bytes());
        let named = self.names.iter().map(|name| {
            let tag = name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
            format!(
                r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{manifest_digest}","size":{},"annotations":{{"io.containerd.image.name":"{name}","org.opencontainers.image.ref.name":"{tag}"}}}}"#,
                manifest.len()
            )
        });
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, named.collect::<Vec<_>>().join(","));
        let docker = format!(
            r#"[{{"Config":"blobs/sha256/{config_digest}","RepoTags":{},"Layers":["blobs/sha256/{layer}"]}}]"#,
            list(self.names)
        );
        let mut tar = Tar::default();
        let mut put = |path: &str, content: &[u8]| tar.file(path, 0o644, content);
        put("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        put("index.json", index.as_bytes());
        put("manifest.json", docker.as_bytes());
        put(&format!("blobs/sha256/{manifest_digest}"), manifest.as_bytes());
        put(&format!("blobs/sha256/{config_digest}"), config.as_bytes());
        put(&format!("blobs/sha256/{layer}"), &self.layer);
        (tar.finish(), manifest_digest)
    }
}

/// Texts without anything that JSON escapes.
fn list(texts: &[&str]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| format!("\"{text}\"")).collect();
    format!("[{}]", quoted.join(","))
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        let _written = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(content: &[u8]) -> (Vec<u8>, String) {
        let mut layer = Tar::default();
        layer.file("tool", 0o755, content);
        let (names, entrypoint) = (["example.test/tool:1", "example.test/tool:2"], ["/tool"]);
        let layer = layer.finish();
        Image { names: &names, entrypoint: &entrypoint, arguments: &["run"], user: "", layer }.archive()
    }

    #[test]
    fn equal_content_gives_equal_bytes_and_another_byte_another_digest() {
        assert_eq!(image(b"one"), image(b"one"));
        assert_ne!(image(b"one").1, image(b"two").1);
    }

    #[test]
    fn digests_are_those_of_sha256() {
        let wanted = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest(b"abc"), wanted);
    }

    #[test]
    fn both_indexes_name_the_image_and_the_blobs_are_there() {
        let (archive, digest) = image(b"one");
        let text = String::from_utf8_lossy(&archive);
        for part in [
            r#""io.containerd.image.name":"example.test/tool:2","org.opencontainers.image.ref.name":"2""#,
            r#""RepoTags":["example.test/tool:1","example.test/tool:2"]"#,
            &format!("blobs/sha256/{digest}"),
            r#""Entrypoint":["/tool"]"#,
        ] {
            assert!(text.contains(part), "{part}");
        }
    }
}
