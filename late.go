package kcp

import "sync/atomic"

// late is what is remembered of a session that has ended, so that stragglers are answered: a
// peer whose last acknowledgement was lost stops sending again, and one that goes on writing
// learns that nobody reads.
type timeWait struct {
	una        uint32 // everything below had come
	caps, peer uint8  // capabilities, ours and the peer's
	fin        bool   // the peer's FIN had come; it is below una
	reset      bool   // data was lost with the session
	confirmed  bool   // the peer had acknowledged something of ours
}

// lateWindow is the window that a session announces that has ended: what a peer sends into it
// is answered with a reset.
const timeWaitWindow = IKCP_WND_RCV

// answer returns the datagram, still to be sealed, that answers one with that payload, nil for
// none. It is no longer than what it answers, or one segment.
func (t *timeWait) reply(cfg *config, conv uint32, payload []byte) *packet {
	if h, isFEC := parseFEC(payload); isFEC {
		body, ok := h.body(payload)
		if !ok || h.kind != fecTypeData {
			return nil
		}
		payload = body
	}
	p := packets.get()
	p.data = p.mem[:cfg.env.head]
	for len(payload) >= IKCP_OVERHEAD {
		var h header
		h.parse(payload)
		payload = payload[IKCP_OVERHEAD:]
		if !h.valid(conv, payload) {
			break
		}
		payload = payload[h.len:]
		if h.isControl() && h.frg&capMark != 0 && t.caps != 0 {
			t.peer = h.frg
		}
		cmd := t.replyCmd(&h)
		if cmd == 0 {
			continue
		}
		r := header{conv: conv, cmd: cmd, frg: t.caps, wnd: timeWaitWindow, una: t.una}
		switch cmd {
		case IKCP_CMD_ACK:
			r.sn, r.ts = h.sn, h.ts
		case cmdRST:
			r.sn, p.data = t.una, p.data[:cfg.env.head] // says it all
		}
		at := len(p.data)
		if at+IKCP_OVERHEAD+cfg.env.tail > cfg.mtu {
			break
		}
		p.data = p.data[:at+IKCP_OVERHEAD]
		r.put(p.data[at:])
		if cmd == cmdRST {
			break
		}
	}
	if len(p.data) == cfg.env.head {
		packets.put(p)
		return nil
	}
	return p
}

// reply returns the cmd of the answer to a segment, 0 for none.
func (t *timeWait) replyCmd(h *header) uint8 {
	resets := bothTakeFIN(t.caps, t.peer)
	switch h.cmd {
	case IKCP_CMD_ACK, IKCP_CMD_WINS, cmdRST:
		return 0
	case IKCP_CMD_WASK:
		if resets && t.reset {
			return cmdRST
		} else if resets {
			return IKCP_CMD_WINS
		}
		return 0
	case cmdFIN:
		if resets && h.sn == t.una && !t.fin && !t.reset {
			t.una, t.fin = t.una+1, true
		}
	}
	switch {
	case t.caps == 0:
		return 0
	case before(h.sn, t.una) && !t.reset:
		return IKCP_CMD_ACK
	case resets:
		return cmdRST
	}
	return 0
}

// answer takes a datagram that belongs to no session: one that has ended answers it. The answers
// of a batch go together.
func (l *listenerReader) replyUnknown(d inbound, payload []byte, now int64) {
	segments := payload
	if h, isFEC := parseFEC(payload); isFEC {
		segments, _ = h.body(payload)
	}
	if len(segments) < IKCP_OVERHEAD {
		return
	}
	key := sessionKey{d.from, segmentConv(segments)}
	var p *packet
	l.mu.Lock()
	if end, in := l.ended.find(key, now); in != nil {
		p = end.reply(l.cfg, key.conv, payload)
		in[key] = end
	} else if !l.closed && len(l.backlog) < acceptBacklog {
		p = l.cfg.probeReply(key.conv, segments)
	}
	l.mu.Unlock()
	if p != nil {
		to := l.sock.destination(d.from, d.addr)
		l.replies = append(l.replies, outbound{p.data, p, &to})
	}
}

// sendAnswers sends what answer has collected.
func (l *listenerReader) sendReplies() {
	if len(l.replies) == 0 {
		return
	}
	refused, _ := l.cfg.transmit(l.sock, l.replies, false)
	atomic.AddUint64(&l.cfg.snmp.OutErrs, uint64(refused))
	for _, o := range l.replies {
		packets.put(o.p)
	}
	clear(l.replies)
	l.replies = l.replies[:0]
}

// greet returns the answer to a dialler that asks whether anybody is there: a marked window
// probe of a conversation that has not begun. It makes no session, and no more bytes than came.
func (c *config) probeReply(conv uint32, segments []byte) *packet {
	var h header
	h.parse(segments)
	if c.caps == 0 || h.cmd != IKCP_CMD_WASK || h.frg&capMark == 0 || !h.valid(conv, segments[IKCP_OVERHEAD:]) {
		return nil
	}
	p := packets.get()
	p.data = p.mem[:c.env.head+IKCP_OVERHEAD]
	r := header{conv: conv, cmd: IKCP_CMD_WINS, frg: c.caps, wnd: uint16(c.receiveWindow())}
	r.put(p.data[c.env.head:])
	return p
}
