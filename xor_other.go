//go:build !amd64

package kcp

import "crypto/subtle"

// xorBytes is what it is on amd64. Elsewhere package xorsimd is slower than the standard
// library, allocates, or does not build.
func xorBytes(dst, a, b []byte) int { return subtle.XORBytes(dst, a, b) }
