#!/bin/bash
# load.sh ARCHIVE...: puts images onto every node of the kind cluster.
. "$(dirname "$0")/settings.sh"
kind load image-archive --name "$NAME" "$@"
