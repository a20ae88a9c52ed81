package kcp

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// fullOfMessage makes a session whose send window a message of 50 KB fills for a while.
func (w *world) fullOfMessage(rate int64) (client, server *UDPSession) {
	client, server = w.pair(w.config(nil, 0, 0))
	client.SetWindowSize(16, 16)
	w.check(w.net.SetDefault(netem.Path{Delay: 10 * time.Millisecond, Bandwidth: rate, Queue: 1e5}))
	w.check(client.WriteMessage(make([]byte, 50_000), time.Time{}))
	return client, server
}

// A message that had to wait for room is sent when it is sent, and not when the wait began.
func TestMessageAfterWaiting(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		client, server := w.fullOfMessage(50_000)
		go io.Copy(io.Discard, server)
		began := clock()
		w.check(client.WriteMessage([]byte{1}, time.Time{}))
		client.mu.Lock()
		if now := clock(); now == began || client.core.lastActive != now {
			t.Errorf("queued at %d, flushed at %d", now-began, client.core.lastActive-began)
		}
		client.mu.Unlock()
		client.Abort()
		server.Abort()
	})
}

// A message expires while it waits for its turn, as it does while it waits for room.
func TestMessageExpiresBehindAnother(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		client, server := w.fullOfMessage(10_000)
		go client.WriteMessage(make([]byte, 50_000), time.Time{})
		w.sleep(time.Millisecond)
		start, took := time.Now(), make(chan time.Duration)
		lives := []time.Duration{300 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond}
		for _, life := range lives {
			go func() {
				wantTimeout(t, client.WriteMessage([]byte{1}, start.Add(life)))
				took <- time.Since(start) - life
			}()
		}
		for range lives {
			if late := <-took; late != 0 {
				t.Errorf("%v after it had expired", late)
			}
		}
		client.Abort()
		server.Abort()
	})
}

// A setting that changes while a message waits for room makes it an error, where it is one, and no loss.
func TestMessageSettingsChange(t *testing.T) {
	for name, set := range map[string]func(*UDPSession){
		"MTU":         func(s *UDPSession) { s.SetMtu(100) },
		"stream mode": func(s *UDPSession) { s.SetStreamMode(true) },
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				client, server := w.fullOfMessage(50_000)
				go io.Copy(io.Discard, server)
				result := make(chan error)
				go func() { result <- client.WriteMessage(make([]byte, client.MaxMessageSize()), time.Time{}) }()
				w.sleep(10 * time.Millisecond)
				set(client)
				if err := <-result; err == nil {
					t.Error("no error")
				}
				client.Abort()
				server.Abort()
			})
		})
	}
}

// The stream behind a message that expires is another segment's.
func TestStreamBehindMessage(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		client, server := w.pair(w.config(nil, 0, 0))
		w.check(client.SendDatagram(nil)) // asks what the peer takes
		w.awaitIdle()
		w.check(w.net.SetDefault(netem.Path{Delay: 10 * time.Millisecond, Bandwidth: 50_000, Queue: 1e5}))
		server.SetStreamMode(true)
		w.check(client.WriteMessage(make([]byte, 100_000), time.Time{}))
		w.check(client.WriteMessage([]byte("expires"), time.Now().Add(50*time.Millisecond)))
		client.SetStreamMode(true)
		_, err := client.Write([]byte("stays"))
		w.check(err)
		w.check(client.CloseWrite())
		b, err := io.ReadAll(server)
		w.check(err)
		if len(b) != 100_005 || !bytes.HasSuffix(b, []byte("stays")) {
			t.Errorf("%d bytes arrived", len(b))
		}
		w.awaitIdle()
		client.mu.Lock()
		if n := len(client.core.expiries); n > 0 {
			t.Errorf("%d messages that are acknowledged may still expire", n)
		}
		client.mu.Unlock()
		closeAll(client, server)
	})
}

// A message that the peer's receive window does not hold, which it would never read, is refused.
func TestMessageLargerThanWindow(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		small := w.config(nil, 0, 0)
		small.rcvWnd = 32
		client, server := w.join(w.config(nil, 0, 0), small)
		most := client.MaxMessageSize()
		if segment := IKCP_MTU_DEF - IKCP_OVERHEAD; most < 32*segment || most > 34*segment {
			t.Errorf("messages of up to %d bytes", most)
		}
		if err := client.WriteMessage(make([]byte, most+1), time.Time{}); err == nil {
			t.Error("a message was taken that is larger than the peer's window")
		}
		message := random(1, 32*(IKCP_MTU_DEF-IKCP_OVERHEAD))
		w.check(client.WriteMessage(message, time.Time{}))
		w.check(server.SetReadDeadline(time.Now().Add(patience())))
		b := make([]byte, most)
		if n, err := server.Read(b); err != nil || n != len(message) {
			t.Errorf("%d bytes, %v", n, err)
		}
		closeAll(client, server)
	})
}

// The first segment of a sealed session is short, which bounds a message by as much, and no more.
func TestFirstMessageOfSealedSession(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(newCrypt(t, "gcm"), 0, 0)
		cfg.mtu = 524
		l := w.listen(cfg, "10.0.0.2:2000")
		client := w.dial(cfg, l)
		most := client.MaxMessageSize()
		if most < 127*400 {
			t.Errorf("messages of up to %d bytes", most)
		}
		message := random(1, most)
		w.check(client.WriteMessage(message, time.Time{}))
		server, err := l.AcceptKCP()
		w.check(err)
		w.check(server.SetReadDeadline(time.Now().Add(patience())))
		b := make([]byte, most)
		if n, err := server.Read(b); err != nil || !bytes.Equal(b[:n], message) {
			t.Errorf("%d bytes, %v", n, err)
		}
		closeAll(client, server)
	})
}

// The last segment of a message ends it, whichever segments before it have less room for data than others, as
// those have that a listener may get before the handshake of a sealed session.
func TestMessageEndsBesideMarks(t *testing.T) {
	for end := uint32(IKCP_WND_RCV - 6); end < IKCP_WND_RCV+2; end++ {
		for size := IKCP_MTU_DEF; size < 6*IKCP_MTU_DEF; size += 50 {
			n := alone(t)
			n.seal.room, n.seal.mark = 300, make([]byte, 200)
			n.snd.una, n.snd.nxt, n.snd.end = end, end, end
			if n.Send(make([]byte, size)) != 0 {
				t.Fatalf("%d bytes are refused", size)
			}
			got := 0
			for sn := end; sn != n.snd.end; sn++ {
				p := n.snd.at(sn).p
				if got += len(p.data); int(p.frg) != int(n.snd.end-1-sn) || len(p.data) == 0 {
					t.Fatalf("segment %d of %d to %d has frg %d and %d bytes", sn, end, n.snd.end, p.frg, len(p.data))
				}
			}
			if got != size {
				t.Fatalf("%d of %d bytes", got, size)
			}
		}
	}
}
