//go:build !linux && !darwin && !freebsd && !windows

package kcp

const setsFragments = false

func setFragments(uintptr, bool, fragments) (reset func(), err error) { return nil, errNotSupported }
