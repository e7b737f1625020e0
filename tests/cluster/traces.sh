#!/bin/bash
# traces.sh [kind]: that a cluster leaves nothing behind, whenever it is ended. Starts one and interrupts it (as Ctrl-C does) at
# several moments, ends it each time, and looks for what could be left. Not here: a whole run (`cargo xtask cluster`).
. "$(dirname "$0")/${1:-.}/settings.sh"
. "$CLUSTER_SCRIPTS/nodes.sh"
[ -z "${1:-}" ] || . "$CLUSTER_SCRIPTS/$1/docker.sh"
UP=$CLUSTER_SCRIPTS/${1:-.}/up.sh DOWN=$CLUSTER_SCRIPTS/${1:-.}/down.sh
: "${CLUSTER_LOGS:?}"
cgroups

settings() { sysctl -e vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys \
  kernel.keys.root_maxbytes fs.inotify.max_user_instances fs.inotify.max_user_watches 2>/dev/null; }
processes() {
  local folder
  for folder in /proc/[0-9]*; do
    if grep -qs "/$NAME/" "$folder/cgroup" || grep -qsz "^$CLUSTER_SCRIPTS/node.sh" "$folder/cmdline"; then echo "process ${folder#/proc/}"; fi
  done
}
# Everything of this machine that has the cluster's name or folder in it, and folders that nodes need.
traces() {
  local folder until=$((SECONDS + 10))
  # Who is dead may have to be reaped by the machine's first process.
  while [ -n "$(processes)" ] && [ $SECONDS -lt $until ]; do sleep 0.1; done
  ip netns list | grep "^$NAME-" || true
  ip -o link | grep "$NAME" || true
  ip route | grep -E "$NODE_NET|$POD_NET" || true
  grep -E "$CLUSTER_CACHE|$NAME" /proc/self/mountinfo || true
  find /sys/fs/cgroup -type d -name "$NAME" 2>/dev/null || true
  processes
  for folder in $NODE_FOLDERS "$CLUSTER_DIR"; do [ ! -e "$folder" ] || echo "$folder"; done
  settings
}
"$DOWN"
traces >"$CLUSTER_LOGS/before"

# Moments, as conditions.
wires_are_made() { [ -e "/run/netns/$(node_ns 1)" ]; }
a_node_is_started() { [ -s "$CLUSTER_DIR/nodes/node2/log/containerd.log" ]; }
[ -z "${1:-}" ] || a_node_is_started() { docker ps --quiet | grep .; }
the_api_server_answers() { kubectl get --raw /readyz; }
pods_run() { kubectl -n kube-system get pods | grep -q Running; }
nobody_interrupts() { ! kill -0 "$1" 2>/dev/null; }

passed=0 failed=0
for moment in wires_are_made a_node_is_started the_api_server_answers pods_run nobody_interrupts; do
  set -m # a group of its own, which an interrupt reaches as from a terminal
  "$UP" >"$CLUSTER_LOGS/traces-$moment.log" 2>&1 &
  up=$!
  set +m
  await 300 "$moment" "$CLUSTER_LOGS/traces-$moment.log" "$moment" "$up"
  kill -INT -- "-$up" 2>/dev/null || true
  wait "$up" || true
  "$DOWN"
  traces >"$CLUSTER_LOGS/after"
  if diff "$CLUSTER_LOGS/before" "$CLUSTER_LOGS/after"; then
    echo "interrupted when ${moment//_/ }: nothing is left"; passed=$((passed + 1))
  else
    echo "interrupted when ${moment//_/ }: the lines above are left"; failed=$((failed + 1))
  fi
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
