package kcp

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
)

// otherQueueMax is how many datagrams that are not KCP wait to be read, 384 KB of the longest.
const otherQueueMax = 256

// otherQueue is the datagrams that are not KCP, for ReadNonKCP.
type otherQueue struct {
	asked   atomic.Bool // ReadNonKCP was called
	mu      sync.Mutex  // guards all below
	arrived sync.Cond   // its lock is mu
	queue   []otherDatagram
	err     error // why nothing comes any more
	dropped uint64
}

type otherDatagram struct {
	p    *packet
	from net.Addr
}

// wanted says whether somebody reads what is not KCP.
func (q *otherQueue) wanted() bool { return q.asked.Load() }

// push queues a datagram as it came, or drops it where that many wait, or it is longer than a packet.
func (q *otherQueue) push(d *inbound) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) >= otherQueueMax || q.err != nil || len(d.data) > mtuLimit {
		q.dropped++
		return
	}
	to := destination{peerAddr: d.from, addr: d.addr}
	p := packets.get()
	p.data = p.mem[:copy(p.mem[:], d.data)]
	q.queue = append(q.queue, otherDatagram{p, to.netAddr()})
	q.arrived.Signal()
}

// end ends reading with err.
func (q *otherQueue) end(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
		q.arrived.Broadcast()
	}
}

// stats returns how many datagrams wait, and how many were dropped.
func (q *otherQueue) stats() (waiting int, dropped uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.queue), q.dropped
}

func (q *otherQueue) read(ctx context.Context, b []byte) (n int, from net.Addr, err error) {
	q.asked.Store(true)
	stop := context.AfterFunc(ctx, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.arrived.Broadcast()
	})
	defer stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.queue) == 0 {
		switch {
		case q.err != nil:
			return 0, nil, q.err
		case ctx.Err() != nil:
			q.arrived.Signal() // this one may have been woken for a datagram
			return 0, nil, ctx.Err()
		}
		q.arrived.Wait()
	}
	d := q.queue[0]
	q.queue[0] = otherDatagram{}
	if q.queue = q.queue[1:]; len(q.queue) == 0 {
		q.queue = nil
	}
	n = copy(b, d.p.data)
	packets.put(d.p)
	return n, d.from, nil
}

// ReadNonKCP reads a datagram that came to the transport's socket and is not KCP: one that no cipher of its
// sessions or listener opens, and where there is none, that does not begin as KCP does. Such are STUN, DTLS
// and whatever the program sends to it. So are forged and damaged ones, as nothing tells them apart. A
// datagram longer than b is cut. It waits until ctx is over, then the error is ctx's, or the transport is
// closed.
//
// Datagrams wait from the first call on, at most 256 of at most 1500 bytes; those that come when as many
// wait are dropped and counted, see TransportStats.
func (t *Transport) ReadNonKCP(ctx context.Context, b []byte) (n int, from net.Addr, err error) {
	if n, from, err = t.others.read(ctx, b); err != nil {
		err = t.opError("read", err)
	}
	return n, from, err
}

// WriteTo sends a datagram as it is, from the transport's socket.
func (t *Transport) WriteTo(b []byte, to net.Addr) (int, error) {
	return t.socks[0].conn.WriteTo(b, to)
}
