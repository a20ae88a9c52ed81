package kcp

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// Datagrams before any data of the stream wait, and no timer runs meanwhile that could do nothing for them.
func TestDatagramsBeforeTheStream(t *testing.T) {
	virtual(t, netem.Path{Delay: 30 * time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		client := w.dial(cfg, l)
		w.check(client.awaitPeer(context.Background())) // it is known that the peer takes records
		w.check(client.SendDatagram([]byte("first")))
		client.mu.Lock()
		spins := client.core.deadline() <= clock()
		client.mu.Unlock()
		if spins {
			t.Error("something is always due, and nothing is done")
			client.Abort()
			l.Close()
			return
		}
		w.sleep(time.Second)
		_, err := client.Write([]byte("hello"))
		w.check(err)
		server, err := l.AcceptKCP()
		w.check(err)
		if b, err := server.ReceiveDatagram(context.Background()); string(b) != "first" {
			t.Errorf("%q, %v", b, err)
		}
		closeAll(client, server, l)
	})
}

// CloseRead ends the wait for datagrams, and what waits or comes then is not kept.
func TestDatagramsCloseRead(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		client, server := w.pair(w.config(nil, 0, 0))
		over := make(chan error, 1)
		go func() { _, err := server.ReceiveDatagram(context.Background()); over <- err }()
		w.awaitIdle()
		w.check(server.CloseRead())
		w.awaitIdle()
		select {
		case err := <-over:
			if err != io.EOF {
				t.Error(err)
			}
		default:
			t.Error("ReceiveDatagram still waits")
		}
		w.check(client.SendDatagram([]byte("late")))
		w.awaitIdle()
		if b, err := server.ReceiveDatagram(context.Background()); err != io.EOF {
			t.Errorf("%q, %v", b, err)
		}
		server.mu.Lock()
		if n := server.core.dgrams.in.n; n > 0 {
			t.Errorf("%d datagrams are kept", n)
		}
		server.mu.Unlock()
		closeAll(client, server)
	})
}
