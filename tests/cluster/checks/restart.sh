#!/bin/bash
# The agents are killed, rolled, deleted and made again. No denied attempt passes and no allowed one fails, at any time.
. "$(dirname "$0")/../common.sh"
. "$CLUSTER_SCRIPTS/attempts.sh"
begin_attempts
agents get daemonset isolator -o json | jq 'del(.status, .metadata.resourceVersion, .metadata.uid, .metadata.creationTimestamp)' >"$CLUSTER_DIR/daemonset.json"

agents delete pod --all --force --grace-period=0 >/dev/null 2>&1
rolled
agents rollout restart daemonset/isolator >/dev/null
rolled
remove_agents
denied 'while there is no agent' bound-1 "$(address open-server)" 8080
agents apply -f "$CLUSTER_DIR/daemonset.json" >/dev/null
rolled
end_attempts
