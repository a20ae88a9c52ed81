package kcp

import (
	"sync/atomic"
	"unsafe"
)

// Windows that follow the path promise their peers much memory and take what arrives, or is written.
// What they take in all sessions of a process has a bound, and each session's part of it is a share of
// what is free (dynamic thresholds, Choudhury and Hahne, 1998: https://doi.org/10.1109/90.664262). So
// few sessions get what they need, and many, or hostile ones, leave some for those that come later.

const (
	// autoWindow is the initial size of both windows, in segments, and the least.
	autoWindow = 128
	// autoWindowMax is the size that they grow to, unless SetMaxWindow says less: the largest that the
	// wire's field can tell, 88 MB of full segments. 1 Gbit/s over 200 ms have 18,000 in flight, and
	// while the oldest is repaired, twice, three times as many lie between that and the newest.
	autoWindowMax = wndLimit
	// unsureWindow is the size that windows grow to on little evidence, in segments: by a controller
	// without a congestion window, a round trip that the receiver does not know well, or, without a
	// cipher, data of a peer that has not shown that its address is its own.
	unsureWindow = 4096
	// windowMemoryDefault is the bound until SetWindowMemory is called, in bytes: 40 ms of traffic at
	// 100 Gbit/s, or what 10 Gbit/s need on a path of 100 ms, with the repair of losses.
	windowMemoryDefault = 512 << 20
	// windowMemoryShare is the part of what is free that the window of a session may take.
	windowMemoryShare = 4
	// windowMemoryStep is how much what a session holds has to change before that is noted, in bytes.
	windowMemoryStep = 64 << 10
	// packetCost is what a segment of any size takes while it is held, in bytes.
	packetCost = int64(unsafe.Sizeof(packet{}))
	// windowMemoryFree is what each session may hold beside the bound: a window of autoWindow segments
	// in each direction.
	windowMemoryFree = 2 * autoWindow * packetCost
)

// windowMemory is the memory of windows that follow the path, of all sessions of a process.
type windowMemory struct {
	bound atomic.Int64 // in bytes, 0 for the default, negative for none
	used  atomic.Int64
}

// processWindows is the memory that all sessions share.
var processWindows windowMemory

// SetWindowMemory bounds the memory that the windows of all sessions of the process hold together, in
// bytes: 0 for the default, 512 MiB, and negative for no bound. It concerns windows that nobody has set
// and what they hold beyond 128 segments. Each may take a quarter of what is free. So windows become
// smaller as memory becomes scarce, never below 128 segments, and [Snmp] counts that. It may be called
// at any time.
func SetWindowMemory(bytes int64) { processWindows.bound.Store(bytes) }

// share returns how many segments a window may hold now, beyond autoWindow.
func (m *windowMemory) share() uint32 {
	bound := m.bound.Load()
	switch {
	case bound < 0:
		return wndLimit
	case bound == 0:
		bound = windowMemoryDefault
	}
	return uint32(min(max(0, bound-m.used.Load())/windowMemoryShare/packetCost, wndLimit))
}

// windowCharge is what is noted of a session's windows in the process's memory.
type windowCharge struct {
	in    *windowMemory // nil for a core that is driven by hand
	bytes int64         // noted
	most  uint32        // segments that a window may have, as of then
}

// note notes that the session's windows hold so many bytes, if that is worth it.
func (c *windowCharge) note(held int64) {
	held = max(0, held-windowMemoryFree)
	if d := held - c.bytes; d >= windowMemoryStep || d <= -windowMemoryStep || held == 0 && d != 0 {
		c.in.used.Add(d)
		c.bytes = held
	}
	c.most = max(c.in.share(), autoWindow)
}
