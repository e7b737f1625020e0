# What all scripts of the cluster share: names, addresses, and the few steps that more than one of them takes.
# Sourced. CLUSTER_DIR is the cluster's own folder, CLUSTER_BIN that of the programs, CLUSTER_IMAGES that of images.
# Not here: building those (`cargo xtask cluster`, `cargo xtask kind`).
set -euo pipefail
: "${CLUSTER_DIR:?}" "${CLUSTER_BIN:?}" "${CLUSTER_IMAGES:?}"

# What up.sh was told goes for all that comes after it.
[ -n "${FRESH:-}" ] || [ ! -e "$CLUSTER_DIR/chosen" ] || . "$CLUSTER_DIR/chosen"
chosen() { printf 'CLUSTER_%s=%q\n' "$@" >>"$CLUSTER_DIR/chosen"; } # NAME VALUE...
# Prefix of network namespaces and name of the cgroups. Several clusters need several names, nothing else.
NAME=${CLUSTER_NAME:-isolator-cluster}
NODES=${CLUSTER_NODES:-3}
# How pods are connected: ptp (a veth and a route for each) or bridge (one bridge on each node).
CNI=${CLUSTER_CNI:-ptp}
# ipv4, ipv6 or dual.
FAMILY=${CLUSTER_FAMILY:-ipv4}
CNI_BIN=${CLUSTER_CNI_BIN:-/usr/lib/cni}
CLUSTER_SCRIPTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Nothing of this is seen outside of the cluster's namespaces. The last part of a node's address is 10 and its number.
NODE_NET=172.31.77 NODE_NET6=fd77:1:
POD_NET=10.201 POD_NET6=fd77:2 # node N has .N.0/24 of a /16, and :N::/64 of a /32
SERVICE_NET=10.202.0 SERVICE_NET6=fd77:3:
PAUSE_IMAGE=isolator.test/pause:3.10.1
DNS_IMAGE=isolator.test/coredns:1.12.1
ETCD_IMAGE=isolator.test/etcd:3.6.16

# The network namespace from which the cluster is talked to: that of the wire between nodes, or none for our own.
SWITCH=${CLUSTER_SWITCH-$NAME-switch}
export KUBECONFIG=$CLUSTER_DIR/kubeconfig KUBECACHEDIR=$CLUSTER_DIR/cache
export PATH=$CLUSTER_BIN:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH
BEGAN=$SECONDS

say() { printf '%4d s  %s\n' $((SECONDS - BEGAN)) "$*"; }
fail() { echo "error: $*" >&2; exit 1; }
has4() { [ "$FAMILY" != ipv6 ]; }
has6() { [ "$FAMILY" != ipv4 ]; }
node_ns() { echo "$NAME-node$1"; }
outside() { if [ -n "$SWITCH" ]; then nsenter --net="/run/netns/$SWITCH" -- "$@"; else command "$@"; fi; }
kubectl() { outside kubectl "$@"; }

# Joins what belongs to the families in use, the first family first.
families() { # IPV4 IPV6
  case $FAMILY in ipv4) echo "$1" ;; ipv6) echo "$2" ;; dual) echo "$1,$2" ;; esac
}

# await SECONDS WHAT LOG COMMAND...: tries until it succeeds; says which log to read when it never does.
await() {
  local until=$((SECONDS + $1)) what=$2 log=$3; shift 3
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $until ] || fail "$what did not happen in time; read $log"
    sleep 0.2
  done
}

# The cgroup hierarchies of this machine: sets CGROUPS to the version 1 controllers, and UNIFIED to the folder of
# version 2, which may be the only one.
cgroups() {
  CGROUPS='' UNIFIED=''
  case $(stat -fc %T /sys/fs/cgroup) in
    cgroup2fs) UNIFIED=/sys/fs/cgroup; return ;;
  esac
  local folder
  for folder in /sys/fs/cgroup/*/; do
    folder=${folder%/}
    case $(stat -fc %T "$folder") in
      cgroupfs) CGROUPS+=" ${folder##*/}" ;;
      cgroup2fs) UNIFIED=$folder ;;
    esac
  done
}
