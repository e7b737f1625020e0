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
restore_settings
remove_mountpoints
rm -rf "$CLUSTER_DIR"
