#!/bin/bash
# runc, where nobody has CAP_SYS_RESOURCE: a privileged container asks for every capability there is, and would not start.
# Takes this one out of what a container or a command in it asks for.
arguments=("$@")
lessen() { # FILE WHERE
  [ ! -f "$1" ] || { lesser=$(jq -c "($2.capabilities // empty) |= map_values(. - [\"CAP_SYS_RESOURCE\"])" "$1") && printf '%s' "$lesser" >"$1"; }
}
for i in "${!arguments[@]}"; do
  case ${arguments[i]} in
    --bundle | -b) lessen "${arguments[i + 1]}/config.json" .process ;;
    --process | -p) lessen "${arguments[i + 1]}" '' ;;
  esac
done
exec runc "$@"
