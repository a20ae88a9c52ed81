//go:build unix

package soak

import "syscall"

// stackSignal makes a Go program print its goroutines and end.
const stackSignal = syscall.SIGQUIT
