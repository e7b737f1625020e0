#!/bin/bash
# enter.sh NUMBER COMMAND...: runs a command in all namespaces and cgroups of a node.
. "$(dirname "$0")/settings.sh"
node=node$1; shift
pid=$(cat "$CLUSTER_DIR/nodes/$node/pid")
cgroups
for controller in $CGROUPS; do echo $$ >"/sys/fs/cgroup/$controller/$NAME/$node/cgroup.procs"; done
if [ -n "$UNIFIED" ]; then
  leaf=$UNIFIED/$NAME/$node; [ ! -d "$leaf/init" ] || leaf=$leaf/init
  echo $$ >"$leaf/cgroup.procs"
fi
exec nsenter --target "$pid" --mount --uts --ipc --net --pid --cgroup -- "$@"
