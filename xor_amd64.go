package kcp

import "github.com/templexxx/xorsimd"

// xorBytes sets dst to a xor b, as far as the shortest of them reaches, and returns
// how far that is.
func xorBytes(dst, a, b []byte) int { return xorsimd.Bytes(dst, a, b) }
