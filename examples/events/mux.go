package main

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/xtaci/kcp-go/v5"
)

// mux lets many dialled sessions share one UDP socket, which one goroutine reads. Without a cipher
// and FEC a datagram begins with the conversation, which tells the session.
type mux struct {
	*net.UDPConn
	mu       sync.Mutex
	sessions map[uint32]*muxConn
}

func newMux() (*mux, error) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	conn.SetReadBuffer(8 << 20)
	m := &mux{UDPConn: conn, sessions: make(map[uint32]*muxConn)}
	go m.read()
	return m, nil
}

// read hands over datagrams until the socket is closed.
func (m *mux) read() {
	for buf := make([]byte, 1501); ; {
		n, from, err := m.ReadFromUDP(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n < 4 {
			continue
		}
		m.mu.Lock()
		c := m.sessions[binary.LittleEndian.Uint32(buf)]
		m.mu.Unlock()
		if c != nil {
			c.receive(buf[:n], from, nil)
		}
	}
}

// dial makes a session of the conversation conv.
func (m *mux) dial(conv uint32, to net.Addr) (*kcp.UDPSession, error) {
	return kcp.NewConn3(conv, to, nil, 0, 0, &muxConn{mux: m, conv: conv})
}

// muxConn is a session's part of a mux: a kcp.PacketPusher, so it is not read.
type muxConn struct {
	*mux
	conv    uint32
	receive func(b []byte, addr net.Addr, err error)
}

var _ kcp.PacketPusher = (*muxConn)(nil)

// SetPacketReceiver begins to hand datagrams over to fn, or ends that.
func (c *muxConn) SetPacketReceiver(fn func(b []byte, addr net.Addr, err error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if fn == nil {
		delete(c.sessions, c.conv)
		return
	}
	c.receive = fn
	c.sessions[c.conv] = c
}

// Close leaves the socket to the others.
func (c *muxConn) Close() error                { return nil }
func (c *muxConn) SetDeadline(time.Time) error { return nil }
