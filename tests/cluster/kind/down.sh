#!/bin/bash
# Ends the kind cluster and removes what it made: containers, their network, the node image if it was made here, and our own
# Docker daemon with everything in it. What kind has fetched stays with the daemon that was there before.
. "$(dirname "$0")/settings.sh"
. "$CLUSTER_SCRIPTS/kind/docker.sh"
[ -d "$CLUSTER_DIR" ] || exit 0
if docker version >/dev/null 2>&1; then
  delete_nodes
  # Another cluster that has come since keeps it.
  [ -z "${CLUSTER_NETWORK:-}" ] || docker network rm "$CLUSTER_NETWORK" >/dev/null 2>&1 || true
  [ -n "$PRIVATE" ] || docker images --quiet "$MADE_IMAGE" | sort -u | xargs -r docker image rm --force >/dev/null
elif [ -z "$PRIVATE" ]; then
  fail 'Docker does not answer, and may still have the nodes; cure: start it, then again'
fi
[ -z "$PRIVATE" ] || stop_docker
restore_settings
remove_mountpoints
rm -rf "$CLUSTER_DIR"
