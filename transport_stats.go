package kcp

import "sync/atomic"

// TransportStats is what a Transport has done and where it stands.
type TransportStats struct {
	// Sessions is the number of sessions on it that have not ended, dialled and accepted.
	Sessions int

	// InvalidInputs counts the datagrams that opened under none of its ciphers, but for those that
	// ReadNonKCP was given.
	InvalidInputs uint64
	// Foreign counts the datagrams that opened, are of no session, and have made none.
	Foreign uint64
	// Replays counts the sealed datagrams dropped that had been received before, or were too old to tell.
	Replays uint64
	// ReceiveDrops counts the datagrams that the kernel dropped as the receive buffer of the socket was
	// full; see Stats.ReceiveDrops.
	ReceiveDrops uint64

	// NonKCPWaiting is the number of datagrams that wait for ReadNonKCP.
	NonKCPWaiting int
	// NonKCPDropped counts those that were dropped, as no more could wait.
	NonKCPDropped uint64
}

// transportCounts is the counters of a transport that its readers count in.
type transportCounts struct {
	invalid, foreign, replays atomic.Uint64
}

// dropped counts what openAll has dropped.
func (c *transportCounts) dropped(s *Snmp) {
	if s.InCsumErrors > 0 {
		c.invalid.Add(s.InCsumErrors)
	}
	if s.InReplays > 0 {
		c.replays.Add(s.InReplays)
	}
}

// Stats returns the transport's statistics, also those of one that was closed.
func (t *Transport) Stats() TransportStats {
	c := &t.counts
	st := TransportStats{
		InvalidInputs: c.invalid.Load(), Foreign: c.foreign.Load(), Replays: c.replays.Load(),
		ReceiveDrops: t.receiveDrops(),
	}
	for range t.sessions() {
		st.Sessions++
	}
	st.NonKCPWaiting, st.NonKCPDropped = t.others.stats()
	return st
}

func (t *Transport) receiveDrops() (n uint64) {
	for _, sock := range t.socks {
		n += sock.overflow.total.Load()
	}
	return n
}
