package kcp

// path is the way of a session's datagrams: a socket of this end, and the peer's address (RFC 9000, section
// 9: https://www.rfc-editor.org/rfc/rfc9000#section-9). It does not change: a session that moves gets another.
type path struct {
	sock *socket
	destination
}

// path returns the one that the session sends by. Its lock need not be held.
func (s *UDPSession) path() *path { return s.way.Load() }

// moveTo sends by another path from now on, also what is queued for the one before. What of a batch its
// socket has not taken yet is lost with it, as it would be on the way.
func (t *sender) moveTo(from, to *path) {
	for _, list := range [][]outbound{t.queue, t.oob} {
		for i := range list {
			if list[i].to == &from.destination {
				list[i].to = &to.destination
			}
		}
	}
	if t.sock == to.sock {
		return
	}
	if t.sock = to.sock; !t.busy && t.batch.left() > 0 {
		t.batch.next = len(t.batch.list)
		t.end()
	}
}
