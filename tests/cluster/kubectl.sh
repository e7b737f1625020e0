#!/bin/bash
# kubectl for the cluster that `cargo xtask cluster up` has started.
cluster=$(cd "$(dirname "$0")/../.." && pwd)/target/cluster
export CLUSTER_DIR=${CLUSTER_DIR:-$cluster/run} CLUSTER_BIN=${CLUSTER_BIN:-$cluster/bin} CLUSTER_IMAGES=${CLUSTER_IMAGES:-$cluster/images}
. "$(dirname "$0")/settings.sh"
kubectl "$@"
