#!/bin/bash
# A node ends as by a loss of power and starts again: network, processes, pins, everything in memory is gone. Nothing
# changes on the others, and its own pods wait until its agent enforces (docs/adr/0010): no attempt is judged wrongly.
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

again() { [ "$(restarts "$1")" -gt 0 ]; }
restarts() { k get pod "$1" -o jsonpath='{.status.containerStatuses[0].restartCount}'; }
cgroups
start=$SECONDS
end_processes "$NAME/node$NODE"
unplug "$NODE"
gone() { [ "$(kubectl get node "node$NODE" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}')" != True ]; }
await 120 "that node$NODE is missed" 'kubectl get nodes' gone
plug "$NODE"
# The agent is late: whoever has its name in the network of the node keeps it from starting.
coproc HOLDER { exec ip netns exec "$(node_ns "$NODE")" perl -MSocket -e '$| = 1; socket S, AF_UNIX, SOCK_STREAM, 0; bind S, pack_sockaddr_un("\0isolator-agent") and listen S, 9 or die; print "ready\n"; <STDIN>'; }
read -r word <&"${HOLDER[0]}" && [ "$word" = ready ] || fail 'the name of the agent cannot be taken'
start_node "$NODE"
pod=$(agents get pods --field-selector="spec.nodeName=node$NODE" -o name)
late() { agents logs "$pod" | grep 'another agent'; }
await 120 'that the agent is late' 'kubectl -n isolator-system logs' late
waits() { [ "$(k get events --field-selector="involvedObject.name=bound-$NODE,reason=NetworkNotReady" -o name | wc -l)" -gt 0 ]; }
waits_or_runs() { waits || again "bound-$NODE"; }
await 60 "that bound-$NODE waits for the agent" "kubectl -n $CHECK get events" waits_or_runs
! again "bound-$NODE" || fail "bound-$NODE runs before its agent"
kill "$HOLDER_PID"
kubectl wait --for=condition=Ready "node/node$NODE" --timeout=180s >/dev/null
for name in far-server "bound-$NODE" "open-$NODE"; do await 180 "the restart of $name" "$CLUSTER_DIR/nodes/node$NODE/log/kubelet.log" again "$name"; done
echo "node$NODE is back after $((SECONDS - start)) s"
rolled
# An attempt on the new address, which may differ.
attempt far-new 1 anything far-server
await 60 'that far-new is denied' "kubectl -n $CHECK logs far-new" settled denied far-new
await 60 "that open-$NODE passes" "kubectl -n $CHECK logs open-$NODE" settled passed "open-$NODE"
enforced=$(agents logs "$pod" --timestamps | awk '/"message":"enforced"/ { print $1; exit }')
[ -n "$enforced" ] || fail "the agent of node$NODE does not say since when it enforces"
first=$(k logs "bound-$NODE" --timestamps | awk '{ print $1; exit }')
echo "the agent of node$NODE enforces since $enforced; the first attempt of bound-$NODE was over at $first"
leaked=0 total=0
for name in far-1 far-new "bound-$NODE"; do
  passed=$(k logs "$name" --since-time="$MARK" | grep -cx passed || true)
  leaked=$((leaked + passed)) total=$((total + $(k logs "$name" --since-time="$MARK" | wc -l)))
done
echo "by pods of node$NODE or to them: $leaked of $total denied attempts passed"
[ $leaked = 0 ] || fail 'a denied attempt has passed'
end_attempts "^open-$NODE\$"
