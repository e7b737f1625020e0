#!/bin/bash
# Rolls our DaemonSet out, as a person would, but for the folder of the cgroup hierarchy, and waits until it is ready.
. "$(dirname "$0")/settings.sh"
kubectl kustomize "$(dirname "$0")/../../deploy" | sed "s|path: /sys/fs/cgroup\$|path: $CLUSTER_UNIFIED|" | kubectl apply -f -
kubectl -n isolator-system rollout status daemonset/isolator --timeout=120s ||
  { kubectl -n isolator-system get pods -o wide; kubectl -n isolator-system logs -l app.kubernetes.io/name=isolator --tail=20; exit 1; }
