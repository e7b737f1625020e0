//go:build tools

// Package tools pins kind itself, for machines that do not have it.
package tools

import _ "sigs.k8s.io/kind"
