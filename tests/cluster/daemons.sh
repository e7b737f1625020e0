# What runs on a node, and its settings. Sourced by up.sh; writes files for node.sh. Each setting that is no default
# has its reason.

# Without CAP_SYS_RESOURCE nobody may make a process less likely to be killed, and every container would fail.
if (echo -1 >/proc/self/oom_score_adj) 2>/dev/null; then RESTRICT_OOM=false; else RESTRICT_OOM=true; fi

# The CNI: connects pods and enforces nothing.
pod_network() { # RANGES: of a node, with commas between them
  local ranges='' routes='' range
  for range in ${1//,/ }; do
    ranges+="${ranges:+,}[{\"subnet\":\"$range\"}]" routes+="${routes:+,}{\"dst\":\"$(case $range in *:*) echo ::/0 ;; *) echo 0.0.0.0/0 ;; esac)\"}"
  done
  local main='"type":"ptp","ipMasq":false'
  [ "$CNI" = ptp ] || main='"type":"bridge","bridge":"cni0","isGateway":true,"hairpinMode":true,"ipMasq":false'
  cat <<J
{"cniVersion":"1.0.0","name":"pods","plugins":[
 {$main,"ipam":{"type":"host-local","dataDir":"/run/cni-ipam","ranges":[$ranges],"routes":[$routes]}},
 {"type":"portmap","capabilities":{"portMappings":true}}]}
J
}

containerd_settings() {
  cat <<T
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE_IMAGE"
  restrict_oom_score_adj = $RESTRICT_OOM
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/opt/cni/bin"
  conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
T
}

kubelet_settings() { # NODE
  cat <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false # the machine may have nothing else
cgroupDriver: cgroupfs # there is no systemd in a node
failSwapOn: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
clusterDNS: [$(has4 && echo "$SERVICE_NET.10" || echo "'${SERVICE_NET6}:10'")]
clusterDomain: cluster.local
resolvConf: /etc/kubernetes/resolv.conf # the machine's own means nothing in here
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: /etc/kubernetes/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: /etc/kubernetes/pki/$1.crt # so that exec and logs can be verified
tlsPrivateKeyFile: /etc/kubernetes/pki/$1.key
imageGCHighThresholdPercent: 100 # images cannot be fetched again
evictionHard: {nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
Y
}

proxy_settings() {
  cat <<Y
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clientConnection: {kubeconfig: /etc/kubernetes/kube-proxy.conf}
clusterCIDR: $(families "$POD_NET.0.0/16" "$POD_NET6::/32")
conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s} # not writable in a network namespace
Y
}

control_plane() { # FOLDER
  local pki=/etc/kubernetes/pki config=/etc/kubernetes
  echo "keep etcd etcd --data-dir $1/etcd --unsafe-no-fsync --listen-client-urls http://127.0.0.1:2379" \
    "--advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 --log-level warn"
  echo "keep kube-apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --secure-port=6443" \
    "--bind-address=$(has6 && echo :: || echo 0.0.0.0) --advertise-address=$(has4 && echo "$NODE_NET.11" || echo "$NODE_NET6:11")" \
    "--tls-cert-file=$pki/apiserver.crt --tls-private-key-file=$pki/apiserver.key --client-ca-file=$pki/ca.crt" \
    "--authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true" \
    "--service-account-issuer=https://kubernetes.default.svc --service-account-key-file=$pki/service-accounts.pub" \
    "--service-account-signing-key-file=$pki/service-accounts.key --service-cluster-ip-range=$SERVICE_RANGES" \
    "--kubelet-certificate-authority=$pki/ca.crt --kubelet-client-certificate=$pki/apiserver-kubelet.crt" \
    "--kubelet-client-key=$pki/apiserver-kubelet.key --kubelet-preferred-address-types=InternalIP" \
    "--requestheader-client-ca-file=$pki/front-proxy-ca.crt --requestheader-allowed-names=front-proxy-client" \
    "--requestheader-extra-headers-prefix=X-Remote-Extra- --requestheader-group-headers=X-Remote-Group" \
    "--requestheader-username-headers=X-Remote-User --endpoint-reconciler-type=lease" \
    "--proxy-client-cert-file=$pki/front-proxy.crt --proxy-client-key-file=$pki/front-proxy.key"
  echo "keep kube-controller-manager kube-controller-manager --kubeconfig=$config/controller-manager.conf" \
    "--use-service-account-credentials --service-account-private-key-file=$pki/service-accounts.key --root-ca-file=$pki/ca.crt" \
    "--cluster-cidr=$(families "$POD_NET.0.0/16" "$POD_NET6::/32") --service-cluster-ip-range=$SERVICE_RANGES" \
    "--allocate-node-cidrs=false --leader-elect=false"
  echo "keep kube-scheduler kube-scheduler --kubeconfig=$config/scheduler.conf --leader-elect=false"
}

# Writes everything that a node starts from.
make_node() { # NUMBER
  local node=node$1 folder=$CLUSTER_DIR/nodes/node$1 etc
  local own; own=$(families "$NODE_NET.$((10 + $1))" "$NODE_NET6:$((10 + $1))")
  SERVICE_RANGES=$(families "$SERVICE_NET.0/24" "${SERVICE_NET6}:/112")
  etc=$folder/files/etc/kubernetes
  mkdir -p "$folder/files/etc/cni/net.d" "$folder/files/opt/cni/bin" "$etc/pki"
  certificate "$node" "/O=system:nodes/CN=system:node:$node" "DNS:$node$(addresses $((10 + $1)))"
  cp "$PKI/ca.crt" "$PKI/$node".* "$etc/pki/"
  cp "$PKI/kube-proxy.conf" "$etc/"
  kubeconfig "$etc/kubelet.conf" "$node"
  kubelet_settings "$node" >"$etc/kubelet.yaml"
  proxy_settings >"$etc/kube-proxy.yaml"
  echo "nameserver $(families "$NODE_NET.1" "$NODE_NET6:1" | cut -d, -f1)" >"$etc/resolv.conf"
  containerd_settings >"$folder/containerd.toml"
  pod_network "$(families "$POD_NET.$1.0/24" "$POD_NET6:$1::/64")" >"$folder/files/etc/cni/net.d/10-pods.conflist"
  cp "$CNI_BIN"/{ptp,bridge,host-local,loopback,portmap} "$folder/files/opt/cni/bin/"
  describe_node "$1"
  {
    echo "export PATH=$PATH"
    if [ "$1" = 1 ]; then
      cp "$PKI"/{apiserver,apiserver-kubelet,front-proxy,front-proxy-ca,service-accounts}.* "$etc/pki/"
      cp "$PKI"/{controller-manager,scheduler}.conf "$etc/"
      control_plane "$folder"
    fi
    echo "keep containerd containerd --config $folder/containerd.toml"
    echo "( until ctr version; do sleep 0.1; done; for image in $CLUSTER_IMAGES/*.tar; do ctr -n k8s.io images import \$image || echo FAILED; done"
    echo "  ctr -n k8s.io images label $PAUSE_IMAGE io.cri-containerd.pinned=pinned; touch $folder/images ) >>$folder/log/images.log 2>&1 </dev/null &"
    echo "keep kubelet kubelet --config=/etc/kubernetes/kubelet.yaml --kubeconfig=/etc/kubernetes/kubelet.conf --node-ip=$own --v=2"
    echo "keep kube-proxy kube-proxy --config=/etc/kubernetes/kube-proxy.yaml"
  } >"$folder/daemons"
}
