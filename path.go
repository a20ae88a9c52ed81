package kcp

import "net"

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

// PathChange is a change of a session's path: see Settings.PathHandler.
type PathChange struct {
	Local, Remote             net.Addr // the addresses from now on
	FormerLocal, FormerRemote net.Addr
}

// roaming is what a session has whose path has changed, or may change. Most never have one. The session's
// lock guards it.
type roaming struct {
	check        pathValidation
	refused      peerAddr // the address that the peer was not at, lately
	refusedUntil int64
	left         [pathsLeft]leftPath // the newest first
	changes      uint64

	// Of a session that was dialled, see sess_rebind.go.
	former      *path // the one before, as long as its socket is read
	formerUntil int64
	taking      bool // another socket is being opened
	takenAt     int64
	takeWait    int64
	takeAgainAt int64

	from  peerAddr // the address that the owner knows the session by, if it is to be told of another
	moved bool

	changed []PathChange // the program is to be told of
	telling bool
}

// leftPath is an address that the peer was at, whatever its port.
type leftPath struct {
	addr peerAddr
	at   int64
}
