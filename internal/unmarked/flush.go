package unmarked

// packer packs segments into datagrams, as many as fit.
type packer struct {
	core *core
	room int
	b    []byte
	out  func(datagram []byte)
}

func (p *packer) add(s segment) {
	s.wnd, s.una = p.core.window(), p.core.rcvNext
	if len(p.b) > 0 && len(p.b)+overhead+len(s.data) > p.room {
		p.end()
	}
	p.b = s.append(p.b)
}

func (p *packer) end() {
	if len(p.b) > 0 {
		p.out(p.b)
		p.b = nil
	}
}

// flush sends acknowledgements, probes, what is to be sent again, and what the windows allow of what
// was never sent. With acksOnly it sends only the first.
func (c *core) flush(now uint32, acksOnly bool, out func(datagram []byte)) {
	p := &packer{core: c, room: c.cfg.room(), out: out}
	defer p.end()
	for _, a := range c.acks {
		p.add(a)
	}
	c.acks = nil
	if acksOnly {
		return
	}
	c.probe(now)
	if c.ask {
		p.add(segment{conv: c.conv, cmd: cmdAsk})
	}
	if c.tell {
		p.add(segment{conv: c.conv, cmd: cmdTell})
	}
	c.ask, c.tell = false, false
	for window := min(uint32(c.cfg.SendWindow), c.peerWnd); len(c.queue) > 0 && c.next-c.una < window; c.next++ {
		s := &sent{segment: c.queue[0]}
		c.queue = c.queue[1:]
		s.sn = c.next
		c.flight = append(c.flight, s)
	}
	for _, s := range c.flight {
		if c.due(s, now) {
			s.ts = now
			s.skipped = 0
			s.resendAt = now + s.rto
			s.transmissions++
			p.add(s.segment)
		}
	}
}

// due says whether s has to be sent, and sets its timeout.
func (c *core) due(s *sent, now uint32) bool {
	switch {
	case s.transmissions == 0:
		s.rto = c.rto
	case !before(now, s.resendAt):
		if c.cfg.NoDelay {
			s.rto += s.rto / 2
		} else {
			s.rto *= 2
		}
		s.rto = min(s.rto, rtoMost)
	case c.cfg.Resend > 0 && s.skipped >= c.cfg.Resend:
		s.rto = c.rto
	default:
		return false
	}
	return true
}

// probe asks a peer whose window is closed, from time to time.
func (c *core) probe(now uint32) {
	switch {
	case c.peerWnd > 0:
		c.askWait = 0
	case c.askWait == 0:
		c.askWait = askFirst
		c.askAt = now + c.askWait
	case !before(now, c.askAt):
		c.askWait = min(c.askWait+c.askWait/2, askLongest)
		c.askAt = now + c.askWait
		c.ask = true
	}
}
