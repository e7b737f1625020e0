# What the checks share. Sourced. Each check has a namespace of its own name, made afresh and removed at its end.
. "$(dirname "$0")/../settings.sh"
. "$CLUSTER_SCRIPTS/nodes.sh"
IMAGE=isolator.test/e2e/agnhost:2.56
CHECK=check-$(basename "$0" .sh)
kubectl delete namespace "$CHECK" --ignore-not-found >/dev/null
kubectl create namespace "$CHECK" >/dev/null
trap 'kubectl delete namespace "$CHECK" --wait=false >/dev/null' EXIT
k() { kubectl -n "$CHECK" "$@"; }

# server NAME [NODE]: a pod that answers at TCP and UDP 8080 and is probed by its kubelet.
server() {
  k apply -f - >/dev/null <<Y
apiVersion: v1
kind: Pod
metadata: {name: $1, labels: {app: $1}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: server
      image: $IMAGE
      args: [netexec, --http-port=8080, --udp-port=8080]
      readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
  ${2:+nodeName: $2}
Y
}
# client NAME [NODE]: a pod that waits for commands.
client() {
  k apply -f - >/dev/null <<Y
apiVersion: v1
kind: Pod
metadata: {name: $1, labels: {app: $1}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: client, image: $IMAGE, args: [pause]}]
  ${2:+nodeName: $2}
Y
}
ready() { k wait --for=condition=Ready "pod/$1" --timeout=120s >/dev/null || { k describe pod "$1"; fail "pod $1 does not become ready"; }; }
# The address of a pod: the first, or the last where CLUSTER_LAST_ADDRESS is set (the other family of a dual-stack cluster).
address() { k get pod "$1" -o jsonpath='{.status.podIPs[*].ip}' | awk -v last="${CLUSTER_LAST_ADDRESS:-}" '{ print last ? $NF : $1 }'; }
at() { case $1 in *:*) echo "[$1]" ;; *) echo "$1" ;; esac; }
# connects POD ADDRESS PORT: whether one attempt gets through.
connects() { k exec "$1" -- /agnhost connect "$(at "$2"):$3" --timeout=1s >/dev/null 2>&1; }
allowed() { # WHAT POD ADDRESS PORT: within some seconds, as policies take effect after a moment
  local _
  for _ in $(seq 20); do ! connects "${@:2}" || return 0; done
  fail "$1: is not let through"
}
denied() { # WHAT POD ADDRESS PORT: from the first attempt on that is dropped, all are
  local _
  for _ in $(seq 20); do connects "${@:2}" || break; done
  for _ in 1 2 3; do ! connects "${@:2}" || fail "$1: is let through"; done
}

# The DaemonSet.
agents() { kubectl -n isolator-system "$@"; }
rolled() { agents rollout status daemonset/isolator --timeout=180s >/dev/null || fail 'the agents do not become ready again'; }
no_agents() { [ -z "$(agents get pods -o name)" ]; }
remove_agents() { agents delete daemonset isolator --wait >/dev/null; await 60 'the end of all agents' 'kubectl get pods -A' no_agents; }
# The program of the image, on a node.
isolator() { local node=$1; shift; "$CLUSTER_SCRIPTS/enter.sh" "$node" isolator "$@"; }
