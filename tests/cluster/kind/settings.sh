# What the scripts of a kind cluster share. Sourced. CLUSTER_CACHE is the folder of what outlives a cluster.
: "${CLUSTER_NAME:=isolator-kind}" "${CLUSTER_CACHE:?}" "${CLUSTER_LOGS:?}"
. "$(dirname "${BASH_SOURCE[0]}")/../settings.sh"
. "$CLUSTER_SCRIPTS/nodes.sh"
MADE_IMAGE=isolator.test/kind-node # what image.sh makes
PRIVATE=${CLUSTER_PRIVATE:-}       # set where the Docker daemon is our own (docker.sh)
SWITCH=${CLUSTER_SWITCH:-}

kind() { outside kind "$@"; }
delete_nodes() {
  kind delete cluster --name "$NAME" --kubeconfig "$KUBECONFIG" >"$CLUSTER_LOGS/delete.log" 2>&1 ||
    fail "kind cannot delete its nodes; read $CLUSTER_LOGS/delete.log"
}
