#!/bin/bash
# e2e.sh FOCUS SKIP: upstream's end-to-end suite, several cases at a time. One line for each case that ran; the last
# line has the counts.
. "$(dirname "$0")/settings.sh"
: "${CLUSTER_LOGS:?}"
echo 'promoterE2eRegistry: isolator.test/e2e' >"$CLUSTER_DIR/images.yaml"
export TMPDIR=$CLUSTER_DIR/tmp # the suite leaves files behind
mkdir -p "$TMPDIR"
cd "$CLUSTER_LOGS"
KUBE_TEST_REPO_LIST=$CLUSTER_DIR/images.yaml outside ginkgo -procs="${CLUSTER_PROCS:-4}" -v --no-color --timeout=3h --focus="$1" --skip="$2" \
  --output-dir="$CLUSTER_LOGS" --json-report=e2e.json \
  "$CLUSTER_BIN/e2e.test" -- --kubeconfig="$KUBECONFIG" --provider=local --disable-log-dump --dump-logs-on-failure=false >e2e.log 2>&1 || true
jq -r '.[].SpecReports[] | select(.LeafNodeType == "It" and .State != "skipped") |
  [.State, (.RunTime / 1e9 | floor | tostring) + " s", .LeafNodeText, ((.Failure.Message // "") | split("\n")[0])] | @tsv' e2e.json | sort
grep -E '^(FAIL!|SUCCESS!) ' e2e.log
