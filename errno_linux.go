package kcp

import "syscall"

// Linux's own name for what a router says of a host that is cut off (ICMP host isolated).
func init() { transientErrors = append(transientErrors, syscall.ENONET) }
