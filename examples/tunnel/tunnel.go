package main

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net"
	"sync"
	"time"

	"github.com/xtaci/smux"

	"github.com/xtaci/kcp-go/v5"
)

type dialFunc func(context.Context) (net.Conn, error)

// serveTunnels takes sessions at l, and dials for each of their streams. It returns nil when
// ctx is over.
func serveTunnels(ctx context.Context, l net.Listener, dial dialFunc) error {
	return accept(ctx, l, func(conn net.Conn) {
		session, err := smux.Server(conn, config())
		if err != nil {
			log.Print(err)
			conn.Close()
			return
		}
		defer session.Close()
		defer context.AfterFunc(ctx, func() { session.Close() })()
		for {
			stream, err := session.AcceptStream()
			if err != nil {
				return // the session is over
			}
			go func() {
				tcp, err := dial(ctx)
				if err != nil {
					log.Print(err)
					stream.Close() // without an end: the other side resets its connection
					return
				}
				join(tcp, stream)
			}()
		}
	})
}

// serveConnections takes TCP connections at l and carries each through a stream. It returns
// nil when ctx is over.
func serveConnections(ctx context.Context, l net.Listener, dial dialFunc) error {
	t := &tunnel{dial: dial}
	defer t.close()
	return accept(ctx, l, func(tcp net.Conn) {
		stream, err := t.open(ctx)
		if err != nil {
			log.Print(err)
			reset(tcp)
			return
		}
		join(tcp, stream)
	})
}

// accept hands each connection to a goroutine, until ctx is over or l fails.
func accept(ctx context.Context, l net.Listener, handle func(net.Conn)) error {
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		go handle(conn)
	}
}

// tunnel is the dialling end's session, a new one whenever the last is broken.
type tunnel struct {
	dial dialFunc

	mu      sync.Mutex // guards the rest; held while a session is dialled, for which all wait
	conn    net.Conn
	session *smux.Session
}

// open opens a stream.
func (t *tunnel) open(ctx context.Context) (*smux.Stream, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.session != nil && !t.session.IsClosed() && !silent(t.conn) {
		if stream, err := t.session.OpenStream(); err == nil {
			return stream, nil
		}
	}
	t.closeLocked()
	conn, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	session, err := smux.Client(conn, config())
	if err != nil {
		conn.Close()
		return nil, err
	}
	t.conn, t.session = conn, session
	return session.OpenStream()
}

// silent says whether the peer has missed keepalives: perhaps it was restarted.
func silent(conn net.Conn) bool {
	s, ok := conn.(*kcp.UDPSession)
	return ok && s.Stats().LastHeard > 2*keepAlive
}

func (t *tunnel) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closeLocked()
}

func (t *tunnel) closeLocked() {
	if t.session != nil {
		t.session.Close()
		t.session = nil
	}
}

// keepAlive is how often both ends say something.
const keepAlive = time.Second

// config is the multiplexer's, the same at both ends.
func config() *smux.Config {
	c := smux.DefaultConfig()
	c.Version = 2 // a window for each stream: none holds up the others
	c.MaxStreamBuffer = 1 << 20
	c.MaxReceiveBuffer = 16 << 20
	c.KeepAliveInterval, c.KeepAliveTimeout = keepAlive, 3*silence
	return c
}

// In a stream each direction is a sequence of chunks, a length of two bytes and so many bytes; a
// length of 0 is its end. (The stream's own CloseWrite would do, but smux v1.5.56 throws away
// what has not been read when both directions have ended.)

// chunk is the most that goes behind one length.
const chunk = 16 << 10

// join carries data both ways until both have ended, each by itself, or one has failed: then
// both sides see a reset, as a broken stream must not pass for a short one.
func join(tcp net.Conn, stream io.ReadWriteCloser) {
	failed := make(chan error, 2)
	go func() { failed <- pack(stream, tcp) }()
	go func() { failed <- unpack(tcp, stream) }()
	for range 2 {
		if err := <-failed; err != nil {
			reset(tcp)
			break
		}
	}
	stream.Close()
	tcp.Close()
}

// pack carries what from says to a stream, and its end.
func pack(stream io.Writer, from io.Reader) error {
	buf := make([]byte, 2+chunk)
	for {
		n, err := from.Read(buf[2:])
		if n > 0 {
			binary.BigEndian.PutUint16(buf, uint16(n))
			if _, err := stream.Write(buf[:2+n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			_, err = stream.Write([]byte{0, 0})
			return err
		case err != nil:
			return err
		}
	}
}

// unpack carries what a stream says to a connection, and its end.
func unpack(to net.Conn, stream io.Reader) error {
	buf := make([]byte, chunk)
	for {
		var length [2]byte
		if _, err := io.ReadFull(stream, length[:]); err != nil {
			return errors.Join(io.ErrUnexpectedEOF, err)
		}
		n := int(binary.BigEndian.Uint16(length[:]))
		switch {
		case n == 0:
			return to.(interface{ CloseWrite() error }).CloseWrite()
		case n > chunk:
			return errors.New("the other end is no tunnel of ours")
		}
		if _, err := io.ReadFull(stream, buf[:n]); err != nil {
			return errors.Join(io.ErrUnexpectedEOF, err)
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return err
		}
	}
}

// reset closes a connection so that its peer sees an error.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}
