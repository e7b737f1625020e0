#!/bin/bash
# Ends the cluster and removes what it made: processes, network namespaces, cgroups, files. Nothing else on this
# machine belongs to it. Settings of the kernel that kubelets change get their old values back.
. "$(dirname "$0")/settings.sh"
. "$CLUSTER_SCRIPTS/nodes.sh"

cgroups
end_processes "$NAME"
for namespace in $(ip netns list | awk -v name="$NAME" '$1 ~ "^" name "-(switch|node[0-9]+)$" { print $1 }'); do
  ip netns del "$namespace"
done
if [ -e "$CLUSTER_DIR/sysctl" ]; then sysctl -qep "$CLUSTER_DIR/sysctl" || true; fi
if [ -e "$CLUSTER_DIR/made" ]; then
  tac "$CLUSTER_DIR/made" | while read -r folder; do rmdir "$folder" 2>/dev/null || true; done
fi
rm -rf "$CLUSTER_DIR"
