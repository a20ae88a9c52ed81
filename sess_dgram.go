package kcp

import (
	"context"
	"io"

	"github.com/pkg/errors"
)

// SendDatagram sends b, at most MaxDatagramSize bytes, as a message of its own beside the stream, which
// arrives once or not at all: unordered, and not sent again if it is lost. It does not wait. Up to
// Settings.DatagramQueue of them wait until congestion control lets them go, before the stream, to which a
// quarter is left; beyond that the oldest is dropped and counted in Stats.UnreliableDropped. Close does not
// wait for those that wait. It is to this protocol what the DATAGRAM frame is to QUIC (RFC 9221:
// https://www.rfc-editor.org/rfc/rfc9221).
//
// The peer has to take datagrams. That is known a round trip after it has been heard first, and they wait
// until then. If it does not, the error is an errors.ErrUnsupported. A listener has the session once data
// of the stream has come.
func (s *UDPSession) SendDatagram(b []byte) error {
	s.mu.Lock()
	if err := s.sendDatagramLocked(b); err != nil {
		s.mu.Unlock()
		return err
	}
	s.unlockAndSend(true)
	return nil
}

func (s *UDPSession) sendDatagramLocked(b []byte) error {
	switch most := s.core.dgramSize(); {
	case s.closing.state != stateOpen:
		return s.opError("write", errClosed)
	case s.err != nil:
		return s.opError("write", s.err)
	case s.closing.writeClosed:
		return s.opError("write", errPipe)
	case s.core.dgramsRefused():
		return errNoDatagrams
	case len(b) > most:
		return errors.Errorf("kcp: datagram of %d bytes: at most %d", len(b), most)
	}
	now := clock()
	s.core.sendDgram(now, b)
	s.driveLocked(now, false)
	return nil
}

// MaxDatagramSize returns the most bytes that SendDatagram takes: what the MTU leaves after the headers. It
// follows the MTU, which follows the path (see Settings.MTU): what waits and is too long then is dropped. It is
// 0 where the peer is known not to take datagrams.
func (s *UDPSession) MaxDatagramSize() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.core.dgramsRefused() {
		return 0
	}
	return s.core.dgramSize()
}

// ReceiveDatagram waits for the next message of the peer's SendDatagram, in the order of arrival, until ctx
// is over; then the error is ctx's. After the last one of a peer that has ended its stream, and after
// CloseRead, it returns io.EOF, and otherwise the errors of Read. Up to Settings.DatagramQueue messages
// wait for it; beyond that the oldest is dropped and counted in Stats.UnreliableDropped.
func (s *UDPSession) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for waits := false; ; waits = true {
		switch {
		case s.closing.state != stateOpen:
			return nil, s.opError("read", errClosed)
		case s.closing.readClosed:
			return nil, io.EOF
		case s.core.dgramArrived():
			return s.core.receiveDgram(), nil
		case s.core.finReceived():
			return nil, io.EOF
		case s.err != nil:
			return nil, s.opError("read", s.err)
		case ctx.Err() != nil:
			return nil, s.opError("read", ctx.Err())
		}
		if !waits {
			defer context.AfterFunc(ctx, s.wakeDatagrams)()
		}
		s.waitLocked(s.dgramsWaitLocked())
	}
}

// wakeDatagrams lets ReceiveDatagram look again.
func (s *UDPSession) wakeDatagrams() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakeLocked(s.dgramsWaitLocked())
}

// dgramsWaitLocked returns the queue that ReceiveDatagram waits in.
func (s *UDPSession) dgramsWaitLocked() *waitQueue {
	if s.dgramsIn == nil {
		s.dgramsIn = &waitQueue{deadline: never}
		s.dgramsIn.cond.L = &s.mu
	}
	return s.dgramsIn
}
