#!/bin/bash
# Starts a kind cluster, afresh. kind's own CNI enforces NetworkPolicy, so another is put in its place that does not.
# CLUSTER_PRIVATE asks for a Docker daemon of our own, CLUSTER_CONTROL_PLANE for a node image made here; without it
# kind fetches its own, and the exit code is 3 when it cannot.
FRESH=1
. "$(dirname "$0")/settings.sh"
. "$CLUSTER_SCRIPTS/daemons.sh"
. "$CLUSTER_SCRIPTS/wire.sh"
. "$CLUSTER_SCRIPTS/kind/docker.sh"
"$CLUSTER_SCRIPTS/kind/down.sh"
mkdir -p "$CLUSTER_DIR"
chosen NAME "$NAME" NODES "$NODES" FAMILY "$FAMILY" PRIVATE "$PRIVATE" SWITCH "$SWITCH"
[ -z "${DOCKER_HOST:-}" ] || printf 'export DOCKER_HOST=%q\n' "$DOCKER_HOST" >>"$CLUSTER_DIR/chosen"
cgroups
[ "$(id -u)" != 0 ] || keep_settings
if [ -n "$PRIVATE" ]; then start_docker; say 'a Docker daemon of our own answers'; fi
# What a crash has left in it.
delete_nodes
# All kind clusters of a daemon share one network, and kind never removes it.
docker network inspect kind >/dev/null 2>&1 || chosen NETWORK kind

image=()
if [ -n "${CLUSTER_CONTROL_PLANE:-}" ]; then
  "$CLUSTER_SCRIPTS/kind/image.sh" >"$CLUSTER_LOGS/node-image.log" 2>&1 || { tail -20 "$CLUSTER_LOGS/node-image.log"; fail "no node image; read $CLUSTER_LOGS/node-image.log"; }
  image=(--image "$(tail -1 "$CLUSTER_LOGS/node-image.log")")
  say 'the node image is there'
fi

settings() {
  cat <<Y
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking:
  disableDefaultCNI: true
  ipFamily: $FAMILY
  podSubnet: $(families "$POD_NET.0.0/16" "$POD_NET6::/56")
  serviceSubnet: $(families "$SERVICE_NET.0/24" "$SERVICE_NET6:/112")
nodes:
- role: control-plane
$(for _ in $(seq 2 "$NODES"); do echo '- role: worker'; done)
containerdConfigPatches:
- |-
  [plugins."io.containerd.grpc.v1.cri"]
    restrict_oom_score_adj = $RESTRICT_OOM
$([ ${#image[@]} = 0 ] || echo "    sandbox_image = \"$PAUSE_IMAGE\"")
kubeadmConfigPatches:
- |
  kind: KubeletConfiguration
  failCgroupV1: false # the machine may have nothing else
Y
  [ ${#image[@]} = 0 ] || cat <<Y
- |
  kind: ClusterConfiguration
  imageRepository: ${PAUSE_IMAGE%/*}
  dns: {imageTag: "${DNS_IMAGE##*:}"}
  etcd: {local: {imageTag: "${ETCD_IMAGE##*:}"}}
Y
}
settings >"$CLUSTER_DIR/kind.yaml"
# Kept when it fails, so that somebody can look; down.sh removes it.
kind create cluster --name "$NAME" --config "$CLUSTER_DIR/kind.yaml" --kubeconfig "$KUBECONFIG" --retain "${image[@]}" 2>&1 |
  tee "$CLUSTER_LOGS/kind.log" | grep --line-buffered -E '✓|✗|ERROR' || { ! grep -q 'failed to pull image' "$CLUSTER_LOGS/kind.log" || exit 3; fail "kind makes no cluster; read $CLUSTER_LOGS/kind.log"; }

have_ranges() { [ "$(kubectl get nodes -o json | jq '[.items[] | select(.spec.podCIDRs)] | length')" = "$NODES" ]; }
await 60 'that each node has a range of addresses' "$CLUSTER_LOGS/kind.log" have_ranges
kubectl get nodes -o json |
  jq -r '.items[] | [.metadata.name, (.spec.podCIDRs | join(",")), ([.status.addresses[] | select(.type == "InternalIP").address] | join(","))] | @tsv' \
    >"$CLUSTER_DIR/nodes.tsv"
# Routes from one node to the pods of another, in each family.
to_node() { # NODE RANGES ADDRESSES
  local range address
  for range in ${2//,/ }; do for address in ${3//,/ }; do
    case $range/$address in *:*/*.*.*.* | *.*/*:*:*) continue ;; esac
    docker exec "$1" ip route replace "$range" via "$address"
  done; done
}
while read -r node ranges _ <&3; do
  while read -r other its_ranges its_addresses <&4; do
    [ "$node" = "$other" ] || to_node "$node" "$its_ranges" "$its_addresses"
  done 4<"$CLUSTER_DIR/nodes.tsv"
  ! has4 || masquerade "$POD_NET.0.0/16" docker exec "$node" iptables
  ! has6 || masquerade "$POD_NET6::/56" docker exec "$node" ip6tables
  pod_network "$ranges" | docker exec --interactive "$node" tee /etc/cni/net.d/10-pods.conflist >/dev/null
  unified=$(docker exec --interactive "$node" sh <<'S'
# What the agent needs, and nothing in kind does: bpffs, and cgroups of version 2, which may have to be beside version 1.
grep -q ' /sys/fs/bpf ' /proc/mounts || mount -t bpf bpf /sys/fs/bpf
for folder in /sys/fs/cgroup /sys/fs/cgroup/unified; do
  [ "$(stat -fc %T "$folder" 2>/dev/null)" != cgroup2fs ] || { echo "$folder"; exit; }
done
mkdir -p "$folder" && mount -t cgroup2 cgroup2 "$folder" && echo "$folder"
S
)
done 3<"$CLUSTER_DIR/nodes.tsv"
chosen UNIFIED "$unified"
kubectl wait --for=condition=Ready nodes --all --timeout=120s >/dev/null
say 'nodes are ready'
kubectl -n kube-system rollout status deployment/coredns --timeout=180s >/dev/null
say 'names are resolved'
