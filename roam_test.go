package kcp

import (
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// roamer is a session whose client is behind a NAT, which a test can have forget it.
type roamer struct {
	*world
	conn           *netem.Conn // the client's
	client, server *UDPSession
	l              *Listener
	moves          int
}

// roam joins a client and a server with that configuration.
func (w *world) roam(cfg *config) *roamer {
	w.Helper()
	r := &roamer{world: w, l: w.listen(cfg, "10.0.0.2:2000"), conn: w.bind("10.0.0.1:1000")}
	r.client = cfg.dial(w.convs.next(), r.l.Addr(), newSocket(r.conn, true))
	return r.meet()
}

// roamOver is roam where the client has dialled over a transport, which it returns.
func (w *world) roamOver(cfg *config) (*roamer, *Transport) {
	w.Helper()
	hub := w.transport("10.0.0.1:1000")
	r := &roamer{world: w, l: w.listen(cfg, "10.0.0.2:2000"), conn: hub.socks[0].conn.(*netem.Conn)}
	r.client = w.over(hub, cfg, 0, r.l.Addr())
	return r.meet(), hub
}

// meet has the two ends say hello.
func (r *roamer) meet() *roamer {
	r.Helper()
	hello := []byte("hello")
	_, err := r.client.Write(hello)
	r.check(err)
	r.server, err = r.l.AcceptKCP()
	r.check(err)
	for _, s := range []*UDPSession{r.server, r.client} {
		if _, err := io.ReadFull(s, hello); err != nil {
			r.Fatal(err)
		}
		if s == r.server {
			s.Write(hello)
		}
	}
	return r
}

// forget gives the client another port, or with away another address, as a NAT does.
func (r *roamer) forget(away bool) {
	r.Helper()
	r.moves++
	addr := fmt.Sprintf("10.0.0.1:%d", 1000+r.moves)
	if away {
		addr = fmt.Sprintf("10.1.0.%d:1000", r.moves)
	}
	r.check(r.conn.Rebind(addr))
}

// every calls f each period until the function that it returns is called.
func every(period time.Duration, f func()) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(period)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f()
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}

// A transfer under 2% loss whose client's address changes 100 times in a minute arrives as it was sent, and
// nearly as fast as without.
func TestRoamTransfer(t *testing.T) {
	const rate = 400_000
	size := lighter(60*rate, 6*rate)
	path := netem.Path{Delay: 10 * time.Millisecond, Bandwidth: rate, Queue: 20_000, Loss: 0.02}
	took := func(move func(r *roamer)) (took time.Duration) {
		virtual(t, path, func(w *world) {
			r := w.roam(w.config(newCrypt(t, "gcm"), 0, 0))
			if move != nil {
				defer every(600*time.Millisecond, func() { move(r) })()
			}
			start := time.Now()
			w.check(carry(r.client, r.server, size))
			took = time.Since(start)
			t.Logf("%d changes of path: %v", r.server.Stats().PathChanges, took)
			closeAll(r.client, r.server, r.l)
		})
		return took
	}
	still := took(nil)
	for name, move := range map[string]func(r *roamer){
		"port":    func(r *roamer) { r.forget(false) },
		"address": func(r *roamer) { r.forget(true) },
	} {
		if share := still.Seconds() / took(move).Seconds(); share < 0.9 {
			t.Errorf("%s: %.2f of the goodput without changes", name, share)
		} else {
			t.Logf("%s: %.2f of the goodput without changes", name, share)
		}
	}
}

// A NAT that forgets a client which is sending stalls what arrives by a round trip at most.
func TestRoamNATRebinding(t *testing.T) {
	const delay, rate = 20 * time.Millisecond, 2_000_000
	path := netem.Path{Delay: delay, Bandwidth: rate, Queue: 200_000}
	for _, away := range []bool{false, true} {
		virtual(t, path, func(w *world) {
			r := w.roam(w.config(newCrypt(t, "gcm"), 0, 0))
			const size = 10_000_000
			go func() {
				for sent := 0; sent < size; sent += 10_000 {
					r.client.Write(make([]byte, 10_000))
				}
			}()
			var gap time.Duration
			last, start := time.Now(), time.Now()
			next := start.Add(time.Second)
			buf := make([]byte, 64<<10)
			for got := 0; got < size; {
				n, err := r.server.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				got += n
				now := time.Now()
				if now.Sub(start) > time.Second {
					gap = max(gap, now.Sub(last))
				}
				if last = now; now.After(next) {
					next = next.Add(time.Second)
					r.forget(away)
				}
			}
			took := time.Since(start)
			st := r.server.Stats()
			t.Logf("away=%t: %d rebindings, %d changes of path, longest gap %v, %v, %.2f of the rate; client %d lost by timeout, %d spurious",
				away, r.moves, st.PathChanges, gap, took, float64(size)/took.Seconds()/rate, r.client.Stats().LostTimeout, r.client.Stats().Spurious)
			if gap > 2*delay+10*time.Millisecond {
				t.Errorf("nothing arrived for %v", gap)
			}
			if st.PathChanges != uint64(r.moves) {
				t.Errorf("%d changes, want %d", st.PathChanges, r.moves)
			}
			if got := r.server.RemoteAddr().String(); got != r.conn.Bound().String() {
				t.Errorf("remote address %v, want %v", got, r.conn.Bound())
			}
			closeAll(r.client, r.server, r.l)
		})
	}
}

// A peer whose datagrams come to another of a listener's sockets is answered from that one, at once and
// without a question.
func TestRoamListenerSockets(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(newCrypt(t, "gcm"), 0, 0)
		first, second := w.bind("10.0.0.2:2000"), w.bind("10.0.0.3:2000")
		l := newListener(cfg, newSocket(first, true), newSocket(second, true))
		one, two := peerAddrOf(first.LocalAddr()).udp, peerAddrOf(second.LocalAddr()).udp
		deal := false // the kernel deals datagrams to the second socket now
		answers := 0
		w.watch(func(from, to netip.AddrPort, b []byte) bool {
			switch {
			case from == two: // which the client does not see: the sockets have one address
				answers++
				w.net.Inject(one, to, b)
				return false
			case deal && to == one:
				w.net.Inject(from, two, b)
				return false
			}
			return true
		})
		c := w.dial(cfg, l)
		io.WriteString(c, "hello")
		s, err := l.AcceptKCP()
		w.check(err)
		io.ReadFull(s, make([]byte, 5))
		w.look(func() { deal = true })
		w.check(exchange(c, s, 200_000))
		if s.path().sock != l.t.socks[1] || s.Stats().PathChanges != 0 {
			t.Errorf("%d changes of path", s.Stats().PathChanges)
		}
		w.look(func() {
			if answers == 0 {
				t.Error("nothing came from the second socket")
			}
		})
		closeAll(c, s, l)
	})
}

// With RoamOff a session stays at the address that it began with.
func TestRoamOff(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(newCrypt(t, "gcm"), 0, 0)
		cfg.roam = false
		r := w.roam(cfg)
		was := r.server.RemoteAddr().String()
		r.forget(true)
		r.client.Write(make([]byte, 5000))
		if _, err := io.ReadFull(r.server, make([]byte, 5000)); err != nil {
			t.Error(err)
		}
		w.awaitIdle()
		if got := r.server.RemoteAddr().String(); got != was || r.server.Stats().PathChanges != 0 {
			t.Errorf("remote address %v, was %v", got, was)
		}
		r.client.Abort()
		r.server.Abort()
		r.l.Close()
	})
}

// The program is told of each change of path, in their order, and RemoteAddr is the new one then.
func TestRoamHandler(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(newCrypt(t, "gcm"), 0, 0)
		var told []PathChange
		cfg.pathHandler = func(s *UDPSession, c PathChange) {
			w.look(func() { told = append(told, c) })
			time.Sleep(5 * time.Millisecond)
		}
		r := w.roam(cfg)
		want := []string{r.conn.Bound().String()}
		for range 5 {
			r.forget(true)
			want = append(want, r.conn.Bound().String())
			io.WriteString(r.client, "ping")
			w.sleep(100 * time.Millisecond)
		}
		w.look(func() {
			if len(told) != len(want)-1 {
				t.Fatalf("told of %d changes, want %d", len(told), len(want)-1)
			}
			for i, c := range told {
				if c.FormerRemote.String() != want[i] || c.Remote.String() != want[i+1] || c.Local.String() != "10.0.0.2:2000" {
					t.Errorf("told of %v, want %v to %v", c, want[i], want[i+1])
				}
			}
		})
		r.client.Abort()
		r.server.Abort()
		r.l.Close()
	})
}

// What waits for a function of the program's that does not return is bounded: the last that it is told of
// leads to where the peer is.
func TestRoamStuckHandler(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(newCrypt(t, "gcm"), 0, 0)
		goOn := make(chan struct{})
		var told []PathChange
		cfg.pathHandler = func(s *UDPSession, c PathChange) {
			<-goOn
			w.look(func() { told = append(told, c) })
		}
		r := w.roam(cfg)
		for range 2*changesMax + 1 {
			r.forget(true)
			io.WriteString(r.client, "ping")
			w.sleep(100 * time.Millisecond)
		}
		close(goOn)
		w.sleep(time.Millisecond)
		w.look(func() {
			if len(told) != changesMax+1 {
				t.Fatalf("told of %d changes", len(told))
			}
			for i, c := range told[1:] {
				if c.FormerRemote.String() != told[i].Remote.String() {
					t.Errorf("from %v, was at %v", c.FormerRemote, told[i].Remote)
				}
			}
			if last := told[changesMax].Remote.String(); last != r.conn.Bound().String() {
				t.Errorf("the last is %v, the peer is at %v", last, r.conn.Bound())
			}
		})
		r.client.Abort()
		r.server.Abort()
		r.l.Close()
	})
}

// A client that gets the address that another, which has moved, had before, and has its conversation, ends
// its own session of before only.
func TestRoamAddressReused(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		r := w.roam(w.config(newCrypt(t, "gcm"), 0, 0))
		was := r.conn.Bound()
		r.forget(true)
		w.check(exchange(r.client, r.server, 10_000))
		c := r.l.cfg.dial(r.client.conv, r.l.Addr(), newSocket(w.bind(was.String()), true))
		io.WriteString(c, "hello")
		s, err := r.l.AcceptKCP()
		w.check(err)
		io.ReadFull(s, make([]byte, 5))
		w.check(exchange(c, s, 10_000))
		w.check(exchange(r.client, r.server, 10_000))
		closeAll(r.client, r.server, c, s, r.l)
	})
}
