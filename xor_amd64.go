package kcp

import "github.com/templexxx/xorsimd"

// xorBytes sets dst to a xor b, for the length of the shortest of the three, and returns that
// length.
func xorBytes(dst, a, b []byte) int { return xorsimd.Bytes(dst, a, b) }
