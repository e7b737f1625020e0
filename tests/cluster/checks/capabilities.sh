#!/bin/bash
# Each capability of the DaemonSet is needed: without it the agent ends, or says what the kernel does not permit. With all
# of them it becomes ready.
. "$(dirname "$0")/../common.sh"
agents() { kubectl -n isolator-system "$@"; }
path=/spec/template/spec/containers/0/securityContext/capabilities/add
all=$(agents get daemonset isolator -o json | jq -c '.spec.template.spec.containers[0].securityContext.capabilities.add')
put() { agents patch daemonset isolator --type=json -p "[{\"op\":\"replace\",\"path\":\"$path\",\"value\":$1}]" >/dev/null; }
restore() { put "$all"; agents rollout status daemonset/isolator --timeout=180s >/dev/null; }
trap 'restore; kubectl delete namespace "$CHECK" --wait=false >/dev/null' EXIT

# hampered: the newest agent has ended by an error, or says why it is not ready.
newest() { agents get pods -o json | jq -r '[.items[] | select(.metadata.deletionTimestamp == null)] | sort_by(.metadata.creationTimestamp) | last | .metadata.name'; }
hampered() {
  local pod; pod=$(newest)
  [ "$(agents get pod "$pod" -o json | jq -c '.spec.containers[0].securityContext.capabilities.add')" = "$1" ] || return 1
  agents logs "$pod" --previous 2>/dev/null | grep -vE '^(unable to retrieve|$)' && return 0
  agents logs "$pod" 2>/dev/null | grep -E '^error|ERROR|not permitted'
}
for capability in $(jq -r '.[]' <<<"$all"); do
  rest=$(jq -c --arg one "$capability" 'map(select(. != $one))' <<<"$all")
  put "$rest"
  # A kubelet whose API server was away before may hear half a minute late.
  await 120 "a failure for want of CAP_$capability" 'kubectl -n isolator-system logs daemonset/isolator' hampered "$rest"
  echo "without CAP_$capability: $(hampered "$rest" | tail -1 | cut -c1-200)"
  restore
done
