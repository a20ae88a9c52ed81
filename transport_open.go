package kcp

import "slices"

// openAll opens a batch, without any lock, and counts it. It returns what is for sessions, or for the
// listener, at the front of the batch. As in envelope.openAll, a flood may have begun where one does not open.
func (r *transportReader) openAll(batch []inbound) (opened []inbound) {
	var count Snmp
	opened = batch[:0]
	for _, d := range batch {
		count.InPkts++
		count.InBytes += uint64(len(d.data))
		if len(d.data) > int(r.longest.Load()) {
			count.InErrs++
			continue
		}
		if r.open(&d, &count) {
			opened = append(opened, d)
		}
	}
	r.counts.dropped(&count)
	r.snmp.fold(&count)
	return opened
}

// open opens a datagram with the keys of whom it is for.
func (r *transportReader) open(d *inbound, count *Snmp) bool {
	d.sealed, d.group = nil, nil
	groups := r.groupsFor(d.from)
	for _, g := range groups {
		if len(g.heads) == 0 {
			continue
		}
		r.demux.heads = g.heads
		payload, ok := openSealed(d, &r.demux, count)
		if !ok {
			return false
		}
		if d.sealed != nil {
			d.data = payload
			return true
		}
	}
	if len(groups) == 1 && !r.others.wanted() {
		env := &groups[0].cfg.env
		payload, ok := d.data, count.InCsumErrors == 0 || !env.alien(d.data)
		if ok {
			payload, ok = env.open(d.data)
		}
		if !ok {
			count.InCsumErrors++
			return false
		}
		d.data, d.group = payload, groups[0]
		return true
	}
	return r.openShared(d, groups, count)
}

// groupsFor returns the groups that a datagram from an address is tried with.
func (r *transportReader) groupsFor(from peerAddr) []*cipherGroup {
	common := *r.common.Load()
	if !r.hasApart.Load() {
		return common
	}
	r.tries = r.tries[:0]
	sh := r.table.shard(from)
	sh.mu.Lock()
	for _, g := range sh.groups[from] {
		if !slices.Contains(r.tries, g) {
			r.tries = append(r.tries, g)
		}
	}
	sh.mu.Unlock()
	r.tries = append(r.tries, common...)
	return r.tries
}

// openShared opens a datagram that is not sealed under the cipher of the session that it is for, of the
// listener's if there is none. What is not KCP is put aside for ReadNonKCP.
func (r *transportReader) openShared(d *inbound, groups []*cipherGroup, count *Snmp) bool {
	r.copied = append(r.copied[:0], d.data...)
	var stranger bool
	var unknown *cipherGroup // of a datagram that is KCP, and no session's
	for i, g := range groups {
		if slices.ContainsFunc(groups[:i], g.sharesCipher) || g.cfg.env.alien(d.data) {
			continue
		}
		payload, ok := g.cfg.env.open(d.data)
		if ok && (!g.cfg.env.plain() || looksLikeKCP(payload)) {
			if d.group = g; r.concerns(g, d.from, payload) {
				d.data = payload
				return true
			}
			if unknown == nil {
				unknown = g
			}
			stranger = stranger || r.listenerOf(d) != nil
		}
		copy(d.data, r.copied)
	}
	if l := r.listener.Load(); l != nil && stranger {
		d.data, _ = l.cfg.env.open(d.data)
		d.group = l.group
		return true
	}
	switch {
	case unknown != nil: // whoever asks for it is told
		d.data, _ = unknown.cfg.env.open(d.data)
		d.group = unknown
		return true
	case r.others.wanted():
		r.others.push(d)
	default:
		count.InCsumErrors++
	}
	return false
}

// concerns says whether a datagram that opened under the cipher of g is of a session, or of one that has
// ended.
func (r *transportReader) concerns(g *cipherGroup, from peerAddr, b []byte) bool {
	c, ok := parseContents(b)
	if !ok {
		return false
	}
	sh := r.table.shard(from)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.concerns(g, from, &c)
}

// looksLikeKCP says whether a datagram that is under no cipher begins with a segment, or a FEC header.
func looksLikeKCP(b []byte) bool {
	c, ok := parseContents(b)
	switch {
	case !ok:
		return false
	case c.isFEC:
		return true
	case len(c.body) < IKCP_OVERHEAD:
		return false
	}
	_, _, ok = nextSegment(c.conv, c.body)
	return ok
}
