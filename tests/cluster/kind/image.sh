#!/bin/bash
# Makes kind's node image where kind's own cannot be fetched: Debian with systemd and containerd, kind's own files out of
# its Go module, Kubernetes as built from source, and the images of its control plane in containerd's store. Prints its
# name last. CLUSTER_CONTROL_PLANE is the folder of those images. Follows images/base/Dockerfile of kind.
. "$(dirname "$0")/settings.sh"
: "${CLUSTER_CONTROL_PLANE:?}"
base=$CLUSTER_CACHE/debian root=$CLUSTER_CACHE/node
PACKAGES=systemd,conntrack,iptables,nftables,iproute2,ethtool,util-linux,mount,kmod,libseccomp2,pigz,bash,ca-certificates,curl,jq,procps,hostname,containerd,runc,socat
KUBERNETES=$("$CLUSTER_BIN/kubelet" --version | awk '{ print $2 }')
tag=$(cat "$0" "$CLUSTER_SCRIPTS"/tools/*/go.{mod,sum} "$CLUSTER_CONTROL_PLANE"/*.tar | sha256sum | cut -c1-12)
name=$MADE_IMAGE:$tag
if docker image inspect "$name" >/dev/null 2>&1; then echo "$name"; exit; fi
remove() { rm -rf --one-file-system "$1"; }

if [ ! -e "$base/.complete" ]; then
  remove "$base"
  debootstrap --variant=minbase --include="$PACKAGES" bookworm "$base"
  rm -rf "$base"/var/cache/apt/archives/*.deb "$base"/var/lib/apt/lists/*
  touch "$base/.complete"
fi
remove "$root"
cp -a "$base" "$root"

module=$CLUSTER_SCRIPTS/tools/kind
(cd "$module" && go mod download sigs.k8s.io/kind)
files=$(cd "$module" && go list -m -f '{{.Dir}}' sigs.k8s.io/kind)/images/base/files
cp -r --no-preserve=mode,ownership "$files/." "$root/"
chmod 755 "$root"/usr/local/bin/* "$root"/kind/bin/*
units=$root/lib/systemd/system
rm -f "$units"/{multi-user,local-fs,basic}.target.wants/* "$root"/etc/systemd/system/*.wants/* \
  "$units"/sockets.target.wants/*{udev,initctl}* "$units"/sysinit.target.wants/systemd-tmpfiles-setup.service
echo ReadKMsg=no >>"$root/etc/systemd/journald.conf"
ln -sf /lib/systemd/systemd "$root/sbin/init"
chroot "$root" systemctl enable kubelet.service containerd.service undo-mount-hacks.service
chroot "$root" systemctl mask systemd-binfmt.service
mkdir -p "$root"/etc/kubernetes/manifests "$root"/opt/cni/bin "$root"/kind/manifests
for program in containerd ctr containerd-shim-runc-v2; do ln -s "/usr/bin/$program" "$root/usr/local/bin/"; done
cp "$CNI_BIN"/{ptp,host-local,loopback,portmap} "$root/opt/cni/bin/"
cp "$CLUSTER_BIN"/{kubelet,kubeadm,kubectl} "$root/usr/bin/"
chroot "$root" ctr oci spec |
  jq '.hooks.createContainer += [{"path": "/kind/bin/mount-product-files.sh"}] | del(.process.rlimits)' >"$root/etc/containerd/cri-base.json"
echo "$KUBERNETES" >"$root/kind/version"
# kind applies it always; there is nothing here that makes volumes.
cat >"$root/kind/manifests/default-storage.yaml" <<Y
{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: standard}, provisioner: kubernetes.io/no-provisioner}
Y

# The image's own containerd takes the images, unpacked on first use. It ends with its namespaces.
mkdir "$root/images"
cat >"$root/import.sh" <<'S'
set -eu
printf '%s\n' 'version = 2' 'disabled_plugins = ["io.containerd.grpc.v1.cri"]' >/run/import.toml
containerd --config /run/import.toml &
containerd=$!
until ctr version >/dev/null 2>&1; do kill -0 "$containerd"; sleep 0.2; done
for image in /images/*.tar; do ctr -n k8s.io images import --no-unpack "$image"; done
ctr -n k8s.io images label "$1" io.cri-containerd.pinned=pinned
kill "$containerd"
wait "$containerd" || true
S
unshare --mount --pid --fork --kill-child -- bash -euc '
  mount -t proc proc "$1/proc"
  mount -t tmpfs tmpfs "$1/run"
  mount --bind "$2" "$1/images"
  exec chroot "$1" bash /import.sh "$3"' import "$root" "$CLUSTER_CONTROL_PLANE" "$PAUSE_IMAGE"
rm "$root/import.sh"
rmdir "$root/images"
for old in $(docker images --quiet "$MADE_IMAGE"); do docker image rm --force "$old" >/dev/null; done
tar -C "$root" --numeric-owner --exclude=./.complete -c . |
  docker import --change 'ENV container=docker' --change 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]' - "$name"
remove "$root"
echo "$name"
