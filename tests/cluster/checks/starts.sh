#!/bin/bash
# Pods whose first instruction is a connection that their policy forbids: none of them may pass, on any node. A pod that
# is allowed to shows that somebody answers.
. "$(dirname "$0")/../common.sh"
STARTS=${CLUSTER_SAMPLE:+20}
STARTS=${STARTS:-200}
server server
ready server
k apply -f - >/dev/null <<Y
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nothing-out}
spec: {podSelector: {matchLabels: {may: nothing}}, policyTypes: [Egress]}
Y
# job NAME LABEL COUNT ATTEMPTS: says in each pod's last message whether an attempt got through.
job() {
  k apply -f - >/dev/null <<Y
apiVersion: batch/v1
kind: Job
metadata: {name: $1}
spec:
  completions: $3
  parallelism: 12
  template:
    metadata: {labels: {may: $2}}
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 0
      containers:
        - name: client
          image: $IMAGE
          command: [/bin/busybox, sh, -c]
          args: ['i=0; while [ \$i -lt $4 ]; do i=\$((i + 1)); if nc -w 1 $(address server) 8080 </dev/null; then echo passed >/dev/termination-log; exit; fi; done; echo denied >/dev/termination-log']
Y
  k wait --for=condition=Complete "job/$1" --timeout=900s >/dev/null || fail "job $1 does not end; $(k get pods -l "job-name=$1" --no-headers | awk '{ print $3 }' | sort | uniq -c | tr '\n' ' ')"
  k get pods -l "job-name=$1" -o json | jq -r '.items[] | .spec.nodeName + " " + (.status.containerStatuses[0].state.terminated.message // "said nothing" | rtrimstr("\n"))' | sort | uniq -c
}
free=$(job free anything 1 20)
grep -q passed <<<"$free" || fail "nobody gets through, so that this would show nothing: $free"
results=$(job bound nothing "$STARTS" 3)
echo "$results"
! grep -q passed <<<"$results" || fail 'a first connection was let through'
[ "$(awk '/denied/ { sum += $1 } END { print sum + 0 }' <<<"$results")" = "$STARTS" ] || fail 'not every pod has said what became of it'
