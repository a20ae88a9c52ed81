package kcp

import (
	"net"
	"sync"
)

// A PacketPusher is a net.PacketConn that hands over the datagrams that it receives, instead of
// being read: a session or listener on it has no reader's goroutine. It is for transports that have
// one of their own, such as a socket that several protocols share.
//
// SetPacketReceiver is called once with fn when a session or listener is made on it, and with nil,
// which means to hand over nothing more, when that has no use for it any more: when a dialled session
// is over, or a listener with its last session; and before Close where the session or listener owns
// it. It must not wait for a call of fn that is under way, if that may be on the same goroutine.
//
// fn takes a datagram b that came from addr, or an error of reading, which does what it would from
// ReadFrom: one that ends the reading ends the session or listener. fn may change b, which is valid
// until fn returns. It does not block, and may be called by several goroutines at a time. What is
// pushed is taken one after the other. After SetPacketReceiver(nil), and after an error that has
// ended the reading, it does nothing.
type PacketPusher interface {
	SetPacketReceiver(fn func(b []byte, addr net.Addr, err error))
}

// pushReader passes what a PacketPusher hands over to a receiver, in place of a reader's goroutine.
type pushReader struct {
	sock   *socket
	pusher PacketPusher
	in     receiver

	mu    sync.Mutex
	batch [1]inbound
	over  bool // nothing is taken any more
}

// startPush begins to take what p hands over, for r.
func (s *socket) startPush(p PacketPusher, r receiver) {
	s.push = &pushReader{sock: s, pusher: p, in: r}
	p.SetPacketReceiver(s.push.receive)
}

// receive is the function that the PacketPusher calls.
func (p *pushReader) receive(b []byte, addr net.Addr, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.over || p.sock.stopping.Load():
	case err == nil:
		d := &p.batch[0]
		d.data = b
		d.setSource(addr)
		p.in.receive(p.batch[:], clock())
		*d = inbound{}
	case !p.sock.retryRead(p.in, err, 1):
		p.endLocked(err)
	}
}

// stop ends the reading, as far as it has not failed before.
func (p *pushReader) stop() {
	p.pusher.SetPacketReceiver(nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endLocked(nil)
}

// endLocked ends the reading, with an error if it has failed.
func (p *pushReader) endLocked(err error) {
	if p.over {
		return
	}
	p.over = true
	p.sock.ended.Store(true)
	if err != nil {
		p.in.readFailed(err)
	}
	close(p.sock.done)
	p.in.readEnded()
}
