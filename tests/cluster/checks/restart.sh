#!/bin/bash
# Under constant attempts, allowed and denied: the agents are killed, rolled, deleted and made again. No denied attempt
# passes and no allowed one fails, at any time.
. "$(dirname "$0")/../common.sh"
server server
ready server
for i in $(seq "$NODES"); do
  for may in server nothing; do
    k apply -f - >/dev/null <<Y
apiVersion: v1
kind: Pod
metadata: {name: $may-$i, labels: {may: $may}}
spec:
  nodeName: node$i
  terminationGracePeriodSeconds: 0
  containers:
    - name: client
      image: $IMAGE
      command: [/bin/busybox, sh, -c]
      args: ['while :; do if nc -w 1 $(address server) 8080 </dev/null 2>/dev/null; then echo passed; else echo denied; fi; sleep 0.1; done']
Y
  done
done
k apply -f - >/dev/null <<Y
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nothing-out}
spec: {podSelector: {matchLabels: {may: nothing}}, policyTypes: [Egress]}
Y
# settled WORD POD: whether its last attempts said so.
settled() { [ "$(k logs "$2" --tail=3 | sort -u)" = "$1" ]; }
for i in $(seq "$NODES"); do
  await 60 "that server-$i passes" 'its log' settled passed "server-$i"
  await 60 "that nothing-$i is denied" 'its log' settled denied "nothing-$i"
done
mark=$(date -u +%FT%TZ)
agents() { kubectl -n isolator-system "$@"; }
rolled() { agents rollout status daemonset/isolator --timeout=120s >/dev/null || fail 'the agents do not become ready again'; }
agents get daemonset isolator -o json | jq 'del(.status, .metadata.resourceVersion, .metadata.uid, .metadata.creationTimestamp)' >"$CLUSTER_DIR/daemonset.json"

agents delete pod --all --force --grace-period=0 >/dev/null 2>&1
rolled
agents rollout restart daemonset/isolator >/dev/null
rolled
agents delete daemonset isolator --wait >/dev/null
gone() { [ -z "$(agents get pods -o name)" ]; }
await 60 "the end of all agents" "kubectl get pods -A" gone
denied 'while there is no agent' nothing-1 "$(address server)" 8080
agents apply -f "$CLUSTER_DIR/daemonset.json" >/dev/null
rolled

for i in $(seq "$NODES"); do
  ! k logs "nothing-$i" --since-time="$mark" | grep -q passed || fail "nothing-$i: a denied attempt has passed"
  lost=$(k logs "server-$i" --since-time="$mark" | grep -c denied || true)
  [ "$lost" = 0 ] || fail "server-$i: $lost allowed attempts were lost"
  echo "node$i: $(k logs "nothing-$i" --since-time="$mark" | wc -l) denied, $(k logs "server-$i" --since-time="$mark" | wc -l) allowed attempts"
done
