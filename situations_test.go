package kcp

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// situation is something that happens to the peer of a session.
type situation struct {
	name string
	old  bool                             // the peer has no extensions
	set  func(s *UDPSession)              // settings of ours
	do   func(w *world, s, p *UDPSession) // with p the peer
}

// vanish drops all that is sent.
func vanish(w *world, _, _ *UDPSession) {
	w.watch(func(netip.AddrPort, netip.AddrPort, []byte) bool { return false })
}

var situations = []situation{
	{"closes", false, nil, func(w *world, s, p *UDPSession) { p.Close() }},
	{"closes, without having read all", false, nil, func(w *world, s, p *UDPSession) {
		s.Write([]byte("unread"))
		w.sleep(50 * time.Millisecond)
		p.Close()
	}},
	{"ends its stream with `CloseWrite`", false, nil, func(w *world, s, p *UDPSession) {
		p.CloseWrite()
		go io.Copy(io.Discard, p)
	}},
	{"aborts: `SetLinger(0)`, `Close`", false, nil, func(w *world, s, p *UDPSession) {
		p.SetLinger(0)
		p.Close()
	}},
	{"vanishes", false, nil, vanish},
	{"vanishes; `SetKeepAlivePeriod(15 * time.Second)` here", false, func(s *UDPSession) { s.SetKeepAlivePeriod(15 * time.Second) }, vanish},
	{"vanishes; `SetIdleTimeout(30 * time.Second)` here", false, func(s *UDPSession) { s.SetIdleTimeout(30 * time.Second) }, vanish},
	{"restarts on the same port", false, nil, func(w *world, s, p *UDPSession) {
		p.vanish()
		l := w.listen(p.cfg, p.LocalAddr().String())
		time.AfterFunc(2*time.Hour, func() { l.Close() })
	}},
	{"restarts on the same port; `SetKeepAlivePeriod(15 * time.Second)` here", false,
		func(s *UDPSession) { s.SetKeepAlivePeriod(15 * time.Second) }, func(w *world, s, p *UDPSession) {
			p.vanish()
			l := w.listen(p.cfg, p.LocalAddr().String())
			time.AfterFunc(2*time.Hour, func() { l.Close() })
		}},
	{"without extensions, closes", true, nil, func(w *world, s, p *UDPSession) { p.Close() }},
	{"without extensions, vanishes", true, nil, vanish},
}

// outcome names an error and how long it took.
func outcome(err error, took time.Duration) string {
	name := "waits on"
	for n, target := range map[string]error{
		"`io.EOF`": io.EOF, "`ECONNRESET`": syscall.ECONNRESET, "`EPIPE`": syscall.EPIPE, "`ETIMEDOUT`": syscall.ETIMEDOUT,
	} {
		if errors.Is(err, target) {
			name = n
		}
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return name
	case err != nil && name == "waits on":
		return err.Error()
	case took < time.Second:
		return name + " at once"
	}
	return fmt.Sprintf("%s after %.0f s", name, took.Seconds())
}

// row tries a situation on a session that only reads, on one that only writes, and on one that is
// closed.
func (st situation) row(t *testing.T) string {
	var cells []string
	for _, try := range []func(w *world, s *UDPSession) string{
		func(w *world, s *UDPSession) string {
			start := time.Now()
			s.SetReadDeadline(start.Add(time.Hour))
			_, err := s.Read(make([]byte, 1))
			return outcome(err, time.Since(start))
		},
		func(w *world, s *UDPSession) string {
			start := time.Now()
			s.SetWriteDeadline(start.Add(time.Hour))
			for range 1000 {
				if _, err := s.Write(make([]byte, 100)); err != nil {
					return outcome(err, time.Since(start))
				}
				time.Sleep(100 * time.Millisecond)
			}
			return "goes on"
		},
		func(w *world, s *UDPSession) string {
			s.Write([]byte("last words"))
			start := time.Now()
			if err := s.Close(); err != nil || time.Since(start) > 0 {
				return fmt.Sprintf("%v after %v", err, time.Since(start))
			}
			select {
			case <-s.Done():
			case <-time.After(patience()):
				return "`nil`, never gone"
			}
			if took := time.Since(start); took >= 2*time.Second {
				return fmt.Sprintf("`nil`, gone after %.0f s", took.Seconds())
			}
			return "`nil`, soon gone"
		},
	} {
		virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
			cfg := w.config(nil, 0, 0)
			if st.old {
				cfg = deployed(cfg)
			}
			s, peer := w.join(w.config(nil, 0, 0), cfg)
			if st.set != nil {
				st.set(s)
			}
			w.sleep(50 * time.Millisecond)
			st.do(w, s, peer)
			cells = append(cells, try(w, s))
			s.SetLinger(0)
			s.Close()
			peer.SetLinger(0)
			peer.Close()
			w.net.SetTap(nil)
			w.sleep(3 * time.Hour)
		})
	}
	return fmt.Sprintf("| %s | %s |", st.name, strings.Join(cells, " | "))
}

// The table of docs/peer.md says what happens when the peer goes.
func TestSituations(t *testing.T) {
	readme, err := os.ReadFile("docs/peer.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range situations {
		t.Run(st.name, func(t *testing.T) {
			if row := st.row(t); !strings.Contains(string(readme), "\n"+row+"\n") {
				t.Errorf("docs/peer.md has no line\n%s", row)
			}
		})
	}
}

// Ten thousand connections, opened and closed in every way, leave nothing behind.
func TestNothingIsLeft(t *testing.T) {
	count := lighter(10_000, 1000)
	virtual(t, netem.Path{Delay: 5 * time.Millisecond, Loss: 0.02}, func(w *world) {
		w.touchLinks("10.0.0.1", "10.0.0.2:2000")
		cfg := w.config(newCrypt(t, "aes"), 2, 1)
		cfg.idle, cfg.maxUnprovenPerPrefix = int64(30*time.Second), 0
		l := w.listen(cfg, "10.0.0.2:2000")
		old := deployed(w.config(newCrypt(t, "aes"), 2, 1))
		w.dial(cfg, l).Close() // makes what is made once
		w.sleep(closeTimeout)
		before, goroutines := heapInUse(), w.goroutines()

		ways := []func(c, s *UDPSession){
			func(c, s *UDPSession) { c.Close(); io.Copy(io.Discard, s); s.Close() },
			func(c, s *UDPSession) { s.Close(); io.Copy(io.Discard, c); c.Close() },
			func(c, s *UDPSession) { c.SetLinger(0); c.Close(); io.Copy(io.Discard, s); s.Close() },
			func(c, s *UDPSession) { s.SetLinger(0); s.Close(); io.Copy(io.Discard, c); c.Close() },
			func(c, s *UDPSession) { c.Close(); s.Close() },
			func(c, s *UDPSession) { c.CloseWrite(); io.ReadAll(s); s.CloseWrite(); io.ReadAll(c); closeAll(c, s) },
			func(c, s *UDPSession) { c.vanish(); io.Copy(io.Discard, s); closeAll(s, c) }, // vanishes
			func(c, s *UDPSession) { c.Write(make([]byte, 10_000)); time.Sleep(time.Second); s.Close(); c.Close() },
			func(c, s *UDPSession) { c.SetLinger(-1); c.Close(); time.Sleep(10 * time.Second); s.Close() },
			func(c, s *UDPSession) { s.CloseRead(); c.Write(make([]byte, 10_000)); closeAll(s, c) },
		}
		accepted := sync.Map{} // by the dialler's address
		go func() {
			for {
				s, err := l.AcceptKCP()
				if err != nil {
					return
				}
				ch, _ := accepted.LoadOrStore(s.RemoteAddr().String(), make(chan *UDPSession, 1))
				ch.(chan *UDPSession) <- s
			}
		}()
		var wg sync.WaitGroup
		for i := range count {
			wg.Go(func() {
				from := cfg
				if i%4 == 3 {
					from = old
				}
				c := w.dial(from, l)
				addr := c.LocalAddr().String()
				ch, _ := accepted.LoadOrStore(addr, make(chan *UDPSession, 1))
				c.SetDeadline(time.Now().Add(2 * time.Minute))
				c.Write([]byte("hello"))
				s := <-ch.(chan *UDPSession)
				accepted.Delete(addr)
				s.SetDeadline(time.Now().Add(2 * time.Minute))
				s.Write([]byte("hello"))
				ways[i%len(ways)](c, s)
			})
			time.Sleep(5 * time.Millisecond)
		}
		wg.Wait()
		w.wantSessionsAtMost(l, count/10) // what lingers
		w.sleep(2 * time.Duration(timeWaitLife))
		w.wantSessions(l, 0)
		for key, s := range l.known() { // what they have in common tells why
			t.Errorf("with %v, conv %d: state %d, %v\n%+v", key.from, key.conv, s.state(), s.Cause(), s.Stats())
		}
		if n := l.remembers(); n > 0 {
			t.Errorf("%d entries are left", n)
		}
		if n := w.sched.timers(); n > 0 {
			t.Errorf("%d timers are left", n)
		}
		synctest.Wait()
		if n := w.goroutines() - goroutines - 1; n > 0 { // the accepting one
			t.Errorf("%d goroutines are left", n)
		}
		if c := w.snmp.Copy(); c.CurrEstab != 0 {
			t.Errorf("%d sessions are counted", c.CurrEstab)
		}
		left := heapInUse() - before
		t.Logf("%d KiB of heap, the emulated network's included", left>>10)
		if left > 4<<20 { // 400 bytes a connection
			t.Errorf("%d KiB are left", left>>10)
		}
		l.Close()
	})
}

// touchLinks uses each of an address's ephemeral ports towards another and back: the emulated
// network remembers every link that was used.
func (w *world) touchLinks(from, to string) {
	w.Helper()
	back := w.bind(to)
	defer back.Close()
	for range 1 << 14 {
		c := w.bind(from + ":0")
		c.WriteTo(nil, back.LocalAddr())
		back.WriteTo(nil, c.LocalAddr())
		c.Close()
	}
	w.awaitIdle()
}

func (w *world) wantSessionsAtMost(l *Listener, n int) {
	w.Helper()
	if got := len(l.known()); got > n {
		w.Errorf("%d sessions, want at most %d", got, n)
	}
}
