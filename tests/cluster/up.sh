#!/bin/bash
# Starts a cluster of real nodes on this machine, afresh. A node is a set of namespaces with its own containerd, kubelet
# and kube-proxy; etcd and the control plane run in the first. Nothing in it enforces NetworkPolicy.
FRESH=1
. "$(dirname "$0")/settings.sh"
. "$CLUSTER_SCRIPTS/pki.sh"
. "$CLUSTER_SCRIPTS/wire.sh"
. "$CLUSTER_SCRIPTS/nodes.sh"
. "$CLUSTER_SCRIPTS/daemons.sh"
"$CLUSTER_SCRIPTS/down.sh"
mkdir -p "$CLUSTER_DIR/nodes"
chosen NAME "$NAME" NODES "$NODES" CNI "$CNI" FAMILY "$FAMILY"

keep_settings
make_mountpoints
make_pki
make_wire
cgroups
chosen UNIFIED "$([ "$UNIFIED" = /sys/fs/cgroup ] && echo /sys/fs/cgroup || echo /sys/fs/cgroup/unified)"
say 'certificates and network are made'

for i in $(seq "$NODES"); do make_node "$i"; start_node "$i"; done
say 'nodes are started'

control=$CLUSTER_DIR/nodes/node1/log
await 180 'an answer of the API server' "$control/kube-apiserver.log" kubectl get --raw /readyz
await 60 'the default service account' "$control/kube-controller-manager.log" kubectl get serviceaccount default
kubectl create clusterrolebinding apiserver-kubelet --clusterrole=system:kubelet-api-admin --user=apiserver-kubelet >/dev/null
for i in $(seq "$NODES"); do
  await 120 "the registration of node$i" "$CLUSTER_DIR/nodes/node$i/log/kubelet.log" kubectl get node "node$i"
  ranges=$(families "$POD_NET.$i.0/24" "$POD_NET6:$i::/64")
  kubectl patch node "node$i" -p "{\"spec\":{\"podCIDR\":\"${ranges%%,*}\",\"podCIDRs\":[\"${ranges//,/\",\"}\"]}}" >/dev/null
done
for i in $(seq "$NODES"); do
  await 120 "loading images on node$i" "$CLUSTER_DIR/nodes/node$i/log/images.log" test -e "$CLUSTER_DIR/nodes/node$i/images"
done
kubectl wait --for=condition=Ready nodes --all --timeout=120s >/dev/null
say 'nodes are ready'
dns=$(has4 && echo "$SERVICE_NET.10" || echo "${SERVICE_NET6}:10")
sed -e "s|CLUSTER_IP|$dns|" -e "s|IMAGE|$DNS_IMAGE|" "$CLUSTER_SCRIPTS/dns.yaml" | kubectl apply -f - >/dev/null
kubectl -n kube-system rollout status deployment/coredns --timeout=180s >/dev/null
say 'names are resolved'
