package kcp

import "sync/atomic"

// ListenerStats is what a listener has done and where it stands. Its counters begin with the listener; what
// counts datagrams counts those of all sessions of a Transport, where that is shared.
type ListenerStats struct {
	// Sessions is the number of its sessions that have not ended.
	Sessions int
	// Backlog is the number of those that wait for Accept.
	Backlog int
	// HalfOpen is the number of handshakes that are not finished.
	HalfOpen int

	// Opened counts the sessions that were made, and Accepted those of them that Accept has returned.
	Opened, Accepted uint64
	// Refused counts the first datagrams that made no session, as the backlog was full or a limit of
	// ListenConfig was reached. Their senders are asked whether they are there, and try again.
	Refused uint64
	// BacklogFull counts those of Refused for which the backlog had no room: Accept is called too seldom.
	BacklogFull uint64

	// Handshakes counts the handshakes of sealed sessions that were begun, and HandshakesDone those that
	// were finished. HandshakesRetried counts the first datagrams whose senders were asked to repeat them
	// with a token, as there were too many, and HandshakesFailed those that did not open: their sender has
	// another ServerKey, or another key.
	Handshakes, HandshakesDone, HandshakesRetried, HandshakesFailed uint64

	// InvalidInputs counts the datagrams that did not open: they were damaged, or their sender has
	// another cipher or key.
	InvalidInputs uint64
	// Foreign counts the datagrams that opened, are of no session, and have made none: those of sessions
	// that have ended, of other protocols, and those that are Refused.
	Foreign uint64
	// Replays counts the sealed datagrams dropped that had been received before, or were too old to tell.
	Replays uint64
	// ReceiveDrops counts the datagrams that the kernel dropped as the receive buffers of the listener's
	// sockets were full; see Stats.ReceiveDrops.
	ReceiveDrops uint64
}

// listenerCounts is the counters of a listener that readers count in.
type listenerCounts struct {
	handshakes, finished, retried, failed atomic.Uint64
}

// Stats returns the listener's statistics, also those of one that was closed.
func (l *Listener) Stats() ListenerStats {
	c, in := &l.counts, &l.t.counts
	st := ListenerStats{
		HalfOpen:   l.seal.halfOpen(),
		Handshakes: c.handshakes.Load(), HandshakesDone: c.finished.Load(),
		HandshakesRetried: c.retried.Load(), HandshakesFailed: c.failed.Load(),
		InvalidInputs: in.invalid.Load(), Foreign: in.foreign.Load(), Replays: in.replays.Load(),
		ReceiveDrops: l.t.receiveDrops(),
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	st.Sessions, st.Backlog = l.open, l.backlog.len()
	st.Opened, st.Accepted = l.opened, l.accepted
	st.Refused, st.BacklogFull = l.rejected, l.crowded
	return st
}
