//go:build !amd64

package kcp

import "crypto/subtle"

// xorBytes sets dst to a xor b, for the length of the shortest of the three, and returns that
// length. Package xorsimd is for amd64 only: elsewhere it is slower than the standard library,
// allocates, or does not build.
func xorBytes(dst, a, b []byte) int { return subtle.XORBytes(dst, a, b) }
