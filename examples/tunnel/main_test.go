package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// link is both ends of a tunnel over an emulated link, in real time.
type link struct {
	*testing.T
	net    *netem.Network
	s      kcp.Settings
	addr   string // where connections are taken
	target string
	late   time.Duration      // how much later than it could Write of the session returns
	stop   context.CancelFunc // of the serving end
	done   chan error
}

func newLink(t *testing.T, path netem.Path, target string) *link {
	return newLateLink(t, path, target, 0)
}

func newLateLink(t *testing.T, path netem.Path, target string, late time.Duration) *link {
	s, err := settings("a secret")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{T: t, net: netem.New(1), s: s, target: target, late: late}
	if err := l.net.SetDefault(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.net.Close() })
	l.serve()
	t.Cleanup(l.connect())
	return l
}

// connect starts the dialling end, at a new addr, which stop ends.
func (l *link) connect() (stop func()) {
	l.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.Fatal(err)
	}
	l.addr = tcp.Addr().String()
	ctx, cancel := context.WithCancel(l.Context())
	done := make(chan error, 1)
	go func() { done <- serveConnections(ctx, tcp, l.dial) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			l.Error(err)
		}
	}
}

// serve starts the serving end.
func (l *link) serve() {
	conn, err := l.net.Listen("10.0.0.2:4000")
	if err != nil {
		l.Fatal(err)
	}
	kl, err := kcp.ServeConn(l.s.Block, 0, 0, conn)
	if err != nil {
		l.Fatal(err)
	}
	ctx, stop := context.WithCancel(l.Context())
	l.stop, l.done = stop, make(chan error, 1)
	go func() {
		defer conn.Close()
		l.done <- serveTunnels(ctx, kl, func(context.Context) (net.Conn, error) { return net.Dial("tcp", l.target) })
	}()
}

func (l *link) dial(context.Context) (net.Conn, error) {
	conn, err := l.net.Listen("10.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s, err := kcp.NewConn4(rand.Uint32(), &net.UDPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 4000}, l.s.Block, 0, 0, true, conn)
	if err != nil {
		return nil, err
	}
	s.SetStreamMode(true)
	s.SetNoDelay(1, 20, 2, 0)
	s.SetUserTimeout(silence)
	if l.late > 0 {
		return lateConn{s, l.late}, nil
	}
	return s, nil
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// One end takes its two flags, and none of the other's.
func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		serve, target, listen, via, passphrase string
		args                                   []string
		good                                   bool
	}{
		{serve: "s", target: "t", passphrase: "p", good: true},
		{listen: "l", via: "v", passphrase: "p", good: true},
		{passphrase: "p"},
		{serve: "s", passphrase: "p"},
		{via: "v", passphrase: "p"},
		{serve: "s", target: "t"},
		{serve: "s", target: "t", listen: "l", via: "v", passphrase: "p"},
		{serve: "s", target: "t", listen: "l", passphrase: "p"},
		{listen: "l", via: "v", target: "t", passphrase: "p"},
		{serve: "s", target: "t", passphrase: "p", args: []string{"a"}},
	} {
		err := checkUsage(tt.serve, tt.target, tt.listen, tt.via, tt.passphrase, tt.args)
		if (err == nil) != tt.good {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

// A download is intact after a link that loses a tenth of all datagrams.
func TestDownload(t *testing.T) {
	data := random(4 << 20)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(data) }))
	defer web.Close()
	l := newLink(t, netem.Path{Delay: 10 * time.Millisecond, Loss: 0.1}, web.Listener.Addr().String())
	for range 2 {
		r, err := http.Get("http://" + l.addr)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || sha256.Sum256(got) != sha256.Sum256(data) {
			t.Fatalf("%d of %d bytes, %v", len(got), len(data), err)
		}
	}
}

// Hundreds of connections, and so streams, share one session over a link that loses datagrams.
func TestHundreds(t *testing.T) {
	data := random(50_000)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(data) }))
	defer web.Close()
	l := newLink(t, netem.Path{Delay: 10 * time.Millisecond, Loss: 0.05}, web.Listener.Addr().String())
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var wg sync.WaitGroup
	for range 300 {
		wg.Go(func() {
			r, err := client.Get("http://" + l.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Body.Close()
			if got, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d of %d bytes, %v", len(got), len(data), err)
			}
		})
	}
	wg.Wait()
}

// Each direction of a connection ends by itself, whichever ends first.
func TestHalfClose(t *testing.T) {
	question, answer := random(100_000), random(300_000)
	for _, serverFirst := range []bool{false, true} {
		backend, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer backend.Close()
		l := newLink(t, netem.Path{Delay: 5 * time.Millisecond, Loss: 0.05}, backend.Addr().String())
		conn, err := net.Dial("tcp", l.addr)
		if err != nil {
			t.Fatal(err)
		}
		served, err := backend.Accept()
		if err != nil {
			t.Fatal(err)
		}
		a, b := conn.(*net.TCPConn), served.(*net.TCPConn)
		if serverFirst {
			a, b = b, a
		}
		a.Write(question)
		a.CloseWrite()
		if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, question) {
			t.Errorf("question: %d bytes, %v", len(got), err)
		}
		b.Write(answer)
		b.CloseWrite()
		if got, err := io.ReadAll(a); err != nil || !bytes.Equal(got, answer) {
			t.Errorf("answer: %d bytes, %v", len(got), err)
		}
		a.Close()
		b.Close()
	}
}

// When the dialling end is restarted, what it carried ends at the serving end's side too, and new
// connections work.
func TestDiallerRestart(t *testing.T) {
	backend, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	l := newLink(t, netem.Path{Delay: 5 * time.Millisecond, Loss: 0.05}, backend.Addr().String())
	through := func() (conn, served net.Conn) {
		conn, err := net.Dial("tcp", l.addr)
		if err != nil {
			t.Fatal(err)
		}
		if served, err = backend.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(); served.Close() })
		served.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(conn, "hello")
		if _, err := io.ReadFull(served, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		return conn, served
	}
	stop := l.connect() // beside the link's own
	_, served := through()
	stop()
	if n, err := served.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("a connection whose dialling end has gone: %d, %v", n, err)
	}
	t.Cleanup(l.connect())
	through()
}

// When the serving end is restarted, open connections are reset and new ones work.
func TestRestart(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	defer web.Close()
	l := newLink(t, netem.Path{Delay: 5 * time.Millisecond}, web.Listener.Addr().String())
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	get := func() error {
		r, err := client.Get("http://" + l.addr)
		if err != nil {
			return err
		}
		defer r.Body.Close()
		_, err = io.ReadAll(r.Body)
		return err
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	open, err := net.Dial("tcp", l.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	io.WriteString(open, "GET") // and no more
	l.stop()
	if err := <-l.done; err != nil {
		t.Fatal(err)
	}
	open.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := open.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("a connection through the restarted end: %d, %v", n, err)
	}
	for end := time.Now().Add(10 * time.Second); ; {
		if c, err := l.net.Listen("10.0.0.2:4000"); err == nil { // the old one's is free
			c.Close()
			break
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	l.serve()
	var last error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if last = get(); last == nil {
			return
		}
	}
	t.Errorf("no connection after the restart: %v", last)
}

// What a server says before its client does arrives, in each of many connections.
func TestServerSpeaksFirst(t *testing.T) {
	const banner = "220 ready\r\n"
	backend, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	go func() {
		for {
			conn, err := backend.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, banner)
			conn.Close()
		}
	}()
	l := newLateLink(t, netem.Path{}, backend.Addr().String(), answerTime)
	l.many(100, func(conn net.Conn, err error) {
		if err != nil {
			t.Error(err)
			return
		}
		if got, err := io.ReadAll(conn); err != nil || string(got) != banner {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// Where nobody listens at the target, each of many connections is reset.
func TestTargetDown(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	log.SetOutput(io.Discard) // of a line for each
	defer log.SetOutput(os.Stderr)
	l := newLateLink(t, netem.Path{}, nobody.Addr().String(), answerTime)
	l.many(100, func(conn net.Conn, err error) {
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		if !errors.Is(err, syscall.ECONNRESET) { // from Dial, if it was that fast
			t.Error(err)
		}
	})
}

// answerTime is long enough for an answer to come meanwhile over a link without delay.
const answerTime = 2 * time.Millisecond

// lateConn is a connection whose Write returns late, as on a busy machine.
type lateConn struct {
	net.Conn
	late time.Duration
}

func (c lateConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	time.Sleep(c.late)
	return n, err
}

// many makes n connections, some at a time, and calls use with each, or with the error.
func (l *link) many(n int, use func(net.Conn, error)) {
	const atATime = 20
	var wg sync.WaitGroup
	slots := make(chan struct{}, atATime)
	for range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			conn, err := net.Dial("tcp", l.addr)
			if err == nil {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(10 * time.Second))
			}
			use(conn, err)
		})
	}
	wg.Wait()
}
