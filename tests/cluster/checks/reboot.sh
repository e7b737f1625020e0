#!/bin/bash
# A node ends as by a loss of power and starts again: network, processes, pins, everything in memory is gone. Nothing
# changes on the others, and on itself nothing is let through from when its agent enforces. What its pods do before that is
# restricted by the other ends only (docs/threat-model.md); how much it was is printed.
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
pod=$(agents get pods --field-selector="spec.nodeName=node$NODE" -o name)
enforced=$(agents logs "$pod" --timestamps | awk '/"message":"enforced"/ { print $1; exit }')
[ -n "$enforced" ] || fail "the agent of node$NODE does not say since when it enforces"
# An attempt speaks when it is over, which on a busy machine is a moment after its connection was judged.
limit=$(date -u -d "$enforced + 1 second" +%FT%T.%N)
early=0 late=0
for name in far-1 far-new "bound-$NODE"; do
  count() { k logs "$name" --timestamps | awk -v limit="$limit" -v late="$1" '$2 == "passed" && ($1 > limit) == late { n++ } END { print n + 0 }'; }
  early=$((early + $(count 0))) late=$((late + $(count 1)))
done
echo "by pods of node$NODE or to them: $early denied attempts passed before its agent enforced (at $enforced), $late after"
end_attempts "^(open|bound)-$NODE\$"
[ $late = 0 ] || fail 'a denied attempt has passed'
