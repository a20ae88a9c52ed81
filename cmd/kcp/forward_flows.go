package main

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A flow is the datagrams between one UDP peer at the client and one target. The client numbers them.

// maxFlows is the most flows of a session, or of a client. What would be one more is dropped.
const maxFlows = 4096

// serverFlows are the server's, of one session.
type serverFlows struct {
	targets []string
	idle    time.Duration
	send    func(tunnelDatagram)
	log     *slog.Logger

	mu   sync.Mutex // guards the rest
	open map[flowID]*serverFlow
	over chan struct{} // closed with the session
}

type flowID struct {
	target byte
	number uint32
}

// A serverFlow is what waits to be sent to its target.
type serverFlow struct{ in chan []byte }

// flowQueue is how many datagrams wait in a flow while its target's name is looked up.
const flowQueue = 64

// take sends a datagram to its target, through the flow's socket.
func (f *serverFlows) take(d tunnelDatagram) {
	id := flowID{d.target(), d.flow()}
	f.mu.Lock()
	defer f.mu.Unlock()
	flow, ok := f.open[id]
	if !ok {
		if len(f.open) >= maxFlows || int(id.target) >= len(f.targets) {
			return
		}
		address, ok := strings.CutPrefix(f.targets[id.target], "udp:")
		if !ok {
			return
		}
		flow = &serverFlow{in: make(chan []byte, flowQueue)}
		f.open[id] = flow
		go f.carry(id, flow, address)
	}
	select {
	case flow.in <- slices.Clone(d.payload()):
	default:
	}
}

// carry carries a flow's datagrams both ways until nobody has said anything for a while, or the session is
// over.
func (f *serverFlows) carry(id flowID, flow *serverFlow, address string) {
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.open, id)
	}()
	conn, err := net.Dial("udp", address) // a name may lead elsewhere by the next flow
	if err != nil {
		f.log.Warn("datagrams were dropped", "target", f.targets[id.target], "reason", err)
		return
	}
	defer conn.Close()
	silent := time.NewTimer(f.idle)
	defer silent.Stop()
	go func() {
		b := make([]byte, maxUDP)
		for {
			n, err := conn.Read(b)
			switch {
			case err == nil:
				silent.Reset(f.idle)
				f.send(newDatagram(id.target, id.number, b[:n]))
			case !errors.Is(err, syscall.ECONNREFUSED): // a target that does not listen may do so yet
				return
			}
		}
	}()
	for {
		select {
		case b := <-flow.in:
			silent.Reset(f.idle)
			conn.Write(b)
		case <-silent.C:
			return
		case <-f.over:
			return
		}
	}
}

// clientFlows are the client's. They outlive its sessions.
type clientFlows struct {
	idle time.Duration

	mu     sync.Mutex // guards the rest
	last   uint32     // number given
	byPeer map[clientPeer]*clientFlow
	byID   map[flowID]*clientFlow
}

// A clientPeer is who has sent a datagram to a forwarded port.
type clientPeer struct {
	target byte
	from   netip.AddrPort
}

type clientFlow struct {
	id   flowID
	conn *net.UDPConn // of the forwarded port
	peer clientPeer
	gone *time.Timer
}

func newClientFlows(idle time.Duration) *clientFlows {
	return &clientFlows{idle: idle, byPeer: map[clientPeer]*clientFlow{}, byID: map[flowID]*clientFlow{}}
}

// find returns the flow of a peer, a new one if there is none, nil if there are too many.
func (c *clientFlows) find(conn *net.UDPConn, peer clientPeer) *clientFlow {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, ok := c.byPeer[peer]; ok {
		f.gone.Reset(c.idle)
		return f
	}
	if len(c.byPeer) >= maxFlows {
		return nil
	}
	c.last++
	f := &clientFlow{id: flowID{peer.target, c.last}, conn: conn, peer: peer}
	f.gone = time.AfterFunc(c.idle, func() { c.forget(f) })
	c.byPeer[peer], c.byID[f.id] = f, f
	return f
}

func (c *clientFlows) forget(f *clientFlow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byPeer[f.peer] == f { // not one that was made since
		delete(c.byPeer, f.peer)
	}
	delete(c.byID, f.id)
}

// take returns a datagram to the peer of its flow.
func (c *clientFlows) take(d tunnelDatagram) {
	c.mu.Lock()
	f := c.byID[flowID{d.target(), d.flow()}]
	c.mu.Unlock()
	if f != nil {
		f.gone.Reset(c.idle)
		f.conn.WriteToUDPAddrPort(d.payload(), f.peer.from)
	}
}
