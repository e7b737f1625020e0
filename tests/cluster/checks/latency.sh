#!/bin/bash
# How long a changed policy takes to be in force, and how long a new pod waits for what it is allowed: percentiles, as
# packets see it, with the API server's own time beside them. CLUSTER_PODS: with so many pods beside on simulated nodes.
# Fails where something takes more than 5 s.
. "$(dirname "$0")/../common.sh"
. "$CLUSTER_SCRIPTS/simulate.sh"
CHANGES=${CLUSTER_SAMPLE:+40} PODS=${CLUSTER_SAMPLE:+20}
CHANGES=${CHANGES:-500} PODS=${PODS:-100} MANY_PODS=${CLUSTER_PODS:-0}
NODE=2
percentiles() { # WHAT: of numbers, one a line
  sort -n | awk -v what="$1" '{ v[NR] = $1 } function p(q) { i = int(NR * q / 100 + 0.999999); return v[i < 1 ? 1 : i] }
    END { if (NR) printf "%s: p50 %s ms, p99 %s ms, max %s ms, of %d\n", what, p(50), p(99), v[NR], NR; else exit 1 }'
}
# The network namespace of a pod.
sandbox() { # NODE ADDRESS
  "$CLUSTER_SCRIPTS/enter.sh" "$1" bash -c 'for ns in /run/netns/*; do
    if nsenter --net="$ns" ip -o addr | grep -qF " $1/"; then echo "$ns"; fi; done' - "$2"
}
metric() { "$CLUSTER_SCRIPTS/enter.sh" "$NODE" curl --silent --max-time 5 http://127.0.0.1:9967/metrics | awk -v name="$1" '$1 == name { print $2 }'; }
server server node1
client client "node$NODE"
ready server
ready client
trap 'end_proxy; [ "$MANY_PODS" = 0 ] || end_simulation; kubectl delete namespace "$CHECK" --wait=false >/dev/null' EXIT
begin_proxy
if [ "$MANY_PODS" != 0 ]; then
  simulate "$MANY_PODS"
  known() { [ "$(metric 'isolator_objects{kind="pod"}')" -ge "$MANY_PODS" ]; }
  await 120 'that the agent knows all pods' 'its metrics' known
  echo "$(metric 'isolator_objects{kind="pod"}') pods are known, $((MANY_PODS / PODS_PER_NODE)) nodes simulated; the agent has $("$CLUSTER_SCRIPTS/enter.sh" "$NODE" bash -c 'awk "/VmRSS/ { print int(\$2 / 1024) }" "/proc/$(busybox pidof isolator)/status"') MiB"
fi

# One direction: the flow runs without an entry, and its answers may go on being sent (ADR 5).
policies=apis/networking.k8s.io/v1/namespaces/$CHECK/networkpolicies
policy='{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"closed"},"spec":{"podSelector":{"matchLabels":{"app":"client"}},"policyTypes":["Egress"]}}'

coproc PROBER { "$CLUSTER_SCRIPTS/enter.sh" "$NODE" nsenter --net="$(sandbox "$NODE" "$(address client)")" perl "$CLUSTER_SCRIPTS/prober.pl" "$(address server)"; }
now() { NOW=${EPOCHREALTIME/[^0-9]/}; }
for i in $(seq "$CHANGES"); do
  if [ $((i % 2)) = 1 ]; then word=closed request=(POST "$policies" -d "$policy"); else word=open request=(DELETE "$policies/closed"); fi
  echo $word >&"${PROBER[1]}"
  read -r _ <&"${PROBER[0]}"
  now; sent=$NOW
  api "${request[@]}" || fail 'the API server refuses a change'
  now; accepted=$NOW
  read -r at <&"${PROBER[0]}"
  { [ "$at" != never ] && [ $((${at/[^0-9]/} - accepted)) -lt 5000000 ]; } || fail "change $i ($word) is not in force 5 s after the API server took it"
  echo "$word $(((${at/[^0-9]/} - sent) / 1000)) $(((accepted - sent) / 1000))"
done >"$CLUSTER_DIR/latency"
for word in closed open; do
  awk -v w=$word '$1 == w { print $2 }' "$CLUSTER_DIR/latency" | percentiles "policy changed until $word, from the request on"
done
awk '{ print $3 }' "$CLUSTER_DIR/latency" | percentiles 'of that until the API server has answered'

# New pods ask every 10 ms, from their first instruction on; the first number that is answered says how long they waited.
k apply -f - >/dev/null <<Y
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-server}
spec:
  podSelector: {matchLabels: {may: server}}
  policyTypes: [Ingress, Egress]
  egress: [{to: [{podSelector: {matchLabels: {app: server}}}]}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: new}
spec:
  completions: $PODS
  parallelism: 6
  template:
    metadata: {labels: {may: server}}
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 0
      containers:
        - name: client
          image: $IMAGE
          command: [/bin/busybox, sh, -c]
          args: ['ping -i 0.01 -w 6 $(address server) | grep -m 1 -o "seq=[0-9]*" | cut -d= -f2 >/dev/termination-log']
Y
k wait --for=condition=Complete job/new --timeout=900s >/dev/null || fail 'the job of new pods does not end'
k get pods -l job-name=new -o json | jq -r '.items[].status.containerStatuses[0].state.terminated.message // "never" | rtrimstr("\n")' >"$CLUSTER_DIR/latency"
! grep -q never "$CLUSTER_DIR/latency" || fail 'a new pod was never let through'
awk '{ print $1 * 10 }' "$CLUSTER_DIR/latency" | percentiles 'first instruction of a new pod until its first answer'
