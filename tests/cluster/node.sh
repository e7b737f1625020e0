#!/bin/bash
# The first process of a node, in its namespaces: gives it file systems of its own where kubelet, containerd and CNI
# write, and keeps the node's daemons running. They all end with it. $1 is the node's folder.
set -u
FOLDER=$1
. "$FOLDER/node.env" # NODE CGROUPS UNIFIED NODE_FOLDERS
hostname "$NODE"
mount --make-rprivate /
mount -t proc proc /proc
mount -t sysfs sysfs /sys
if [ "$UNIFIED" = /sys/fs/cgroup ]; then
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  echo 1 >/sys/fs/cgroup/init/cgroup.procs # no process beside child cgroups
else
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  for controller in $CGROUPS; do
    mkdir "/sys/fs/cgroup/$controller"
    mount -t cgroup -o "${controller/systemd/none,name=systemd}" cgroup "/sys/fs/cgroup/$controller"
  done
  if [ -n "$UNIFIED" ]; then
    mkdir /sys/fs/cgroup/unified
    mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
  fi
fi
mount -t bpf bpf /sys/fs/bpf
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/netns
for path in $NODE_FOLDERS; do
  mkdir -p "$FOLDER/files$path"
  mount --bind "$FOLDER/files$path" "$path"
done
mount --make-rshared / # pods see mounts that come later

# keep NAME COMMAND...: runs a daemon, and again when it ends, unless it is held.
keep() {
  local name=$1; shift
  (
    while :; do
      "$@" >>"$FOLDER/log/$name.log" 2>&1 </dev/null &
      echo $! >"$FOLDER/$name.pid"
      wait $!
      echo "== $name ended with $?" >>"$FOLDER/log/$name.log"
      sleep 1
      while [ -e "$FOLDER/$name.held" ]; do sleep 0.2; done
    done
  ) &
}
. "$FOLDER/daemons"
while :; do wait -n || sleep 0.2; done # and reaps orphans
