# Constant attempts, allowed and denied, by pods of every node, while something happens to the cluster. Sourced by checks.
# Each pod's log has a line for each attempt: `passed` or `denied`. Not here: what happens meanwhile.

# attempt NAME NODE MAY TARGET: a pod that tries a server again and again.
attempt() {
  k apply -f - >/dev/null <<Y
apiVersion: v1
kind: Pod
metadata: {name: $1, labels: {may: $3, attempts: "yes"}}
spec:
  nodeName: node$2
  terminationGracePeriodSeconds: 0
  containers:
    - name: client
      image: $IMAGE
      command: [/bin/busybox, sh, -c]
      args: ['while :; do if nc -w 1 $(address "$4") 8080 </dev/null 2>/dev/null; then echo passed; else echo denied; fi; sleep 0.1; done']
Y
}

# settled WORD POD: whether its last attempts said so.
settled() { [ "$(k logs "$2" --tail=3 | sort -u)" = "$1" ]; }

# What each pod's attempts must say: allowed by the policies of both ends; no way out; nobody let in.
kinds() { printf '%s\n' 'open passed' 'bound denied' 'closed denied'; }
attempts() { # WORD...: names of the attempts that must say so, on all nodes
  local i kind word
  kinds | while read -r kind word; do for i in $(seq "$NODES"); do [ "$word" != "$1" ] || echo "$kind-$i"; done; done
}

# Servers on node1, and attempts from every node; returns when each says what it must. From then on all have to.
begin_attempts() {
  server open-server node1
  server closed-server node1
  ready open-server
  ready closed-server
  k apply -f - >/dev/null <<Y
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: open}
spec:
  podSelector: {matchLabels: {app: open-server}}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {}}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed}
spec: {podSelector: {matchLabels: {app: closed-server}}, policyTypes: [Ingress]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: may-open}
spec:
  podSelector: {matchLabels: {may: open}}
  policyTypes: [Ingress, Egress]
  egress: [{to: [{podSelector: {matchLabels: {app: open-server}}}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: may-nothing}
spec: {podSelector: {matchLabels: {may: nothing}}, policyTypes: [Egress]}
Y
  local i name
  for i in $(seq "$NODES"); do
    attempt "open-$i" "$i" open open-server
    attempt "bound-$i" "$i" nothing open-server
    attempt "closed-$i" "$i" anything closed-server
  done
  for name in $(attempts passed); do await 120 "that $name passes" "kubectl -n $CHECK logs $name" settled passed "$name"; done
  for name in $(attempts denied); do await 60 "that $name is denied" "kubectl -n $CHECK logs $name" settled denied "$name"; done
  MARK=$(date -u +%FT%TZ)
}

# end_attempts [PATTERN]: judges all attempts since they began, but for pods of that pattern. Each must have gone on.
end_attempts() {
  local word name wrong total=0 denied=0 passed=0 lost=0 leaked=0
  for word in passed denied; do
    for name in $(attempts $word | grep -vE "${1:-^$}"); do
      await 30 "another attempt of $name" "kubectl -n $CHECK logs $name" settled "$word" "$name"
      k logs "$name" --since-time="$MARK" >"$CLUSTER_DIR/attempts"
      total=$(wc -l <"$CLUSTER_DIR/attempts")
      wrong=$(grep -cvx $word "$CLUSTER_DIR/attempts" || true)
      if [ $word = passed ]; then passed=$((passed + total)) lost=$((lost + wrong)); else denied=$((denied + total)) leaked=$((leaked + wrong)); fi
      [ "$wrong" = 0 ] || { echo "$name: $wrong of $total attempts were not $word:"; k logs "$name" --timestamps --since-time="$MARK" | grep -v " $word\$" | head -5; }
    done
  done
  echo "denied attempts: $denied, $leaked passed; allowed attempts: $passed, $lost lost"
  [ $((leaked + lost)) = 0 ] || fail 'attempts were judged wrongly'
}
