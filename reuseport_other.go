//go:build !linux || kcpgeneric

package kcp

import "net"

// openReusePort opens no more sockets at the address of first: not every system distributes the
// peers among them.
func openReusePort(string, *net.UDPConn, controlFunc) []*net.UDPConn { return nil }
