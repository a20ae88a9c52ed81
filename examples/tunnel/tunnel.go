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

// serveTunnels accepts sessions from l, and dials for each of their streams. It returns nil when
// ctx is done.
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
				tcp, err := serveStream(ctx, stream, dial)
				if err != nil {
					log.Print(err)
					stream.Close() // without an end: the other end resets its connection
					return
				}
				join(tcp, stream)
			}()
		}
	})
}

// serveStream dials for a stream, once the other end has said that it is ready for what comes.
func serveStream(ctx context.Context, stream io.Reader, dial dialFunc) (net.Conn, error) {
	var first [1]byte
	if _, err := io.ReadFull(stream, first[:]); err != nil {
		return nil, err
	}
	if first[0] != ready {
		return nil, errNoTunnel
	}
	return dial(ctx)
}

// serveConnections accepts TCP connections from l and carries each through a stream. It returns nil
// when ctx is done.
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
		if _, err := stream.Write([]byte{ready}); err != nil {
			log.Print(err)
			reset(tcp)
			stream.Close()
			return
		}
		join(tcp, stream)
	})
}

// accept calls handle with each connection, on a goroutine of its own, until ctx is done or l
// fails.
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

// tunnel is the session of the dialling end: a new one whenever the last one has failed.
type tunnel struct {
	dial dialFunc

	mu      sync.Mutex // guards the rest, also while a session is dialled
	conn    net.Conn
	session *smux.Session
}

// open opens a stream, and dials a new session if there is none that works.
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

// silent says whether the peer has missed keepalives, as one does that was restarted.
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

// keepAlive is the period of smux's keepalives at both ends.
const keepAlive = time.Second

// config returns the settings of the multiplexer, the same at both ends.
func config() *smux.Config {
	c := smux.DefaultConfig()
	c.Version = 2 // a window for each stream: none blocks the others
	c.MaxStreamBuffer = 1 << 20
	c.MaxReceiveBuffer = 16 << 20
	c.KeepAliveInterval, c.KeepAliveTimeout = keepAlive, 3*silence
	return c
}

// ready is the first byte of each stream, from the end that opened it. smux (v1.5.56) knows a
// stream only after its opening was sent, and drops what the other end says before that. So the
// other end says nothing until it has this byte, which costs no round trip: it follows the opening
// at once.
const ready = 1

var errNoTunnel = errors.New("the other end is no tunnel of ours")

// After that each direction of a stream is a sequence of chunks: a length of two bytes and that
// many bytes of data. A length of 0 is the end. (The stream's own CloseWrite could end it as well,
// but smux v1.5.56 discards data that was not read when both directions have ended.)

// chunk is the most bytes of data behind one length.
const chunk = 16 << 10

// join carries data both ways until each direction has ended or one has failed. After a failure
// both ends see a reset, as a stream that failed must not look like a short one.
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

// pack carries the data of a connection to a stream, and the end of the data.
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

// unpack carries the data of a stream to a connection, and the end of the data.
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
			return errNoTunnel
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
