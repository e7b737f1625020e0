#!/bin/bash
# A TC filter and a TCX program of somebody else on the interface of a pod: there before ours, while ours come, restart
# and go, and afterwards. They run for what passes all the time, and ours decide as if they were alone.
. "$(dirname "$0")/../common.sh"
NODE=2
on_node() { "$CLUSTER_SCRIPTS/enter.sh" "$NODE" "$@"; }
agents get daemonset isolator -o json | jq 'del(.status, .metadata.resourceVersion, .metadata.uid, .metadata.creationTimestamp)' >"$CLUSTER_DIR/daemonset.json"
PIN=/sys/fs/bpf/foreign
restore() {
  [ -z "${FOREIGN_PID:-}" ] || { exec {FOREIGN[1]}>&-; wait "$FOREIGN_PID" || true; on_node rm -f "$PIN"; }
  agents get daemonset isolator >/dev/null 2>&1 || agents apply -f "$CLUSTER_DIR/daemonset.json" >/dev/null
  kubectl delete namespace "$CHECK" --wait=false >/dev/null
  rolled
}
trap restore EXIT
remove_agents
for i in $(seq "$NODES"); do isolator "$i" uninstall --yes >/dev/null; done

server good node1
server bad node1
client client "node$NODE"
for pod in good bad client; do ready "$pod"; done
k apply -f - >/dev/null <<Y
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-good}
spec:
  podSelector: {matchLabels: {app: client}}
  policyTypes: [Egress]
  egress: [{to: [{podSelector: {matchLabels: {app: good}}}]}]
Y
# The other end of the pod's interface has a number on the node.
link=$(k exec client -- cat /sys/class/net/eth0/iflink)
interface=$(on_node ip -o link | awk -F'[:@ ]+' -v link="$link" '$1 == link { print $2 }')
coproc FOREIGN { on_node perl "$CLUSTER_SCRIPTS/foreign.pl" "$PIN" "$interface"; }
read -r word <&"${FOREIGN[0]}" && [ "$word" = ready ] || fail 'the foreign programs do not start'
on_node tc qdisc add dev "$interface" clsact
for direction in ingress egress; do on_node tc filter add dev "$interface" "$direction" pref 7 bpf direct-action object-pinned "$PIN"; done
runs() { echo >&"${FOREIGN[1]}"; read -r RUNS <&"${FOREIGN[0]}"; }
# both_run WHEN: a connection that is allowed passes, and both foreign programs see it.
both_run() {
  local before after; runs; before=$RUNS
  allowed "$1" client "$(address good)" 8080
  runs; after=$RUNS
  [ "${after% *}" -gt "${before% *}" ] && [ "${after#* }" -gt "${before#* }" ] ||
    fail "$1: filter and TCX program of others had run $before times, and $after after a connection"
  echo "$1: filter and TCX program of others ran $before, then $after times"
}
both_run 'before ours'
allowed 'what a policy forbids, while nobody enforces it' client "$(address bad)" 8080
agents apply -f "$CLUSTER_DIR/daemonset.json" >/dev/null
rolled
both_run 'beside ours'
denied 'beside others' client "$(address bad)" 8080
agents rollout restart daemonset/isolator >/dev/null
rolled
both_run 'after a restart of ours'
denied 'after a restart' client "$(address bad)" 8080
agents exec "$(agents get pods --field-selector="spec.nodeName=node$NODE" -o name)" -- isolator status >/dev/null || fail "the agent of node$NODE is not healthy beside others"
remove_agents
for i in $(seq "$NODES"); do isolator "$i" uninstall --yes >/dev/null; done
! on_node ls /etc/cni/net.d | grep isolator || fail 'a boot would still wait for an agent'
both_run 'after ours'
allowed 'what a policy forbids, after ours are gone' client "$(address bad)" 8080
