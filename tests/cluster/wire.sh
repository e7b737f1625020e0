# The network between nodes: a bridge in a namespace of its own, one interface for each node, and routes to the pods
# of the others. Sourced by up.sh. Not here: the pods' own interfaces, which are the CNI's.
make_wire() {
  ip netns add "$SWITCH"
  ip -n "$SWITCH" link set lo up
  ip -n "$SWITCH" link add br0 type bridge
  # The bridge must not run through any firewall.
  ip netns exec "$SWITCH" sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0 2>/dev/null || true
  ! has4 || ip -n "$SWITCH" addr add "$NODE_NET.1/24" dev br0
  ! has6 || ip -n "$SWITCH" addr add "$NODE_NET6:1/64" dev br0 nodad
  ip -n "$SWITCH" link set br0 up
  local i
  for i in $(seq "$NODES"); do
    plug "$i"
    to_pods "$SWITCH" "$i"
  done
}

plug() { # NUMBER
  local ns j; ns=$(node_ns "$1")
  ip netns add "$ns"
  ip -n "$ns" link set lo up
  # The same hardware address after a restart of the node, as with a real one.
  ip -n "$SWITCH" link add "node$1" type veth peer name eth0 address "$(printf '02:77:00:00:00:%02x' "$1")" netns "$ns"
  ip -n "$SWITCH" link set "node$1" master br0 up
  ip -n "$ns" link set eth0 up
  if has4; then
    ip -n "$ns" addr add "$NODE_NET.$((10 + $1))/24" dev eth0
    ip -n "$ns" route add default via "$NODE_NET.1"
    ip netns exec "$ns" sysctl -qw net.ipv4.ip_forward=1
    masquerade "$POD_NET.0.0/16" ip netns exec "$ns" iptables
  fi
  if has6; then
    ip -n "$ns" addr add "$NODE_NET6:$((10 + $1))/64" dev eth0 nodad
    ip -n "$ns" route add default via "$NODE_NET6:1"
    ip netns exec "$ns" sysctl -qw net.ipv6.conf.all.forwarding=1
    masquerade "$POD_NET6::/32" ip netns exec "$ns" ip6tables
  fi
  for j in $(seq "$NODES"); do [ "$1" = "$j" ] || to_pods "$ns" "$j"; done
}

# Takes a node's network away, its end of the wire included.
unplug() { # NUMBER
  ip netns del "$(node_ns "$1")"
  unplugged() { ! ip -n "$SWITCH" link show "node$1"; }
  await 30 "the end of the network of node$1" "ip -n $SWITCH link" unplugged "$1"
}

# Pods reach what is outside of the cluster by the address of their node, and each other by their own.
masquerade() { # PODS COMMAND...: iptables, on a node
  "${@:2}" -w -t nat -A POSTROUTING -s "$1" ! -d "$1" -m addrtype ! --dst-type LOCAL -j MASQUERADE
}

to_pods() { # NAMESPACE NUMBER
  ! has4 || ip -n "$1" route add "$POD_NET.$2.0/24" via "$NODE_NET.$((10 + $2))"
  ! has6 || ip -n "$1" route add "$POD_NET6:$2::/64" via "$NODE_NET6:$((10 + $2))"
}
