//go:build !linux || kcpgeneric

package kcp

import "net"

// spread opens no more sockets at the address of first: not every system deals the peers out.
func openReusePort(string, *net.UDPConn, controlFunc) []*net.UDPConn { return nil }
