#!/bin/bash
# An isolated pod resolves names and reaches a Service where its policy allows the backends, and nothing else; its
# kubelet may always probe it; a pod of the node's own network is not touched.
. "$(dirname "$0")/../common.sh"
server good
server bad
for name in good bad; do k expose pod "$name" --port=80 --target-port=8080 >/dev/null; done
k apply -f - >/dev/null <<Y
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nothing-in, namespace: $CHECK}
spec:
  podSelector: {matchLabels: {app: good}}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {}}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: names-and-good, namespace: $CHECK}
spec:
  podSelector: {matchLabels: {isolated: "yes"}}
  policyTypes: [Ingress, Egress]
  egress:
    - to: [{namespaceSelector: {}, podSelector: {matchLabels: {k8s-app: kube-dns}}}]
      ports: [{port: 53, protocol: UDP}]
    - to: [{podSelector: {matchLabels: {app: good}}}]
Y
for i in $(seq "$NODES"); do client "client-$i" "node$i"; k label pod "client-$i" isolated=yes >/dev/null; done
for pod in good bad $(seq -f 'client-%.0f' "$NODES"); do ready "$pod"; done
for i in $(seq "$NODES"); do
  allowed "by name through a Service, from node$i" "client-$i" good 80
  allowed "to the pod itself, from node$i" "client-$i" "$(address good)" 8080
  denied "to another Service, from node$i" "client-$i" "$(k get service bad -o jsonpath='{.spec.clusterIP}')" 80
  denied "to another pod, from node$i" "client-$i" "$(address bad)" 8080
  denied "to the API server, from node$i" "client-$i" kubernetes.default 443
  denied "to an isolated pod, from node$i" "client-$i" "$(address client-1)" 8080
done
