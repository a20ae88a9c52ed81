package kcp

import "syscall"

// Linux's own name for what a router says of a host that is cut off (ICMP host isolated).
func init() { transientErrors = append(transientErrors, syscall.ENONET) }

// Linux says EINVAL where a connected socket's own address is gone.
func init() { goneErrors = append(goneErrors, syscall.EINVAL, syscall.ENODEV) }
