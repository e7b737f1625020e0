# A Docker daemon of our own, for machines that have Docker and run no daemon. It runs as a node of the other cluster does
# (../nodes.sh): in namespaces and cgroups of its own, so that its firewall rules, mounts and interfaces are seen nowhere
# else, and everything that it ever starts ends with it. It reaches no other machine. Sourced.

# Folders of the machine that it would write into.
NODE_FOLDERS='/etc/docker /opt/containerd'
[ -z "$PRIVATE" ] || { export DOCKER_HOST=unix://$CLUSTER_DIR/docker.sock; SWITCH=$(node_ns 1); }

start_docker() {
  local folder=$CLUSTER_DIR/nodes/node1 runtime=''
  mkdir -p "$CLUSTER_CACHE/docker"
  make_mountpoints
  describe_node 1
  # Whoever lacks a capability cannot give it to privileged containers.
  [ "$RESTRICT_OOM" = false ] || runtime="--add-runtime lesser=$CLUSTER_SCRIPTS/kind/runc.sh --default-runtime lesser"
  {
    echo "export PATH=$PATH"
    echo "keep dockerd dockerd --host $DOCKER_HOST --data-root $CLUSTER_CACHE/docker --exec-root /run/docker --pidfile /run/docker.pid $runtime"
  } >"$folder/daemons"
  ip netns add "$(node_ns 1)"
  ip -n "$(node_ns 1)" link set lo up
  start_node 1
  await 60 'an answer of dockerd' "$folder/log/dockerd.log" docker version
}

stop_docker() {
  cgroups
  end_processes "$NAME"
  [ ! -e "/run/netns/$(node_ns 1)" ] || ip netns del "$(node_ns 1)"
}
