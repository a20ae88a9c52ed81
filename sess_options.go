package kcp

import (
	"math"
	"net"
	"time"

	"github.com/pkg/errors"
)

// SetDeadline sets the read and the write deadline; see net.Conn.
func (s *UDPSession) SetDeadline(t time.Time) error {
	return s.setDeadlines(t, &s.readable, &s.writable)
}

// SetReadDeadline sets the time at which Read gives up, also one that is blocked already. The zero
// time means never.
func (s *UDPSession) SetReadDeadline(t time.Time) error { return s.setDeadlines(t, &s.readable) }

// SetWriteDeadline sets the time at which Write gives up, also one that is blocked already. The
// zero time means never.
func (s *UDPSession) SetWriteDeadline(t time.Time) error { return s.setDeadlines(t, &s.writable) }

func (s *UDPSession) setDeadlines(t time.Time, queues ...*waitQueue) error {
	at := clockAt(t, clock())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.state != stateOpen {
		return s.opError("set", errClosed)
	}
	for _, q := range queues {
		q.deadline = at
		s.wakeLocked(q)
		if q.notify.armed {
			s.scheduleLocked(math.MinInt64)
		}
	}
	return nil
}

// SetStreamMode chooses stream mode, in which small writes fill up segments that were not sent yet
// and reads return whatever has arrived, or message mode (the default), in which each Write starts
// a segment and a Read returns at most one. It concerns this end only.
func (s *UDPSession) SetStreamMode(enable bool) {
	s.configure(func() error { s.core.SetStreamMode(enable); return nil })
}

// SetNoDelay sets the timing; see [KCP.NoDelay] for the arguments. Common choices are (1, 10, 2, 0)
// for low latency and (0, 40, 3, 0) for less overhead, with nc 1 for no congestion window. Until it
// is called a session has (0, 100, 3, 0).
func (s *UDPSession) SetNoDelay(nodelay, interval, resend, nc int) {
	s.configure(func() error { s.core.NoDelay(nodelay, interval, resend, nc); return nil })
}

// SetWindowSize sets the largest numbers of segments in flight and waiting to be read, 1 to 65535;
// larger ones are clamped, and a value below 1 leaves its window unchanged. A full receive window
// stops the peer. With SetNoDelay's nc=1, a path of more than 10 Gbit/s, such as loopback, is given
// no more of the send window than it can use. Windows that are not set follow the path and the
// reader, between 128 segments and the bound of SetMaxWindow.
func (s *UDPSession) SetWindowSize(sndwnd, rcvwnd int) {
	s.configure(func() error { s.core.WndSize(sndwnd, rcvwnd); return nil })
}

// SetMaxWindow bounds the windows that SetWindowSize has not set, in segments: 128 to 65535, or 0 for
// the default, 65535. They become as large as the path needs: a path of 1 Gbit/s and 200 ms needs
// 55,000, one of 50 ms a quarter of that. [SetWindowMemory] bounds what all sessions hold.
func (s *UDPSession) SetMaxWindow(segments int) error {
	if segments == 0 {
		segments = autoWindowMax
	}
	if segments < autoWindow || segments > autoWindowMax {
		return errors.Errorf("kcp: MaxWindow %d: must be %d to %d, or 0 for the default", segments, autoWindow, autoWindowMax)
	}
	return s.configure(func() error { s.core.limitWindows(uint32(segments)); return nil })
}

// SetMtu sets the length of the longest datagram in bytes, everything inside UDP included. Where the path is
// found to carry less, datagrams are shorter: see Settings.MTU and FixedMTU. It returns false, without a change, when mtu is below 50, above 1500 or leaves no room for data
// after the headers of cipher, FEC and segment, and after Close.
func (s *UDPSession) SetMtu(mtu int) (ok bool) {
	s.configure(func() error {
		if ok = s.setMtuLocked(mtu); ok && s.mtuGrows {
			s.mtuGrows = false
			s.setMtuLocked(mtu)
		}
		return nil
	})
	return ok
}

// SetACKNoDelay makes each arrival be acknowledged at once, instead of every second one or after
// the interval. It waits for no timer, only for a turn of the goroutine that reads: an answer that is
// written at once carries it. But in a long stream of segments that come within a millisecond of each
// other, up to ten are acknowledged together, within that millisecond, where the peer can take that.
func (s *UDPSession) SetACKNoDelay(nodelay bool) {
	s.configure(func() error { s.core.setACKNoDelay(nodelay); return nil })
}

// SetWriteDelay holds writes back until the next tick of SetNoDelay's interval, which runs freely
// from the time when the session was made, or until the send window is full, so that small ones
// share datagrams (in stream mode, segments): for half an interval on average, and one at most. A
// request and its answer, with both ends so, take one interval, or two where both tick at the same
// time.
func (s *UDPSession) SetWriteDelay(delay bool) {
	s.configure(func() error {
		s.writeDelay = delay
		if !delay && s.flushBy != never {
			s.flushBy = 0
		}
		return nil
	})
}

// dupLimit is the most copies that SetDUP takes.
const dupLimit = 16

// SetDUP sends each datagram dup more times, 0 to 16 (others are clamped): for tests, or for a path
// where bytes do not matter.
func (s *UDPSession) SetDUP(dup int) {
	s.configure(func() error {
		s.copies = min(max(dup, 0), dupLimit)
		s.core.setCopies(s.copies)
		return nil
	})
}

// SetRateLimit limits the bytes of the datagrams that carry data to bytesPerSecond, parity and
// copies included, averaged over some milliseconds; 0 is no limit. Acknowledgements are not
// limited.
func (s *UDPSession) SetRateLimit(bytesPerSecond uint32) {
	s.configure(func() error { s.core.setRateLimit(int64(bytesPerSecond), clock()); return nil })
}

// SetBucket makes b, a token bucket of the program's, bound what the session sends; nil ends that.
// Several sessions may share one. Every datagram takes its bytes, acknowledgements, parity and
// copies too, and data that follows waits for as long as Take says. Acknowledgements are not
// delayed. No goroutine waits meanwhile: data stays in the send window. Where SetRateLimit or the
// congestion control allow less, that is the bound. The rate is reached by a bucket that holds
// what may be sent in some milliseconds, as timers are no more exact than that; with every wait a
// datagram is sent that has not been waited for.
func (s *UDPSession) SetBucket(b Bucket) {
	if isNil(b) {
		b = nil
	}
	s.configure(func() error { s.bucket = b; s.core.setBucket(b != nil); return nil })
}

// SetLogger calls logger with what is sent, received, queued and read; see [KCP.SetLogger]. It is
// called under the session's lock: it must not call the session's methods, except LocalAddr,
// RemoteAddr and GetConv, and the session waits for it.
func (s *UDPSession) SetLogger(mask KCPLogType, logger func(msg string, args ...any)) {
	s.configure(func() error { s.core.SetLogger(mask, logger); return nil })
}

// ResetRTO makes everything that is in flight due at once, with timeouts that do not back off any
// more, for a program that knows that the path works again: it is sent now, as the windows allow,
// and a zero window is probed. The congestion control is not told of any loss.
func (s *UDPSession) ResetRTO() {
	s.configure(func() error {
		now := clock()
		s.core.resetRTO(now)
		s.capsProbe.next, s.capsProbe.count = now, 0
		return nil
	})
}

// SetCongestionControl makes c decide what may be in flight, from now on: [NewBBR], which is the
// default, [NewCubic], [NewConservation], or one of the caller's. c is this session's alone. nil is
// the default. It overrides the nc of an earlier SetNoDelay, and a later one with nc 1 overrides it.
func (s *UDPSession) SetCongestionControl(c CongestionControl) error {
	return s.configure(func() error { s.core.setControl(c); return nil })
}

// SetRedundancy bounds the duplicates of retransmissions to percent of the segments sent otherwise:
// at most 100, 0 for the default of 25, negative for none. They are sent only where SetNoDelay's
// nodelay asks for low latency, the path loses more than 3%, and data leaves as it comes: a loss
// then costs a second round trip only if three datagrams are lost.
func (s *UDPSession) SetRedundancy(percent int) error {
	if percent > redundancyMax {
		return errors.Errorf("kcp: Redundancy %d: must be at most %d", percent, redundancyMax)
	}
	return s.configure(func() error { s.core.setRedundancy(redundancyOf(percent)); return nil })
}

// SetMinParity sets the lower bound of adaptive parity, in shards per full group, 0 (the default)
// to the number that the session was made with, which disables adaptation. By default residual loss
// (after FEC) raises the parity at once, a clean path lowers it shard by shard to none, and low
// packet rates use smaller groups of the same ratio.
func (s *UDPSession) SetMinParity(shards int) error {
	most := 0
	if s.cfg.fec != nil {
		most = s.cfg.fec.parity
	}
	if shards < 0 || shards > most {
		return errors.Errorf("kcp: MinParity %d: must be 0 to the parity shards, which are %d", shards, most)
	}
	return s.configure(func() error {
		if s.enc != nil {
			s.enc.adapter.setMinParity(shards)
			s.core.setRepairs(s.cfg.repair, s.cfg.repairFloor(shards))
		}
		return nil
	})
}

// SetDSCP sets the differentiated services code point, 0 to 63, of the socket. An accepted session,
// and one that was dialled over a Transport, returns an error, an errors.ErrUnsupported: the socket is not
// its own.
func (s *UDPSession) SetDSCP(dscp int) error {
	return s.onSocket(func(sock *socket) error { return sock.setDSCP(dscp) })
}

// SetReadBuffer sets the socket's receive buffer in bytes. An accepted session, and one that was
// dialled over a Transport, returns an error, an errors.ErrUnsupported: the socket is not its own.
func (s *UDPSession) SetReadBuffer(bytes int) error {
	return s.onSocket(func(sock *socket) error { return sock.setReadBuffer(bytes) })
}

// SetWriteBuffer sets the socket's send buffer in bytes. An accepted session, and one that was
// dialled over a Transport, returns an error, an errors.ErrUnsupported: the socket is not its own.
func (s *UDPSession) SetWriteBuffer(bytes int) error {
	return s.onSocket(func(sock *socket) error { return sock.setWriteBuffer(bytes) })
}

func (s *UDPSession) onSocket(set func(*socket) error) error {
	if err := s.configure(func() error { return nil }); err != nil {
		return err
	}
	if s.owner != nil {
		return errNotOwner
	}
	return set(s.path().sock) // without the lock: a PacketConn of the caller's may take its time
}

// Control calls f with the session's PacketConn, an accepted session's listener's, and returns its
// result. The connection is not to be read, written or closed.
func (s *UDPSession) Control(f func(conn net.PacketConn) error) error { return f(s.path().sock.conn) }

// GetRTO returns the retransmission timeout in milliseconds.
func (s *UDPSession) GetRTO() uint32 { return uint32(s.rtts().rto / int64(time.Millisecond)) }

// GetSRTT returns the smoothed round-trip time in milliseconds, 0 before the first sample.
func (s *UDPSession) GetSRTT() int32 { return int32(s.rtts().srtt / int64(time.Millisecond)) }

// GetSRTTVar returns the round-trip time's mean deviation in milliseconds.
func (s *UDPSession) GetSRTTVar() int32 { return int32(s.rtts().rttvar / int64(time.Millisecond)) }

func (s *UDPSession) rtts() rttEstimator {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.rtts()
}

// SetKeepAlive switches keepalive probes on or off, as net.TCPConn's does. On means the period that
// was set last, 15 seconds if none was. See SetKeepAlivePeriod.
func (s *UDPSession) SetKeepAlive(on bool) error {
	return s.configure(func() error {
		s.keepalive.period = 0
		if on {
			s.keepalive.period = s.keepalive.onPeriod
		}
		return nil
	})
}

// SetKeepAlivePeriod sets how long nothing is heard before the peer is probed, and how long between
// probes, as net.TCPConn's does: at least 10 ms, 0 for no probes, the default. If 9 probes in a row
// go unanswered, the session fails: Read and Write return a *PeerTimeoutError. Peers without this
// package's extensions answer, too. A peer with them that was restarted, or has no such session any
// more, says so: then Read and Write fail with syscall.ECONNRESET, a second or two after the probe.
// Probes also refresh the mappings of NATs, which often expire after 30 s.
func (s *UDPSession) SetKeepAlivePeriod(period time.Duration) error {
	if err := checkTimes(period, 0); err != nil {
		return err
	}
	return s.configure(func() error { s.keepalive.setPeriod(int64(period)); return nil })
}

// SetIdleTimeout sets after how long without anything from the peer, even an answer to a probe,
// Read and Write fail with a *PeerTimeoutError. 0 means never, the default. It is for servers:
// clients that mean to stay idle for longer use SetKeepAlive.
func (s *UDPSession) SetIdleTimeout(d time.Duration) error {
	if err := checkTimes(0, d); err != nil {
		return err
	}
	return s.configure(func() error { s.keepalive.idle = int64(d); return nil })
}

// SetUserTimeout sets for how long the peer may leave unanswered what it has to answer before Read
// and Write fail with a *PeerTimeoutError (RFC 5482: https://www.rfc-editor.org/rfc/rfc5482): 0 for
// the default, 60 seconds, and negative for ever. Data that was sent while the peer had room for it
// has to be acknowledged, whatever else the peer says. A peer that says, when it is asked, that its
// window is full is alive, and may do so for ever. A sealed session whose timeout is above five minutes when it
// sends first has that taken by the listener a round trip later.
func (s *UDPSession) SetUserTimeout(d time.Duration) error {
	return s.configure(func() error { s.keepalive.user = userTimeoutOf(d); return nil })
}

// SetLinger sets what Close does with data that is not acknowledged yet. As with net.TCPConn, sec
// above 0 is how many seconds it is delivered in the background (by default 5; see Close), and 0
// discards it and resets the session at once; then a socket of its own is closed when Close
// returns. A peer that has not been heard yet is not told of that, as it may not have this extension
// of the protocol. Negative makes Close itself wait until all has been acknowledged or the session
// fails.
func (s *UDPSession) SetLinger(sec int) error {
	return s.configure(func() error {
		s.closing.linger = time.Duration(min(int64(sec), math.MaxInt64/int64(time.Second))) * time.Second
		if sec < 0 {
			s.closing.linger = -1
		}
		return nil
	})
}

// Stats returns the session's statistics as of one moment, also those of a session that was closed.
// It takes the session's lock and copies some numbers.
func (s *UDPSession) Stats() Stats {
	now := clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.total
	for i, more := range s.count.fields() { // of a write under way
		n.fields()[i] += more
	}
	st := Stats{
		BytesSent: n.BytesSent, BytesReceived: n.BytesReceived,
		DatagramsSent: n.OutPkts, DatagramsReceived: n.InPkts,
		WireBytesSent: n.OutBytes, WireBytesReceived: n.InBytes,
		SegmentsSent: n.OutSegs, SegmentsReceived: n.InSegs,
		Resent: n.RetransSegs, LostFast: n.FastRetransSegs, LostEarly: n.EarlyRetransSegs, LostTimeout: n.LostSegs,
		Duplicates: n.RepeatSegs, FECRecovered: n.FECRecovered,
		FECWasted:     n.FECParityShards - min(n.FECRecovered, n.FECParityShards),
		InvalidInputs: n.InCsumErrors + n.KCPInErrors + n.FECErrs, OOBDropped: s.oobDropped,
		ReceiveDrops: s.path().sock.overflow.total.Load(),
		LastHeard:    time.Duration(now - s.core.heardAt()), Age: time.Duration(now - s.created),
	}
	st.MTU = s.mtu
	st.SendLimit, st.TimeLimited = s.limits.limit, s.limits.times(now)
	s.core.fill(now, &st)
	if s.seal != nil {
		s.seal.fill(&st)
	}
	if s.roam != nil {
		st.PathChanges = s.roam.changes
		st.Unsealed = n.InUnsealed
	}
	st.KeyDatagrams, st.KeyLimit = s.cfg.env.keyUse()
	if s.enc != nil {
		st.FECDataShards, st.FECParityShards = s.enc.code.data, s.enc.send
	}
	return st
}
