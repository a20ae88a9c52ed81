package kcp

import "sync/atomic"

// listenerReader is a listener's reader of one of its sockets. What it has of its own only its
// goroutine touches.
type listenerReader struct {
	*Listener
	sock    *socket
	touched []*UDPSession // scratch: that a batch had something for
	tx      []outbound    // scratch: what they send
	replies []outbound    // scratch: answers to stragglers
}

// receive takes a batch of datagrams from the socket's reader: each session's go in
// under one lock where they follow each other, each session is flushed once, and
// what all of them have to send goes in one batch.
func (l *listenerReader) receive(batch []inbound) {
	var (
		now     = clock()
		current *UDPSession // locked
	)
	for _, d := range l.cfg.openAll(batch, nil) {
		payload := d.data
		if current == nil || !current.expects(d.from, payload) {
			if current != nil {
				current.mu.Unlock()
			}
			if current = l.route(d, payload, now); current == nil {
				atomic.AddUint64(&l.cfg.snmp.InErrs, 1)
				l.replyUnknown(d, payload, now)
				continue
			}
			lockSpinning(&current.mu)
			if !current.touched {
				current.touched = true
				l.touched = append(l.touched, current)
			}
		}
		current.datagramLocked(now, payload)
	}
	if current != nil {
		current.mu.Unlock()
	}
	l.drive(now)
	l.sendReplies()
}

// settle is every touched session's drive.
func (l *listenerReader) drive(now int64) {
	if len(l.touched) == 1 {
		s := l.touched[0]
		lockSpinning(&s.mu)
		s.touched = false
		s.driveLocked(now, false)
		s.unlockAndHandOver()
	} else if len(l.touched) > 1 {
		l.driveMany(now)
	}
	clear(l.touched)
	l.touched = l.touched[:0]
}

// settleAll is settle for several sessions, with one batch for all of them.
func (l *listenerReader) driveMany(now int64) {
	senders := l.touched[:0]
	for _, s := range l.touched {
		lockSpinning(&s.mu)
		s.touched = false
		s.driveLocked(now, false)
		if s.sending { // whoever does takes along what is queued
			s.unlockAndHandOver()
			continue
		}
		l.tx = append(l.tx, s.takeLocked()...)
		s.mu.Unlock()
		senders = append(senders, s)
	}
	refused, err := l.cfg.transmit(l.sock, l.tx, false)
	atomic.AddUint64(&l.cfg.snmp.OutErrs, uint64(refused))
	clear(l.tx)
	l.tx = l.tx[:0]
	for _, s := range senders {
		lockSpinning(&s.mu)
		s.putBackLocked()
		s.sentLocked(0, err)
		s.unlockAndHandOver()
	}
}
