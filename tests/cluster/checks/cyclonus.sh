#!/bin/bash
# Cases of cyclonus, a suite by others: after each change it compares what every pod reaches with what its own model of
# NetworkPolicy says. CLUSTER_CASES: tags of the cases. Left out: SCTP, which not every kernel has, and a pod's talk to itself,
# which never leaves it and is nobody's to deny.
. "$(dirname "$0")/../common.sh"
CASES=${CLUSTER_SAMPLE:+ip-block-with-except}
CASES=${CLUSTER_CASES:-${CASES:-conflict,peer-ipblock}}
LOG=$CLUSTER_LOGS/cyclonus.log RESULTS=$CLUSTER_DIR/cyclonus.xml
# The name by which it asks for the image that all tests use.
for i in $(seq "$NODES"); do
  "$CLUSTER_SCRIPTS/enter.sh" "$i" ctr -n k8s.io images tag --force "$IMAGE" isolator.test/e2e-test-images/agnhost:2.43 >/dev/null
done
rm -f "$RESULTS"
outside "$CLUSTER_BIN/cyclonus" generate --include "$CASES" --server-protocol TCP,UDP --image-registry isolator.test --ignore-loopback \
  --job-timeout-seconds 2 --perturbation-wait-seconds 1 --pod-creation-timeout-seconds 120 --cleanup-namespaces \
  --junit-results-file "$RESULTS" >"$LOG" 2>&1 || fail "cyclonus came to no end; read $LOG"
wanted=$(sed -n 's/^testing \([0-9]*\) cases$/\1/p' "$LOG")
ran=$(grep -c '<testcase ' "$RESULTS" || true)
failed=$(grep -c '<failure' "$RESULTS" || true)
echo "cyclonus: $ran of $wanted cases ($CASES), $failed failed"
[ "$ran" = "$wanted" ] && [ "$ran" -gt 0 ] || fail "not every case ran; read $LOG"
[ "$failed" = 0 ] || fail "cyclonus expected something else; read $LOG"
