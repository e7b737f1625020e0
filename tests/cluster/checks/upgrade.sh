#!/bin/bash
# The DaemonSet gets another image, node by node, and the first one again: an upgrade and a downgrade.
. "$(dirname "$0")/../common.sh"
. "$CLUSTER_SCRIPTS/attempts.sh"
image=$(agents get daemonset isolator -o jsonpath='{.spec.template.spec.containers[0].image}')
other=${image%:*}:other
for i in $(seq "$NODES"); do "$CLUSTER_SCRIPTS/enter.sh" "$i" ctr -n k8s.io images tag --force "$image" "$other" >/dev/null; done
put() { agents set image daemonset/isolator "isolator=$1" >/dev/null; rolled; }
running() { agents get pods -o jsonpath='{.items[*].spec.containers[0].image}' | tr ' ' '\n' | sort | uniq -c; }
begin_attempts
for wanted in "$other" "$image"; do
  put "$wanted"
  [ "$(running | awk '{ print $2 }')" = "$wanted" ] || fail "not every agent has the image $wanted: $(running)"
  echo "all agents have $wanted"
done
end_attempts
