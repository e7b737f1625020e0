#!/bin/bash
# The API server is away for a minute, and an agent is killed meanwhile. What was enforced stays so, the agents say that
# they hear nothing, and a change that comes afterwards is enforced.
. "$(dirname "$0")/../common.sh"
. "$CLUSTER_SCRIPTS/attempts.sh"
AWAY=60
says() { "$CLUSTER_SCRIPTS/enter.sh" 2 curl --silent --max-time 5 http://127.0.0.1:9967/readyz; }
says_failure() { says | grep -q 'the watch of .* fails'; }
says_nothing_of_it() { ! says_failure; }
passed() { [ $SECONDS -ge "$1" ]; }
begin_attempts
trap 'release_daemon 1 kube-apiserver; kubectl delete namespace "$CHECK" --wait=false >/dev/null' EXIT
hold_daemon 1 kube-apiserver
end=$((SECONDS + AWAY))
await "$AWAY" 'that the agent of node2 says so' 'its answer to /readyz' says_failure
echo "node2: $(says)"
"$CLUSTER_SCRIPTS/enter.sh" 3 bash -c 'kill -9 $(busybox pidof isolator)'
await $((AWAY + 1)) 'the end of the minute' "$CLUSTER_DIR/nodes/node1/log" passed "$end"
release_daemon 1 kube-apiserver
await 120 'an answer of the API server' "$CLUSTER_DIR/nodes/node1/log/kube-apiserver.log" kubectl get --raw /readyz
kubectl wait --for=condition=Ready nodes --all --timeout=180s >/dev/null
await 120 'that the agent of node2 hears again' 'its answer to /readyz' says_nothing_of_it
rolled
k label pod bound-2 may=open --overwrite >/dev/null
await 60 'that bound-2 passes once it may' "kubectl -n $CHECK logs bound-2" settled passed bound-2
end_attempts '^bound-2$'
