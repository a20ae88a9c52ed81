package kcp

import (
	"time"

	"github.com/pkg/errors"
)

// WriteMessage queues b, 1 to MaxMessageSize bytes, as one message, which the peer's Read returns whole, or
// piece by piece to a buffer that is too short. It waits for room in the send window as Write does.
//
// Once expires has passed the message is not worth anything: it is not sent, nor is it begun where not all of
// it would be sent by then, and what was lost of it is not sent again; the stream goes on behind it. The
// peer's Read never sees it, not in part either, unless that is in stream mode. The zero time means never. If
// it expires while WriteMessage waits, nothing is queued, and the error is an os.ErrDeadlineExceeded.
// Stats.Expired counts at the sender, Stats.Skipped at the receiver. A peer that does not take this extension
// of the protocol, and any peer in the first round trip, gets the message late instead.
//
// A session in stream mode has no messages, and returns an errors.ErrUnsupported.
func (s *UDPSession) WriteMessage(b []byte, expires time.Time) error {
	s.mu.Lock()
	at := clockAt(expires, clock())
	err := s.awaitTurnLocked(b, at)
	if err == nil {
		s.writing = true
		if err = s.awaitRoomLocked(b, at); err == nil {
			w := s.beginWriteLocked(clock(), [][]byte{b})
			s.core.sendMessage(b, at)
			s.endWriteLocked(len(b), &w)
		}
		s.writing = false
		s.wakeLocked(&s.writable)
	}
	s.unlockAndSend(true)
	return s.opError("write", err)
}

// messageErrLocked returns what is wrong with a message that expires at the time at.
func (s *UDPSession) messageErrLocked(b []byte, at int64) error {
	switch most := s.core.messageSize(); {
	case s.core.streaming():
		return errNoMessages
	case len(b) == 0 || len(b) > most:
		return errors.Errorf("kcp: message of %d bytes: must be 1 to %d", len(b), most)
	}
	if err := s.writeErrLocked(); err != nil {
		return err
	}
	if clock() >= at {
		return errDeadline
	}
	return nil
}

// awaitTurnLocked waits while another write is under way, until the time at.
func (s *UDPSession) awaitTurnLocked(b []byte, at int64) error {
	for {
		if err := s.messageErrLocked(b, at); err != nil || !s.writing {
			return err
		}
		s.messageAt = min(s.messageAt, at)
		s.waitLocked(&s.writable)
	}
}

// awaitRoomLocked waits until there is room for a message, until the time at.
func (s *UDPSession) awaitRoomLocked(b []byte, at int64) error {
	for {
		switch err := s.messageErrLocked(b, at); { // a setting may have changed
		case err != nil:
			return err
		case !s.tx.crowded() && !s.windowFullLocked():
			return nil
		case s.sendLocked(never):
			continue
		}
		s.tx.deferRest()
		s.messageAt = min(s.messageAt, at)
		s.core.noteRoomAwaited(never)
		s.waitLocked(&s.writable)
		s.core.noteRoomAwaited(clock())
	}
}

// MaxMessageSize returns the most bytes of a WriteMessage: 128 segments, which any receive window that
// follows the path holds, or what the peer's holds if that is set to less. That is known once the peer was heard:
// it never reads a larger one that was written before, nor what is behind it.
func (s *UDPSession) MaxMessageSize() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.messageSize()
}
