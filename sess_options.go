package kcp

import (
	"encoding/binary"
	"net"
	"time"

	"github.com/pkg/errors"
)

// configure changes a setting under the lock and lets it take effect.
func (s *UDPSession) configure(set func()) {
	s.mu.Lock()
	set()
	s.driveLocked(clock(), false)
	s.unlockAndSend(false)
}

// SetDeadline sets the read and the write deadline; see net.Conn.
func (s *UDPSession) SetDeadline(t time.Time) error { return s.setDeadlines(t, true, true) }

// SetReadDeadline sets the time at which Read gives up, also one that is blocked
// already. The zero time means never.
func (s *UDPSession) SetReadDeadline(t time.Time) error { return s.setDeadlines(t, true, false) }

// SetWriteDeadline sets the time at which Write gives up, also one that is blocked
// already. The zero time means never.
func (s *UDPSession) SetWriteDeadline(t time.Time) error { return s.setDeadlines(t, false, true) }

func (s *UDPSession) setDeadlines(t time.Time, read, write bool) error {
	at := clockAt(t, clock())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.closed {
		return s.opError("set", errClosed)
	}
	if read {
		s.readBy = at
		s.readable.Broadcast()
	}
	if write {
		s.writeBy = at
		s.writable.Broadcast()
	}
	return nil
}

// SetStreamMode chooses stream mode, in which small writes fill up segments that
// were not sent yet and reads return whatever has arrived, or message mode (the
// default), in which every Write starts a segment and a Read returns at most one.
// It concerns this end only.
func (s *UDPSession) SetStreamMode(enable bool) {
	s.configure(func() {
		s.stream = enable
		s.core.SetStreamMode(enable)
		s.core.pendingRead.stream = enable
	})
}

// SetNoDelay sets how eager the session is; see (*KCP).NoDelay. Common choices are
// (1, 10, 2, 0) for low latency and (0, 40, 3, 0) for less overhead; nc 1 for no congestion
// window. Until it is called a session has (0, 100, 3, 0).
func (s *UDPSession) SetNoDelay(nodelay, interval, resend, nc int) {
	s.configure(func() { s.core.NoDelay(nodelay, interval, resend, nc) })
}

// SetWindowSize sets the largest numbers of segments in flight and waiting to be
// read, at most 65535 (larger ones are clamped). A value below 1 leaves its window as
// it is. A full receive window stops the peer. With SetNoDelay's nc=1, a path of more than
// 10 Gbit/s, loopback for one, is given no more of a send window than it can use. Windows that
// are not set follow the path and the reader, between 128 and 4096 segments.
func (s *UDPSession) SetWindowSize(sndwnd, rcvwnd int) {
	s.configure(func() { s.core.WndSize(sndwnd, rcvwnd) })
}

// SetMtu sets the size of the longest datagram in bytes, everything inside UDP
// included. It returns false and changes nothing when mtu is above 1500 or leaves no
// room for data behind the headers of cipher, FEC and segment.
func (s *UDPSession) SetMtu(mtu int) (ok bool) {
	s.configure(func() { ok = s.setMtuLocked(mtu) })
	return ok
}

func (s *UDPSession) setMtuLocked(mtu int) bool {
	if mtu > mtuLimit || !s.core.setMtu(mtu-s.cfg.env.tail) {
		return false
	}
	s.gsoSegments = s.sock.gsoSegments(mtu)
	if code := s.cfg.fec; code != nil { // in whole groups
		s.gsoSegments = s.gsoSegments / int(code.shards()) * code.data
	}
	return true
}

// SetACKNoDelay makes every arrival be acknowledged at once instead of every second
// one, or after the interval.
func (s *UDPSession) SetACKNoDelay(nodelay bool) { s.configure(func() { s.core.ackNoDelay = nodelay }) }

// SetWriteDelay holds writes back until the interval is over or the send window is
// full, so that small ones share datagrams (in stream mode, segments).
func (s *UDPSession) SetWriteDelay(delay bool) {
	s.configure(func() {
		s.writeDelay = delay
		if !delay && s.flushBy != never {
			s.flushBy = 0
		}
	})
}

// SetDUP sends every datagram dup more times, 0 to 16 (others are clamped): for tests,
// or for a path where bytes do not matter.
func (s *UDPSession) SetDUP(dup int) { s.configure(func() { s.dup = min(max(dup, 0), dupLimit) }) }

// dupLimit keeps a slip of the pen from filling the memory.
const dupLimit = 16

// SetRateLimit limits the bytes of the datagrams that carry data to bytesPerSecond,
// parity and copies included, averaged over some milliseconds; 0 is no limit.
// Acknowledgements are not limited.
func (s *UDPSession) SetRateLimit(bytesPerSecond uint32) {
	s.configure(func() { s.core.limitPacer.setRate(int64(bytesPerSecond), clock()) })
}

// SetCongestionControl makes c decide what may be in flight, from now on: [NewBBR], which is
// the default, [NewCubic], or one of the caller's. c is this session's alone. nil is the
// default. It overrides the nc of an earlier SetNoDelay, and a later one with nc 1 overrides it.
func (s *UDPSession) SetCongestionControl(c CongestionControl) {
	s.configure(func() {
		s.core.conserveOnly, s.core.userCC = false, c
		s.core.setControl(nil)
	})
}

// SetRedundancy bounds the second copies of retransmissions to percent of the segments sent
// otherwise, 0 to 100 (others are clamped). The default is 25. They are sent only where
// SetNoDelay's nodelay asks for low latency, the path loses more than 3%, and data leaves as it
// comes: a loss then costs a second round trip only if three datagrams are lost.
func (s *UDPSession) SetRedundancy(percent int) {
	s.configure(func() { s.core.dup.percent = min(max(percent, 0), 100) })
}

// SetMinParity sets how many parity shards each FEC group gets at least, 0 to those that the
// session was made with (others are clamped), which keeps all groups as they are set. The
// default is 0: parity follows what the path loses in spite of it, and ends on a path that
// loses nothing; where datagrams are sparse, groups are smaller, with the same share of it.
func (s *UDPSession) SetMinParity(shards int) {
	s.configure(func() {
		if s.enc != nil {
			s.enc.adapter.setMinParity(shards)
		}
	})
}

// SetDSCP sets the differentiated services code point, 0 to 63, of the socket. An
// accepted session refuses: the socket is its listener's.
func (s *UDPSession) SetDSCP(dscp int) error {
	return s.onSocket(func(sock *socket) error { return sock.setDSCP(dscp) })
}

// SetReadBuffer sets the socket's receive buffer in bytes. An accepted session
// refuses: the socket is its listener's.
func (s *UDPSession) SetReadBuffer(bytes int) error {
	return s.onSocket(func(sock *socket) error { return sock.setReadBuffer(bytes) })
}

// SetWriteBuffer sets the socket's send buffer in bytes. An accepted session
// refuses: the socket is its listener's.
func (s *UDPSession) SetWriteBuffer(bytes int) error {
	return s.onSocket(func(sock *socket) error { return sock.setWriteBuffer(bytes) })
}

func (s *UDPSession) onSocket(set func(*socket) error) error {
	if s.listener != nil {
		return errNotOwner
	}
	return set(s.sock)
}

// Control calls f with the session's PacketConn, an accepted session's listener's,
// and returns its result. The connection is not to be read, written or closed.
func (s *UDPSession) Control(f func(conn net.PacketConn) error) error { return f(s.sock.conn) }

// GetRTO returns the retransmission timeout in milliseconds.
func (s *UDPSession) GetRTO() uint32 { return uint32(s.rtt().rto / int64(time.Millisecond)) }

// GetSRTT returns the smoothed round-trip time in milliseconds, 0 before it was
// measured.
func (s *UDPSession) GetSRTT() int32 { return int32(s.rtt().srtt / int64(time.Millisecond)) }

// GetSRTTVar returns the round-trip time's mean deviation in milliseconds.
func (s *UDPSession) GetSRTTVar() int32 { return int32(s.rtt().rttvar / int64(time.Millisecond)) }

func (s *UDPSession) rtt() rttEstimator {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.rtt
}

// GetOOBMaxSize returns the longest payload of SendOOB in bytes, 0 without FEC.
func (s *UDPSession) GetOOBMaxSize() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.oobMaxLocked()
}

func (s *UDPSession) oobMaxLocked() int {
	if s.enc == nil {
		return 0
	}
	return max(0, s.core.mtu-s.core.reserved-oobConvField)
}

// SendOOB sends b as a datagram beside the stream: at once, unordered, and without
// repair if it is lost. The session needs FEC, whose framing it uses; the peer needs
// a handler. b is at most GetOOBMaxSize bytes long.
func (s *UDPSession) SendOOB(b []byte) error {
	s.mu.Lock()
	switch most := s.oobMaxLocked(); {
	case s.closing.closed:
		s.mu.Unlock()
		return s.opError("write", errClosed)
	case s.err != nil:
		defer s.mu.Unlock()
		return s.opError("write", s.err)
	case s.enc == nil:
		s.mu.Unlock()
		return errOOBNeedsFEC
	case len(b) > most:
		s.mu.Unlock()
		return errors.Errorf("kcp: out-of-band payload of %d bytes: at most %d", len(b), most)
	}
	p := s.pool.get()
	p.data = p.mem[:s.core.reserved+oobConvField+len(b)]
	at := s.cfg.env.head
	putFECHeader(p.data[at:], oobSeqid, fecTypeOOB)
	binary.LittleEndian.PutUint16(p.data[at+fecShardStart:], uint16(fecSizeField+oobConvField+len(b)))
	binary.LittleEndian.PutUint32(p.data[at+fecHeaderSize:], s.core.conv)
	copy(p.data[at+fecHeaderSize+oobConvField:], b)
	s.enqueueLocked(s.datagram(p))
	s.unlockAndSend(false)
	return nil
}

// SetOOBHandler sets the function that is called with the payload of every
// out-of-band datagram that arrives, nil to drop them. It is called from a goroutine
// that reads for others too, so it must not block; it may call SendOOB. Those of different
// sessions may be called at the same time.
func (s *UDPSession) SetOOBHandler(callback OOBCallBackType) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.closed {
		return s.opError("set", errClosed)
	}
	s.oob = callback
	return nil
}
