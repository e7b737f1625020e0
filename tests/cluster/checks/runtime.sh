#!/bin/bash
# containerd is killed on every node, and comes back. Pods go on, and so does what is enforced on them; new ones, too.
. "$(dirname "$0")/../common.sh"
. "$CLUSTER_SCRIPTS/attempts.sh"
begin_attempts
for i in $(seq "$NODES"); do
  old=$(cat "$CLUSTER_DIR/nodes/node$i/containerd.pid")
  kill_daemon "$i" containerd
  back() { [ "$(cat "$CLUSTER_DIR/nodes/node$i/containerd.pid")" != "$old" ] && "$CLUSTER_SCRIPTS/enter.sh" "$i" ctr version; }
  await 60 "the return of containerd on node$i" "$CLUSTER_DIR/nodes/node$i/log/containerd.log" back
  kubectl wait --for=condition=Ready "node/node$i" --timeout=120s >/dev/null
  attempt "new-$i" "$i" nothing open-server
  await 120 "an attempt of new-$i" "kubectl -n $CHECK logs new-$i" settled denied "new-$i"
  ! k logs "new-$i" | grep -q passed || fail "new-$i: a pod that started after the restart was let through"
done
rolled
end_attempts
