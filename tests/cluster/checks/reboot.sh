#!/bin/bash
# A node ends as by a loss of power and starts again: network, processes, pins, everything in memory is gone. Nothing
# changes on the others; what its pods must not do they do not do, from their first packet on.
. "$(dirname "$0")/../common.sh"
. "$CLUSTER_SCRIPTS/wire.sh"
. "$CLUSTER_SCRIPTS/attempts.sh"
NODE=$NODES # not the one with the control plane
[ "$NODE" -gt 1 ] || fail 'a node besides the first is needed'
server far-server "node$NODE"
ready far-server
k apply -f - >/dev/null <<Y
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: far}
spec: {podSelector: {matchLabels: {app: far-server}}, policyTypes: [Ingress]}
Y
attempt far-1 1 anything far-server
begin_attempts
await 60 'that far-1 is denied' "kubectl -n $CHECK logs far-1" settled denied far-1

restarts() { k get pod "$1" -o jsonpath='{.status.containerStatuses[0].restartCount}'; }
cgroups
start=$SECONDS
end_processes "$NAME/node$NODE"
unplug "$NODE"
gone() { [ "$(kubectl get node "node$NODE" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}')" != True ]; }
await 120 "that node$NODE is missed" 'kubectl get nodes' gone
plug "$NODE"
start_node "$NODE"
kubectl wait --for=condition=Ready "node/node$NODE" --timeout=180s >/dev/null
again() { [ "$(restarts "$1")" -gt 0 ]; }
for name in far-server "bound-$NODE" "open-$NODE"; do await 180 "the restart of $name" "$CLUSTER_DIR/nodes/node$NODE/log/kubelet.log" again "$name"; done
echo "node$NODE is back after $((SECONDS - start)) s"
rolled
# An attempt on the new address, which may differ.
attempt far-new 1 anything far-server
await 60 'that far-new is denied' "kubectl -n $CHECK logs far-new" settled denied far-new
await 60 "that open-$NODE passes" "kubectl -n $CHECK logs open-$NODE" settled passed "open-$NODE"
leaks=0
for name in far-1 far-new "bound-$NODE" "closed-$NODE"; do
  leaked=$(k logs "$name" | grep -cx passed || true)
  leaks=$((leaks + leaked))
  echo "$name: $(k logs "$name" | wc -l) attempts since it started, $leaked passed"
done
end_attempts "^open-$NODE\$"
[ $leaks = 0 ] || fail 'a denied attempt has passed'
