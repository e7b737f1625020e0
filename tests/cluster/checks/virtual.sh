#!/bin/bash
# What vCluster makes of the pods of virtual clusters: all in one namespace of the host, with names and labels that the
# syncer writes. A policy that it translated tells them apart, also when labels change, and also through a Service.
. "$(dirname "$0")/../common.sh"
# synced NAME NAMESPACE CLUSTER NODE KIND: prints a pod as the syncer writes it.
labels() { echo "{app: $1, vcluster.loft.sh/managed-by: $3, vcluster.loft.sh/namespace: $2}"; }
synced() {
  "$5" "$1-x-$2-x-$3" "node$4"
  k label pod "$1-x-$2-x-$3" --overwrite "app=$1" "vcluster.loft.sh/managed-by=$3" "vcluster.loft.sh/namespace=$2" >/dev/null
  k annotate pod "$1-x-$2-x-$3" "vcluster.loft.sh/object-name=$1" "vcluster.loft.sh/object-namespace=$2" >/dev/null
}
k apply -f - >/dev/null <<Y
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: from-curl-x-default-x-tc-alpha}
spec:
  podSelector: {matchLabels: $(labels nginx default tc-alpha)}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: $(labels curl default tc-alpha)}}]}]
---
apiVersion: v1
kind: Service
metadata: {name: nginx-x-default-x-tc-alpha}
spec: {selector: $(labels nginx default tc-alpha), ports: [{port: 80, targetPort: 8080}]}
Y
last=$NODES
synced nginx default tc-alpha 1 server
synced curl default tc-alpha "$last" client
synced curl tools tc-alpha "$last" client
synced curl default tc-beta 1 client
server=nginx-x-default-x-tc-alpha
for pod in "$server" curl-x-{default,tools}-x-tc-alpha curl-x-default-x-tc-beta; do ready "$pod"; done
to=$(address "$server") service=$(k get service "$server" -o jsonpath='{.spec.clusterIP}')
allowed 'the pod that the policy names' curl-x-default-x-tc-alpha "$to" 8080
allowed 'the same through a Service' curl-x-default-x-tc-alpha "$service" 80
for other in curl-x-tools-x-tc-alpha curl-x-default-x-tc-beta; do
  denied "another namespace or virtual cluster ($other)" "$other" "$to" 8080
  denied "the same through a Service ($other)" "$other" "$service" 80
done
k label pod curl-x-tools-x-tc-alpha --overwrite vcluster.loft.sh/namespace=default >/dev/null
allowed 'a pod whose labels became those that the policy names' curl-x-tools-x-tc-alpha "$to" 8080
k label pod curl-x-tools-x-tc-alpha --overwrite vcluster.loft.sh/namespace=tools >/dev/null
denied 'a pod whose labels are not those any more' curl-x-tools-x-tc-alpha "$to" 8080
