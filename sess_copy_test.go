package kcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// Whatever reads beside each other, each byte is read once.
func TestWriteToBesideRead(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		s.SetStreamMode(true)
		var written bytes.Buffer
		read := make(map[byte]int)
		go s.WriteTo(&written)
		w.awaitIdle() // it waits first
		go func() {
			b := make([]byte, 100)
			for {
				n, err := s.Read(b)
				for _, x := range b[:n] {
					read[x]++
				}
				if err != nil {
					return
				}
			}
		}()
		for i := range byte(200) {
			w.awaitIdle()
			c.Write([]byte{i})
		}
		w.awaitIdle()
		c.Close()
		w.awaitIdle()
		for _, x := range written.Bytes() {
			read[x]++
		}
		for i := range byte(200) {
			if read[i] != 1 {
				t.Errorf("byte %d was read %d times", i, read[i])
			}
		}
		s.Close()
	})
}

// WriteTo hands over what arrives straight to what can take it in pieces, and so does one session
// to another; message boundaries stay where this end keeps them.
func TestWriteTo(t *testing.T) {
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprintf("stream=%t", stream), func(t *testing.T) {
			watchdog(t)
			a, b := loopback(t, "127.0.0.1:0", nil, 0, 0)
			c, d := loopback(t, "127.0.0.1:0", nil, 0, 0)
			lowLatency(256, a, b, c, d)
			b.SetStreamMode(stream)
			tcp, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer tcp.Close()
			relayed := make(chan error, 2)
			go func() { // b ─▶ c, another session
				n, err := io.Copy(c, b)
				if n != 1_000_000 {
					err = errors.Join(err, fmt.Errorf("%d bytes relayed", n))
				}
				relayed <- errors.Join(err, c.Close())
			}()
			go func() { // d ─▶ a TCP connection
				to, err := net.Dial("tcp", tcp.Addr().String())
				if err == nil {
					_, err = io.Copy(to, d)
					to.Close()
				}
				relayed <- err
			}()
			data := random(1, 1_000_000)
			go func() {
				a.Write(data)
				a.Close()
			}()
			from, err := tcp.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(from); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			for range 2 {
				if err := <-relayed; err != nil {
					t.Error(err)
				}
			}
			closeAll(b, d, from)
		})
	}
}

// brokenWriter takes a few writes.
type brokenWriter struct{ left int }

func (w *brokenWriter) Write(b []byte) (int, error) {
	if w.left--; w.left < 0 {
		return 0, errors.New("broken")
	}
	if w.left == 0 {
		return len(b) - 1, nil
	}
	return len(b), nil
}

func (w *brokenWriter) Read(b []byte) (int, error) {
	n, err := w.Write(b[:10])
	return n, err
}

func TestCopyErrors(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		s, peer := w.pair(w.config(nil, 0, 0))
		for range 2 {
			peer.Write([]byte("message"))
		}
		w.awaitIdle()
		if n, err := s.WriteTo(&brokenWriter{left: 2}); n != 13 || err != io.ErrShortWrite {
			t.Errorf("%d, %v", n, err)
		}
		peer.Write([]byte("message"))
		if n, err := s.WriteTo(new(brokenWriter)); n != 0 || err == nil || err.Error() != "broken" {
			t.Errorf("%d, %v", n, err)
		}
		if n, err := s.ReadFrom(&brokenWriter{left: 3}); n != 29 || err == nil || err.Error() != "broken" {
			t.Errorf("%d, %v", n, err)
		}
		s.SetReadDeadline(time.Now())
		_, err := s.WriteTo(io.Discard)
		wantTimeout(t, err)
		s.CloseWrite()
		if n, err := s.ReadFrom(strings.NewReader("x")); n != 0 || err == nil {
			t.Errorf("%d, %v", n, err)
		}
		closeAll(s, peer)
		_, err = s.WriteTo(io.Discard)
		wantClosed(t, err)
	})
}
