package kcp

import (
	"sync"
	"sync/atomic"
)

// transportReader is a transport's reader of one of its sockets. Its own fields, but for replies, are
// used by its goroutine alone.
type transportReader struct {
	*Transport
	sock    *socket
	touched []*UDPSession // scratch: the sessions that a batch had something for
	demux   sealDemux
	held    []*UDPSession  // scratch: those of them for which flushHeldAck is due
	batch   outBatch       // scratch: what several of them send
	tries   []*cipherGroup // scratch: see groupsFor
	copied  []byte         // scratch: a datagram as it came
	sealing [1]outbound    // scratch: a reply

	mu      sync.Mutex // guards replies
	replies sender     // to datagrams of no session, sealed
}

func newTransportReader(t *Transport, sock *socket) *transportReader {
	r := &transportReader{Transport: t, sock: sock, demux: sealDemux{find: t.index.find}}
	r.replies = sender{mu: &r.mu, owner: r, env: &plainEnvelope, snmp: t.snmp, sock: sock, pool: &packets}
	return r
}

// receive takes a batch of datagrams from the socket's reader, at now. Each session's datagrams go in under
// one lock where they follow each other, each session is driven once, and what several of them send
// goes in one batch.
func (r *transportReader) receive(batch []inbound, now int64) {
	var current *UDPSession // locked
	batch = r.openAll(batch)
	for i := range batch {
		d := &batch[i]
		c, ok := parseContents(d.data)
		if current == nil || !ok || !current.expects(d, &c) {
			if current != nil {
				current.mu.Unlock()
			}
			if current = r.sessionOf(d, &c, ok, now); current == nil {
				continue
			}
			lockSpinning(&current.mu)
			if !current.inBatch {
				current.inBatch = true
				r.touched = append(r.touched, current)
			}
		}
		current.inputLocked(now, d, &c, ok, r.sock)
	}
	if current != nil {
		current.mu.Unlock()
	}
	r.drive(now)
	r.sendReplies()
	if l := r.listener.Load(); l != nil {
		l.tellUnproven(now)
	}
}

// sessionOf finds the session that a datagram is for, or has the listener make one. Where there is none, it
// answers the datagram, if that has an answer.
func (r *transportReader) sessionOf(d *inbound, c *contents, ok bool, now int64) *UDPSession {
	if d.sealed != nil {
		return r.sealedSession(d, now)
	}
	l := r.listenerOf(d)
	if l != nil && l.seal != nil && ok && c.hasConv {
		if s, handled := l.helloFrom(r, d, c, now); handled {
			return s
		}
	}
	s := r.route(d, l, c, ok, now)
	if s == nil {
		atomic.AddUint64(&d.group.cfg.snmp.InErrs, 1)
		r.counts.foreign.Add(1)
		if ok {
			r.replyUnknown(d, l, c, now)
		}
	}
	return s
}

// listenerOf returns the listener, if a datagram has opened under its cipher.
func (r *transportReader) listenerOf(d *inbound) *Listener {
	if l := r.listener.Load(); l != nil && l.group.sharesCipher(d.group) {
		return l
	}
	return nil
}

// sealedSession returns the session of a sealed datagram, which the listener makes if that is the first one
// of a handshake, nil for none.
func (r *transportReader) sealedSession(d *inbound, now int64) *UDPSession {
	p := d.sealed
	if end := p.end.Load(); end != nil {
		r.replySealedEnd(d, end)
		return nil
	}
	if p.unproven.Load() {
		if l := r.listener.Load(); l != nil {
			l.sealProven(r, p, d, now)
		}
	}
	return p.session.Load()
}

// inputLocked takes a datagram that is for s, and read from sock.
func (s *UDPSession) inputLocked(now int64, d *inbound, c *contents, ok bool, sock *socket) {
	switch {
	case d.sealed != nil:
		s.noteSourceLocked(now, d, sock)
		s.sealedInputLocked(now, d)
	case s.seal == nil:
		s.datagramLocked(now, d.data, c, ok)
	case !s.dialled: // it has brought early data
		s.takeHelloLocked(now)
	case s.unsealedInputLocked(now, c):
		s.datagramLocked(now, d.data, c, ok)
		s.noteProofLocked()
	}
}

// expects says whether a datagram is so plainly for s that the table need not be asked. One that
// begins with a session number may be late.
func (s *UDPSession) expects(d *inbound, c *contents) bool {
	if d.sealed != nil || s.seal != nil {
		return d.sealed != nil && s.seal != nil && d.sealed == s.seal.peer && !d.sealed.unproven.Load()
	}
	return (!c.isFEC || c.fec.kind == fecTypeData) && len(c.body) >= IKCP_OVERHEAD && c.conv == s.conv &&
		d.from == s.path().peerAddr && c.body[4] != IKCP_CMD_WINS && s.owner.cipherGroup().sharesCipher(d.group)
}

// route finds the session of a datagram, or has the listener, if any, make one. It returns nil for a
// datagram that belongs to none.
func (r *transportReader) route(d *inbound, l *Listener, c *contents, ok bool, now int64) *UDPSession {
	if !ok {
		return nil
	}
	sh := r.table.shard(d.from)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if c.kind() == fecTypeParity {
		if s := sh.lastFEC[d.from]; s != nil && s.owner.cipherGroup().sharesCipher(d.group) {
			return s
		}
		return nil
	}
	if !c.hasConv {
		return nil
	}
	key := sessionKey{d.from, c.conv}
	s := sh.sessions[key]
	switch {
	case s == nil && (c.early || l == nil):
		return nil // there will be a HELLO, or there is nobody to make one
	case s == nil:
		s = l.openLocked(sh, key, r.sock, r.sock.destination(d.from, d.addr), c, now)
	case !s.owner.cipherGroup().sharesCipher(d.group):
		return nil
	default:
		if n := c.number(); n != 0 && sh.timeWaits.ended(key, n, now) {
			return nil // a late copy
		}
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
func (r *transportReader) drive(now int64) {
	r.driveAll(now, r.touched, (*UDPSession).driveInputLocked)
	clear(r.touched)
	r.touched = r.touched[:0]
	if len(r.held) == 0 {
		return
	}
	r.driveAll(r.sock.yield(now), r.held, (*UDPSession).releaseAckLocked)
	clear(r.held)
	r.held = r.held[:0]
}

// driveAll drives each session of list by f, and sends what comes out: of several sessions in one
// batch. f says whether flushHeldAck is due.
func (r *transportReader) driveAll(now int64, list []*UDPSession, f func(s *UDPSession, now int64) (held bool)) {
	senders := list[:0]
	for _, s := range list {
		if len(senders) > 0 && senders[0].cfg != s.cfg {
			r.send(senders)
			senders = list[:0]
		}
		lockSpinning(&s.mu)
		s.inBatch = false
		if f(s, now) {
			r.held = append(r.held, s)
		}
		if len(list) == 1 || s.path().sock != r.sock || !s.tx.begin(false) {
			s.unlockAndSend(false)
			continue
		}
		r.batch.list = append(r.batch.list, s.tx.batch.list...)
		s.mu.Unlock()
		senders = append(senders, s)
	}
	if len(senders) > 0 {
		r.send(senders)
	}
}

// send sends the batches that several sessions of one config have begun as one.
func (r *transportReader) send(senders []*UDPSession) {
	refused, _, err := r.batch.transmit(&senders[0].cfg.env, r.snmp, r.sock, clock()+sendBudget)
	atomic.AddUint64(&r.snmp.OutErrs, uint64(refused))
	at := 0
	for _, s := range senders {
		lockSpinning(&s.mu)
		at = s.tx.batch.take(&r.batch, at)
		s.tx.end()
		s.sentLocked(0, err)
		s.unlockAndSend(false)
	}
	clear(r.batch.list)
	r.batch = outBatch{list: r.batch.list[:0]}
}

// replyUnknown answers a datagram that belongs to no session: one that has ended does, or the
// listener answers a dialler's probe, or asks whether the sender is there.
func (r *transportReader) replyUnknown(d *inbound, l *Listener, c *contents, now int64) {
	if len(c.body) < IKCP_OVERHEAD {
		return
	}
	if p := r.replyOf(sessionKey{d.from, c.conv}, d.group.cfg, l, c, now); p != nil {
		r.reply(p, d.group.cfg, nil, d)
	}
}

// replyOf returns the answer to a datagram for key, nil for none.
func (r *transportReader) replyOf(key sessionKey, cfg *config, l *Listener, c *contents, now int64) *packet {
	sh := r.table.shard(key.from)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.sessions[key] != nil {
		return nil // a late copy of an older session of the same key
	}
	if end, in := sh.timeWaits.find(key, now); in != nil && end.isOf(c) {
		p := end.reply(cfg, key.conv, c)
		in[key] = end
		return p
	}
	if l != nil {
		return l.replyTo(key, c, now)
	}
	return cfg.probeReply(key.conv, c.body)
}

// replySealedEnd answers a straggler of a session that has ended.
func (r *transportReader) replySealedEnd(d *inbound, end *sealedEnd) {
	c, ok := parseContents(d.data)
	if !ok || len(c.body) < IKCP_OVERHEAD || r.shut.Load() {
		return
	}
	if p := r.index.reply(end, &c); p != nil {
		r.reply(p, end.cfg, end.sealer, d)
	}
}

// plainEnvelope is that of replies, which are sealed as they are made.
var plainEnvelope = envelope{piece: sendPiece}

// reply sends a datagram to where another came from, sealed with those keys, or under the shared cipher.
func (r *transportReader) reply(p *packet, cfg *config, keys *datagramSealer, d *inbound) {
	to := r.sock.destination(d.from, d.addr)
	one := append(r.sealing[:0], outbound{p.data, p, &to, keys})
	cfg.env.sealAll(one)
	data := one[0].data
	clear(one)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.replies.crowded() {
		packets.put(p)
		atomic.AddUint64(&cfg.snmp.OutErrs, 1)
		return
	}
	r.replies.enqueue(outbound{data, p, &to, nil}, 0)
}

// sendReplies sends what replyUnknown has collected.
func (r *transportReader) sendReplies() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.replies.pending() {
		return
	}
	_, refused, _ := r.replies.send(clock() + sendBudget)
	atomic.AddUint64(&r.snmp.OutErrs, uint64(refused))
	r.replies.deferRest()
}

// sendDeferred is the write loop's turn to send replies.
func (r *transportReader) sendDeferred() (more, full bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	refused, full, _ := r.replies.resume(clock() + sendBudget)
	atomic.AddUint64(&r.snmp.OutErrs, uint64(refused))
	return r.replies.deferred, full
}
