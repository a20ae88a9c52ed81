//go:build !linux

package main

import "errors"

var errLinuxOnly = errors.New("needs network namespaces of Linux")

func tcpOpener(string) opener { return func(*world) (*conn, error) { return nil, errLinuxOnly } }

// tcpMissing says why the kernel's TCP cannot be measured.
func tcpMissing(string) error { return errLinuxOnly }
