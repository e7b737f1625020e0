# Certificates and kubeconfigs of a cluster. Sourced by up.sh. Who may do what follows from the subjects alone.
PKI=$CLUSTER_DIR/pki
API=https://$(has4 && echo "$NODE_NET.11" || echo "[$NODE_NET6:11]"):6443

authority() { # FILE NAME
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=$2" -keyout "$PKI/$1.key" -out "$PKI/$1.crt" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,digitalSignature,keyCertSign,cRLSign 2>/dev/null
}
certificate() { # FILE SUBJECT [NAMES [AUTHORITY]]
  local authority=${4:-ca} extensions
  extensions=$(printf 'keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth,serverAuth\n%s' "${3:+subjectAltName=$3}")
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$2" -keyout "$PKI/$1.key" -out "$PKI/$1.csr" 2>/dev/null
  openssl x509 -req -in "$PKI/$1.csr" -CA "$PKI/$authority.crt" -CAkey "$PKI/$authority.key" -CAcreateserial -days 3650 \
    -out "$PKI/$1.crt" -extfile <(echo "$extensions") 2>/dev/null
}
kubeconfig() { # FILE CERTIFICATE
  cat >"$1" <<Y
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "$API", certificate-authority-data: $(base64 -w0 "$PKI/ca.crt")}}]
users: [{name: me, user: {client-certificate-data: $(base64 -w0 "$PKI/$2.crt"), client-key-data: $(base64 -w0 "$PKI/$2.key")}}]
contexts: [{name: test, context: {cluster: test, user: me}}]
current-context: test
Y
}
addresses() { # NUMBER...: the addresses of nodes for a certificate
  local number
  for number; do
    ! has4 || printf ',IP:%s.%s' "$NODE_NET" "$number"
    ! has6 || printf ',IP:%s:%s' "$NODE_NET6" "$number"
  done
}

make_pki() {
  mkdir -p "$PKI"
  authority ca kubernetes; authority front-proxy-ca front-proxy
  certificate apiserver /CN=kube-apiserver \
    "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost,IP:127.0.0.1,IP:$SERVICE_NET.1,IP:${SERVICE_NET6}:1$(addresses 11)"
  certificate admin /O=system:masters/CN=admin
  certificate apiserver-kubelet /O=system:masters/CN=apiserver-kubelet
  certificate controller-manager /CN=system:kube-controller-manager
  certificate scheduler /CN=system:kube-scheduler
  certificate kube-proxy /CN=system:kube-proxy
  certificate front-proxy /CN=front-proxy-client '' front-proxy-ca
  openssl ecparam -name prime256v1 -genkey -noout -out "$PKI/service-accounts.key"
  openssl ec -in "$PKI/service-accounts.key" -pubout -out "$PKI/service-accounts.pub" 2>/dev/null
  kubeconfig "$KUBECONFIG" admin
  local user
  for user in controller-manager scheduler kube-proxy; do kubeconfig "$PKI/$user.conf" "$user"; done
}
