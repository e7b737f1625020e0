#!/bin/bash
# The steps of docs/tenants.sh, as a person types them, with images that this cluster has. CiliumNetworkPolicy gets a
# definition that takes everything: what is read of it is ours to check.
. "$(dirname "$0")/../common.sh"
kubectl apply -f - >/dev/null <<Y
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ciliumnetworkpolicies.cilium.io}
spec:
  group: cilium.io
  names: {kind: CiliumNetworkPolicy, plural: ciliumnetworkpolicies, singular: ciliumnetworkpolicy}
  scope: Namespaced
  versions:
    - name: v2
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
Y
trap 'kubectl delete crd ciliumnetworkpolicies.cilium.io >/dev/null; kubectl delete namespace "$CHECK" --wait=false >/dev/null' EXIT
kubectl wait --for=condition=Established crd/ciliumnetworkpolicies.cilium.io --timeout=60s >/dev/null
for tenant in alpha beta gamma; do kubectl delete namespace "tc-$tenant" --ignore-not-found >/dev/null; done
SERVER_IMAGE=isolator.test/web:1 CLIENT_IMAGE=isolator.test/web:1 outside "$CLUSTER_SCRIPTS/../../docs/tenants.sh"
