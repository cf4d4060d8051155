//go:build !next

package main

// What only the next release's client can ask is in next.go.
var nextChecks []check
