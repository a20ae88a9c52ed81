package kcp

import (
	"sync"
	"sync/atomic"
)

// listenerReader is a listener's reader of one of its sockets. Its own fields, but for replies, are
// used by its goroutine alone.
type listenerReader struct {
	*Listener
	sock    *socket
	touched []*UDPSession // scratch: the sessions that a batch had something for
	demux   *sealDemux    // nil where nothing is sealed
	held    []*UDPSession // scratch: those of them for which flushHeldAck is due
	batch   outBatch      // scratch: what several of them send

	mu      sync.Mutex // guards replies
	replies sender     // to datagrams of no session
}

func newListenerReader(l *Listener, sock *socket) *listenerReader {
	r := &listenerReader{Listener: l, sock: sock, demux: l.seal.demux()}
	r.replies = sender{mu: &r.mu, owner: r, env: &l.cfg.env, snmp: l.cfg.snmp, sock: sock, pool: &packets}
	return r
}

// receive takes a batch of datagrams from the socket's reader, at now. Each session's datagrams go in under
// one lock where they follow each other, each session is driven once, and what several of them send
// goes in one batch.
func (l *listenerReader) receive(batch []inbound, now int64) {
	var current *UDPSession // locked
	batch, drops := l.cfg.env.openAll(batch, nil, l.demux, l.cfg.snmp)
	l.counts.dropped(drops)
	for i := range batch {
		d := &batch[i]
		c, ok := parseContents(d.data)
		if current == nil || !ok || !current.expects(d, &c) {
			if current != nil {
				current.mu.Unlock()
			}
			if current = l.sessionOf(d, &c, ok, now); current == nil {
				continue
			}
			lockSpinning(&current.mu)
			if !current.inBatch {
				current.inBatch = true
				l.touched = append(l.touched, current)
			}
		}
		current.inputLocked(now, d, &c, ok, l.sock)
	}
	if current != nil {
		current.mu.Unlock()
	}
	l.drive(now)
	l.sendReplies()
	l.tellUnproven(now)
}

// sessionOf finds the session that a datagram is for, or makes one. Where there is none, it answers the
// datagram, if that has an answer.
func (l *listenerReader) sessionOf(d *inbound, c *contents, ok bool, now int64) *UDPSession {
	if d.sealed != nil {
		return l.sealedSession(d, now)
	}
	if l.seal != nil && ok && c.hasConv {
		if s, handled := l.helloFrom(d, c, now); handled {
			return s
		}
	}
	s := l.route(*d, c, ok, now)
	if s == nil {
		atomic.AddUint64(&l.cfg.snmp.InErrs, 1)
		l.counts.foreign.Add(1)
		if ok {
			l.replyUnknown(*d, c, now)
		}
	}
	return s
}

// inputLocked takes a datagram that a listener's reader has found to be for s, and read from sock.
func (s *UDPSession) inputLocked(now int64, d *inbound, c *contents, ok bool, sock *socket) {
	switch {
	case d.sealed != nil:
		s.noteSourceLocked(now, d, sock)
		s.sealedInputLocked(now, d)
	case s.seal != nil: // it has brought early data
		s.takeHelloLocked(now)
	default:
		s.datagramLocked(now, d.data, c, ok)
	}
}

// expects says whether a datagram is so plainly for s that the table need not be asked. One that
// begins with a session number may be late.
func (s *UDPSession) expects(d *inbound, c *contents) bool {
	if d.sealed != nil || s.seal != nil {
		return d.sealed != nil && s.seal != nil && d.sealed == s.seal.peer && !d.sealed.unproven.Load()
	}
	return (!c.isFEC || c.fec.kind == fecTypeData) && len(c.body) >= IKCP_OVERHEAD &&
		c.conv == s.conv && d.from == s.path().peerAddr && c.body[4] != IKCP_CMD_WINS
}

// route finds the session of a datagram, or makes one. It returns nil for a datagram that belongs
// to none.
func (l *listenerReader) route(d inbound, c *contents, ok bool, now int64) *UDPSession {
	if !ok {
		return nil
	}
	sh := l.table.shard(d.from)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if c.kind() == fecTypeParity {
		return sh.lastFEC[d.from]
	}
	if !c.hasConv {
		return nil
	}
	key := sessionKey{d.from, c.conv}
	s := sh.sessions[key]
	if s == nil && c.early {
		return nil // there will be a HELLO
	}
	if s == nil {
		s = l.openLocked(sh, key, l.sock, l.sock.destination(d.from, d.addr), c, now)
	} else if n := c.number(); n != 0 && sh.timeWaits.ended(key, n, now) {
		return nil // a late copy
	}
	if s != nil && c.kind() == fecTypeData && sh.lastFEC[d.from] != s {
		if sh.lastFEC == nil {
			sh.lastFEC = make(map[peerAddr]*UDPSession)
		}
		sh.lastFEC[d.from] = s
	}
	return s
}

// drive drives each session that the batch had something for, and then those once more whose
// acknowledgements have waited for an answer.
func (l *listenerReader) drive(now int64) {
	l.driveAll(now, l.touched, (*UDPSession).driveInputLocked)
	clear(l.touched)
	l.touched = l.touched[:0]
	if len(l.held) == 0 {
		return
	}
	l.driveAll(l.sock.yield(now), l.held, (*UDPSession).releaseAckLocked)
	clear(l.held)
	l.held = l.held[:0]
}

// driveAll drives each session of list by f, and sends what comes out: of several sessions in one
// batch. f says whether flushHeldAck is due.
func (l *listenerReader) driveAll(now int64, list []*UDPSession, f func(s *UDPSession, now int64) (held bool)) {
	senders := list[:0]
	for _, s := range list {
		lockSpinning(&s.mu)
		s.inBatch = false
		if f(s, now) {
			l.held = append(l.held, s)
		}
		if len(list) == 1 || s.path().sock != l.sock || !s.tx.begin(false) {
			s.unlockAndSend(false)
			continue
		}
		l.batch.list = append(l.batch.list, s.tx.batch.list...)
		s.mu.Unlock()
		senders = append(senders, s)
	}
	if len(senders) > 0 {
		l.send(senders)
	}
}

// send sends the batches that several sessions have begun as one.
func (l *listenerReader) send(senders []*UDPSession) {
	refused, _, err := l.batch.transmit(&l.cfg.env, l.cfg.snmp, l.sock, clock()+sendBudget)
	atomic.AddUint64(&l.cfg.snmp.OutErrs, uint64(refused))
	at := 0
	for _, s := range senders {
		lockSpinning(&s.mu)
		at = s.tx.batch.take(&l.batch, at)
		s.tx.end()
		s.sentLocked(0, err)
		s.unlockAndSend(false)
	}
	clear(l.batch.list)
	l.batch = outBatch{list: l.batch.list[:0]}
}

// replyUnknown answers a datagram that belongs to no session: one that has ended does, or the
// listener answers a dialler's probe, or asks whether the sender is there.
func (l *listenerReader) replyUnknown(d inbound, c *contents, now int64) {
	if len(c.body) < IKCP_OVERHEAD {
		return
	}
	p := l.replyOf(sessionKey{d.from, c.conv}, c, now)
	if p == nil {
		return
	}
	l.reply(p, nil, &d)
}

// replyOf returns the answer to a datagram for key, nil for none.
func (l *listenerReader) replyOf(key sessionKey, c *contents, now int64) *packet {
	sh := l.table.shard(key.from)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.sessions[key] != nil {
		return nil // a late copy of an older session of the same key
	}
	if end, in := sh.timeWaits.find(key, now); in != nil && end.isOf(c) {
		p := end.reply(l.cfg, key.conv, c)
		in[key] = end
		return p
	}
	ok, asks := l.admits(key.from)
	if asks && c.kind() != fecTypeOOB {
		if opens, _ := opensSession(key.conv, c.body, uint32(l.cfg.receiveWindow())); opens {
			return l.check.question(l.cfg, key, now)
		}
	}
	if ok || asks {
		return l.cfg.probeReply(key.conv, c.body)
	}
	return nil
}

// sendReplies sends what replyUnknown has collected.
func (l *listenerReader) sendReplies() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.replies.pending() {
		return
	}
	_, refused, _ := l.replies.send(clock() + sendBudget)
	atomic.AddUint64(&l.cfg.snmp.OutErrs, uint64(refused))
	l.replies.deferRest()
}

// sendDeferred is the write loop's turn to send replies.
func (l *listenerReader) sendDeferred() (more, full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	refused, full, _ := l.replies.resume(clock() + sendBudget)
	atomic.AddUint64(&l.cfg.snmp.OutErrs, uint64(refused))
	return l.replies.deferred, full
}
