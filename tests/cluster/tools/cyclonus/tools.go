//go:build tools

// Package tools pins cyclonus, which judges NetworkPolicy by a model of its own.
package tools

import _ "github.com/mattfenwick/cyclonus/cmd/cyclonus"
