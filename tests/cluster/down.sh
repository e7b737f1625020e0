#!/bin/bash
# Ends the cluster and removes what it made: processes, network namespaces, cgroups, files. Nothing else on this
# machine belongs to it. Settings of the kernel that kubelets change get their old values back.
. "$(dirname "$0")/settings.sh"

for pid in "$CLUSTER_DIR"/nodes/*/pid; do
  [ -e "$pid" ] || continue
  pid=$(cat "$pid")
  # The first process of a PID namespace takes all others along. Its number may belong to somebody else by now.
  if [ -n "$pid" ] && grep -qsz "$CLUSTER_DIR" "/proc/$pid/cmdline"; then kill -9 "$pid"; fi
done

cgroups
folders=()
for controller in $CGROUPS; do folders+=("/sys/fs/cgroup/$controller/$NAME"); done
[ -z "$UNIFIED" ] || folders+=("$UNIFIED/$NAME")
empty() { local folder; for folder in "${folders[@]}"; do
  [ -z "$(find "$folder" -name cgroup.procs -exec cat {} + 2>/dev/null)" ] || return 1; done; }
await 30 "the end of all processes of the cluster" /proc empty
for folder in "${folders[@]}"; do
  [ ! -d "$folder" ] || find "$folder" -depth -type d -exec rmdir {} +
done
for namespace in $(ip netns list | awk -v name="$NAME" '$1 ~ "^" name "-(switch|node[0-9]+)$" { print $1 }'); do
  ip netns del "$namespace"
done
if [ -e "$CLUSTER_DIR/sysctl" ]; then sysctl -qep "$CLUSTER_DIR/sysctl" || true; fi
rm -rf "$CLUSTER_DIR"
