package kcp

import (
	"io"
	"sync/atomic"
)

// Read reads what has arrived in order. In stream mode it fills b as far as it can. Otherwise it
// ends with the message (of a peer's session: with the data of one segment), of which the next
// Read returns the rest if b was too short. It blocks while there is nothing to be read, until the
// read deadline. It returns io.EOF after the last byte of a peer that has ended its stream, and why
// the session has failed after the last byte that arrived before.
func (s *UDPSession) Read(b []byte) (n int, err error) {
	s.mu.Lock()
	for n == 0 && err == nil { // a message may be empty
		if len(b) == 0 {
			err = s.readErrLocked()
			break
		}
		if n, err = s.awaitDataLocked(b); err == nil {
			if n == 0 || s.core.streaming() {
				n += s.core.read(b[n:])
			}
			s.countReadLocked(n)
		}
	}
	s.unlockReader()
	return n, s.opError("read", err)
}

// awaitDataLocked waits until there is something to be read, or returns why there is not. What
// arrives meanwhile may be delivered to b, n bytes of it.
func (s *UDPSession) awaitDataLocked(b []byte) (n int, err error) {
	for {
		if ready, err := s.dataReadyLocked(); ready || err != nil {
			return 0, err
		}
		direct := s.core.startDirectRead(b)
		s.waitLocked(&s.readable)
		if direct {
			if n = s.core.endDirectRead(); n > 0 {
				s.wakeLocked(&s.readable) // others waited for this one
				return n, nil
			}
		}
	}
}

// dataReadyLocked says whether there is something to be read, or returns why there will not be.
func (s *UDPSession) dataReadyLocked() (ready bool, err error) {
	switch err := s.readErrLocked(); {
	case err != nil:
		return false, err
	case s.core.directRead() > 0: // another Read has what came before, and wakes this one
		return false, nil
	case s.core.readable():
		return true, nil
	case s.core.finished():
		return false, io.EOF
	case s.core.finReceived(): // within a message
		return false, io.ErrUnexpectedEOF
	}
	return false, s.err
}

// readErrLocked returns why nothing can be read, whatever has arrived.
func (s *UDPSession) readErrLocked() error {
	switch {
	case s.closing.state != stateOpen:
		return errClosed
	case s.closing.readClosed:
		return io.EOF
	case s.readable.expired():
		return errDeadline
	}
	return nil
}

// unlockReader ends a read: the peer may be waiting for the window that it opened.
func (s *UDPSession) unlockReader() {
	if !s.core.windowUpdateDue() {
		s.foldReadLocked()
		s.mu.Unlock()
		return
	}
	s.driveLocked(clock(), true)
	s.unlockAndSend(false)
}

// foldReadLocked is the part of foldLocked that a read changes.
func (s *UDPSession) foldReadLocked() {
	if n := uint64(s.core.inOrder()); n != s.total.RingBufferRcvQueue {
		atomic.AddUint64(&s.cfg.snmp.RingBufferRcvQueue, n-s.total.RingBufferRcvQueue)
		s.total.RingBufferRcvQueue = n
	}
}

func (s *UDPSession) countReadLocked(n int) {
	s.total.BytesReceived += uint64(n)
	atomic.AddUint64(&s.cfg.snmp.BytesReceived, uint64(n))
}
