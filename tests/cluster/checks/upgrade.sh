#!/bin/bash
# The DaemonSet gets an image of another build with another version, node by node, and the first one again: an upgrade and
# a downgrade, under attempts.
. "$(dirname "$0")/../common.sh"
. "$CLUSTER_SCRIPTS/attempts.sh"
image=$(agents get daemonset isolator -o jsonpath='{.spec.template.spec.containers[0].image}')
other=$image-dev
for i in $(seq "$NODES"); do "$CLUSTER_SCRIPTS/enter.sh" "$i" ctr -n k8s.io images import "${CLUSTER_OTHER:?}" >/dev/null; done
put() { agents set image daemonset/isolator "isolator=$1" >/dev/null; rolled; }
versions() { # What each agent says of its own, once for those who say the same.
  local pod
  for pod in $(agents get pods -o name); do agents exec "$pod" -- isolator status -o json | jq -r .daemon.version; done | sort -u
}
before=$(versions)
begin_attempts
for wanted in "$other" "$image"; do
  put "$wanted"
  echo "all agents have $wanted, version $(versions)"
  if [ "$wanted" = "$image" ]; then [ "$(versions)" = "$before" ]; else [ "$(versions)" != "$before" ] && [ "$(versions | wc -l)" = 1 ]; fi ||
    fail "agents of $wanted have the versions $(versions | tr '\n' ' '), and had $before"
done
end_attempts
