# Pods that only the API server knows: on nodes without a kubelet, running, with addresses and labels. Sourced by checks
# that show what their number costs. And the quick way to the API server by which they are made, and changes sent. Not
# here: what is measured.

# A way to the API server that needs no certificates: a start of kubectl takes longer than a change.
PROXY_SOCKET=$CLUSTER_DIR/proxy.sock
begin_proxy() {
  rm -f "$PROXY_SOCKET"
  # Not by a function: its process would be a shell around the one that must end.
  local enter=()
  [ -z "$SWITCH" ] || enter=(nsenter --net="/run/netns/$SWITCH" --)
  "${enter[@]}" "$CLUSTER_BIN/kubectl" proxy --unix-socket="$PROXY_SOCKET" >/dev/null &
  PROXY=$!
  await 20 'an answer of the proxy' "$PROXY_SOCKET" api GET readyz
}
end_proxy() { kill "$PROXY"; rm -f "$PROXY_SOCKET"; }
# api METHOD PATH [FLAG...]
api() { curl --silent --fail --output /dev/null --unix-socket "$PROXY_SOCKET" -X "$1" -H 'Content-Type: application/json' "http://localhost/$2" "${@:3}"; }

MANY=$CHECK-many
PODS_PER_NODE=1000

# simulate COUNT: makes them in a namespace of their own. Nodes without labels get no pods of DaemonSets.
simulate() {
  kubectl delete namespace "$MANY" --ignore-not-found >/dev/null # An earlier run's may still be going.
  kubectl create namespace "$MANY" >/dev/null
  seq 0 $((($1 - 1) / PODS_PER_NODE)) | awk -v ns="$MANY" '{ printf "{\"apiVersion\": \"v1\", \"kind\": \"Node\", \"metadata\": {\"name\": \"%s-%d\"}}\n", ns, $1 }' |
    kubectl create -f - >/dev/null
  requests "$1" POST pods application/json '{"metadata":{"name":"p%d","labels":{"app":"a%d"}},"spec":{"nodeName":"%s","terminationGracePeriodSeconds":0,"tolerations":[{"operator":"Exists"}],"containers":[{"name":"c","image":"none"}]}}'
  requests "$1" PATCH pods/p%d/status application/merge-patch+json '{"status":{"phase":"Running","podIP":"%s","podIPs":[{"ip":"%s"}]}}'
}

# requests COUNT METHOD PATH TYPE BODY: one for each pod, many at a time.
requests() {
  local first
  for first in $(seq 0 5000 $(($1 - 1))); do
    seq "$first" $((first + 5000 < $1 ? first + 4999 : $1 - 1)) |
      awk -v socket="$PROXY_SOCKET" -v ns="$MANY" -v each=$PODS_PER_NODE -v method="$2" -v path="$3" -v type="$4" -v body="$5" '{
        addr = sprintf("10.%d.%d.%d", 64 + int($1 / 65536), int($1 / 256) % 256, $1 % 256)
        node = sprintf("%s-%d", ns, int($1 / each))
        data = method == "POST" ? sprintf(body, $1, $1 % 1009, node) : sprintf(body, addr, addr)
        gsub(/"/, "\\\"", data)
        if (NR > 1) print "next"
        printf "url = \"http://localhost/api/v1/namespaces/%s/%s\"\n", ns, method == "POST" ? path : sprintf(path, $1)
        printf "request = %s\nunix-socket = \"%s\"\nheader = \"Content-Type: %s\"\ndata = \"%s\"\noutput = /dev/null\nfail\nsilent\n", method, socket, type, data
      }' | curl --no-progress-meter --parallel --parallel-max 32 --config - || fail "the API server refuses simulated pods"
  done
}

end_simulation() {
  kubectl delete namespace "$MANY" --wait=false >/dev/null
  kubectl get nodes -o name | grep "/$MANY-" | xargs -r "$CLUSTER_SCRIPTS/kubectl.sh" delete --wait=false >/dev/null
}
