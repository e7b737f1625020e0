# A node's life: its cgroups, its processes, its end. Sourced. A node's first process takes all others along; everything
# that the cluster ever starts is in the cgroups of that name, so that nothing gets lost, whenever somebody interrupts.
# Not here: what a node starts from (`daemons.sh`), and its network (`wire.sh`).

# Folders of the machine over which nodes mount their own. down.sh removes those that were not there.
NODE_FOLDERS='/var/lib/containerd /var/lib/kubelet /var/lib/cni /var/log/pods /var/log/containers /etc/cni /opt/cni /opt/containerd /etc/kubernetes'

make_mountpoints() {
  local folder
  for folder in $NODE_FOLDERS; do
    [ -d "$folder" ] || { echo "$folder" >>"$CLUSTER_DIR/made"; mkdir "$folder"; }
  done
}
remove_mountpoints() {
  [ -e "$CLUSTER_DIR/made" ] || return 0
  tac "$CLUSTER_DIR/made" | while read -r folder; do rmdir "$folder" 2>/dev/null || true; done
}

# Kubelets change settings of the whole kernel, and several on one need more of two; restore_settings puts all back.
keep_settings() {
  sysctl -e vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys \
    kernel.keys.root_maxbytes fs.inotify.max_user_instances fs.inotify.max_user_watches >"$CLUSTER_DIR/sysctl" 2>/dev/null || true
  at_least() { [ "$(sysctl -n "$1")" -ge "$2" ] || sysctl -qw "$1=$2"; }
  at_least fs.inotify.max_user_instances 8192
  at_least fs.inotify.max_user_watches 524288
}
restore_settings() { [ ! -e "$CLUSTER_DIR/sysctl" ] || sysctl -qep "$CLUSTER_DIR/sysctl" || true; }

# What node.sh has to know of a node.
describe_node() { # NUMBER
  local folder=$CLUSTER_DIR/nodes/node$1
  mkdir -p "$folder/log"
  printf '%s=%q\n' NODE "node$1" CGROUPS "$CGROUPS" UNIFIED "$UNIFIED" NODE_FOLDERS "$NODE_FOLDERS" >"$folder/node.env"
}

# One cgroup in each hierarchy; it is the root of the node's cgroup namespace.
make_cgroups() { # NODE
  local controller folder parent file
  for controller in $CGROUPS; do
    parent=/sys/fs/cgroup/$controller
    for folder in "$parent/$NAME" "$parent/$NAME/$1"; do
      mkdir -p "$folder"
      # An empty set of processors would let nothing run.
      [ "$controller" != cpuset ] || for file in cpuset.cpus cpuset.mems; do cat "${folder%/*}/$file" >"$folder/$file"; done
    done
  done
  [ -n "$UNIFIED" ] || return 0
  mkdir -p "$UNIFIED/$NAME/$1"
  [ "$UNIFIED" = /sys/fs/cgroup ] || return 0
  for folder in "$UNIFIED" "$UNIFIED/$NAME"; do
    for controller in $(cat "$folder/cgroup.controllers"); do echo "+$controller" >"$folder/cgroup.subtree_control" || true; done
  done
  mkdir -p "$UNIFIED/$NAME/$1/init" "$UNIFIED/$NAME/outside"
}

start_node() { # NUMBER
  local node=node$1 folder=$CLUSTER_DIR/nodes/node$1 controller file
  make_cgroups "$node"
  (
    for controller in $CGROUPS; do echo $BASHPID >"/sys/fs/cgroup/$controller/$NAME/$node/cgroup.procs"; done
    [ -z "$UNIFIED" ] || echo $BASHPID >"$UNIFIED/$NAME/$node/cgroup.procs"
    # A node outlives whoever starts it, whose files (locks, pipes that somebody waits for) are none of its business.
    for file in /proc/$BASHPID/fd/*; do file=${file##*/}; [ "$file" -le 2 ] || eval "exec $file>&-"; done
    exec setsid nsenter --net="/run/netns/$(node_ns "$1")" unshare --mount --uts --ipc --cgroup --pid --fork \
      "$CLUSTER_SCRIPTS/node.sh" "$folder" </dev/null >>"$folder/log/node.log" 2>&1
  ) &
  local outer=$! child
  child() { cat /proc/"$outer"/task/*/children 2>/dev/null | tr -d ' ' | grep .; }
  await 10 "the start of $node" "$folder/log/node.log" child
  child >"$folder/pid"
  # Version 2 wants no process beside child cgroups.
  [ "$UNIFIED" != /sys/fs/cgroup ] || echo "$outer" >"$UNIFIED/$NAME/outside/cgroup.procs"
}

# end_processes BELOW: ends every process of the cluster's cgroups, or of those below one of them, and removes the cgroups.
end_processes() {
  local controller folders=()
  for controller in $CGROUPS; do folders+=("/sys/fs/cgroup/$controller/$1"); done
  [ -z "$UNIFIED" ] || folders+=("$UNIFIED/$1")
  members() { find "${folders[@]}" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u; }
  ended() { [ -z "$(members)" ] || { members | xargs -r kill -9 2>/dev/null; return 1; }; }
  await 30 "the end of all processes of $1" /proc ended
  local folder
  for folder in "${folders[@]}"; do
    [ ! -d "$folder" ] || find "$folder" -depth -type d -exec rmdir {} +
  done
}

# A daemon of a node, by the name that node.sh keeps it under: ended as by a crash; held, it does not come back.
kill_daemon() { # NUMBER DAEMON
  "$CLUSTER_SCRIPTS/enter.sh" "$1" kill -9 "$(cat "$CLUSTER_DIR/nodes/node$1/$2.pid")"
}
hold_daemon() { touch "$CLUSTER_DIR/nodes/node$1/$2.held"; kill_daemon "$1" "$2"; }
release_daemon() { rm -f "$CLUSTER_DIR/nodes/node$1/$2.held"; }
