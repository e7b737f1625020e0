#!/bin/bash
# Three tenants on a cluster that runs isolator, with real pods: the steps of "Cilium Powered vClusters, part 3", without
# Cilium. It needs kubectl, makes the namespaces tc-alpha, tc-beta and tc-gamma, and removes them at its end.
# Images can be others: SERVER_IMAGE=nginx:1.27 CLIENT_IMAGE=curlimages/curl:8.11.1 docs/tenants.sh
set -euo pipefail
SERVER_IMAGE=${SERVER_IMAGE:-nginx:1.27} CLIENT_IMAGE=${CLIENT_IMAGE:-curlimages/curl:8.11.1}
TENANTS='alpha beta gamma' PASSED=0 FAILED=0
trap 'kubectl delete namespace tc-alpha tc-beta tc-gamma --wait=false >/dev/null' EXIT

# reach FROM TO: sets GOT to curl's exit code when a tenant's pod asks a server. 28: no answer in time.
reach() {
  local address; address=$(kubectl -n "tc-$2" get pod "nginx-x-default-x-tc-$2" -o jsonpath='{.status.podIP}')
  case $address in *:*) address="[$address]" ;; esac
  GOT=0
  kubectl -n "tc-$1" exec "curl-x-default-x-tc-$1" -- curl -s -o /dev/null --fail --max-time 2 "http://$address" 2>/dev/null || GOT=$?
}
expect() { # FROM TO CODE
  reach "$1" "$2"
  if [ "$GOT" = "$3" ]; then PASSED=$((PASSED + 1)); else FAILED=$((FAILED + 1)); fi
  echo "  tc-$1/curl -> tc-$2/nginx: exit code $GOT$([ "$GOT" = "$3" ] || echo ", NOT $3")"
}
# expect_all CODE: of those who ask another tenant; who asks his own is always answered.
expect_all() {
  local from to
  for _ in $(seq 30); do # what was changed takes effect after a moment
    reach gamma beta
    [ "$GOT" != "$1" ] || break
  done
  for from in $TENANTS; do for to in $TENANTS; do expect "$from" "$to" "$([ "$from" = "$to" ] && echo 0 || echo "$1")"; done; done
}

for tenant in $TENANTS; do
  kubectl create namespace "tc-$tenant" >/dev/null
  kubectl apply -f - >/dev/null <<Y
apiVersion: v1
kind: Pod
metadata: {name: nginx-x-default-x-tc-$tenant, namespace: tc-$tenant, labels: {app: nginx}}
spec: {containers: [{name: nginx, image: "$SERVER_IMAGE"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: curl-x-default-x-tc-$tenant, namespace: tc-$tenant, labels: {app: curl}}
spec: {containers: [{name: curl, image: "$CLIENT_IMAGE", command: [sleep, "86400"]}]}
Y
done
for tenant in $TENANTS; do kubectl -n "tc-$tenant" wait --for=condition=Ready pod --all --timeout=120s >/dev/null; done
echo '# No policy: everybody reaches everybody.'
expect_all 0

# with_policy TITLE KIND API SPEC: one policy for each tenant, looked at, and taken away.
with_policy() {
  echo "# $1"
  for tenant in $TENANTS; do
    kubectl apply -f - >/dev/null <<Y
{apiVersion: $3, kind: $2, metadata: {name: deny-cross-tenant, namespace: tc-$tenant}, spec: $4}
Y
  done
  expect_all 28
  for tenant in $TENANTS; do kubectl -n "tc-$tenant" delete "${2,,}" deny-cross-tenant >/dev/null; done
}
with_policy 'NetworkPolicy: from the own namespace only.' NetworkPolicy networking.k8s.io/v1 \
  '{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {}}]}]}'
if kubectl get crd ciliumnetworkpolicies.cilium.io >/dev/null 2>&1; then
  with_policy 'CiliumNetworkPolicy: the same.' CiliumNetworkPolicy cilium.io/v2 '{endpointSelector: {}, ingress: [{fromEndpoints: [{}]}]}'
else
  echo '# CiliumNetworkPolicy: this cluster does not know the kind; passed over.'
fi
echo '# Neither: a label on each namespace.'
for tenant in $TENANTS; do kubectl label namespace "tc-$tenant" "isolator.dev/tenant=$tenant" >/dev/null; done
expect_all 28
echo '# Without the labels: open again.'
for tenant in $TENANTS; do kubectl label namespace "tc-$tenant" isolator.dev/tenant- >/dev/null; done
expect_all 0
echo "$PASSED passed, $FAILED failed"
[ "$FAILED" = 0 ]
