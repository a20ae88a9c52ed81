package kcp

import (
	"bytes"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// Each counter of a listener counts what it says.
func TestListenerStats(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		cfg := w.config(newCrypt(t, "gcm"), 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		want := ListenerStats{}
		check := func(after string) {
			t.Helper()
			w.sleep(100 * time.Millisecond)
			if got := l.Stats(); got != want {
				t.Errorf("after %s:\n%+v, want\n%+v", after, got, want)
			}
		}
		check("nothing")

		seen := w.capture()
		c := w.dial(cfg, l)
		io.WriteString(c, "hello")
		s, err := l.AcceptKCP()
		w.check(err)
		want.Sessions, want.Opened, want.Accepted, want.Handshakes, want.HandshakesDone = 1, 1, 1, 1, 1
		check("a session")

		stranger := w.bind("10.0.0.9:1000")
		stranger.WriteTo(bytes.Repeat([]byte{7}, 100), l.Addr())
		want.InvalidInputs++
		check("a datagram of another key")

		list := seen()
		last := list[len(list)-1]
		for _, d := range list {
			if d.to.Port() == 2000 && d.from.Addr() == netip.MustParseAddr("10.0.0.1") {
				last = d // a sealed one
			}
		}
		stranger.WriteTo(last.b, l.Addr())
		want.Replays++
		check("a copy of a sealed datagram")

		stray := segment(77, IKCP_CMD_ACK, 5, nil)
		p := packets.get()
		p.data = append(p.mem[:cfg.env.head], stray...)
		stranger.WriteTo(bytes.Clone(cfg.env.seal(p.data)), l.Addr())
		packets.put(p)
		want.Foreign++
		check("an acknowledgement of no session")

		s.Abort()
		c.Abort()
		want.Sessions = 0
		w.sleep(time.Second)
		if got := l.Stats(); got.Sessions != 0 || got.Opened != 1 {
			t.Errorf("after the end: %+v", got)
		}
		l.Close()
	})
}

// What finds the backlog full is counted apart from what reaches a limit.
func TestListenerStatsRefused(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		limited := *cfg
		limited.maxPerPrefix = 3
		l, few := w.listen(cfg, "10.0.0.2:2000"), w.listen(&limited, "10.0.0.3:2000")
		for range 5 {
			io.WriteString(w.dial(cfg, few), "hello")
		}
		for range acceptBacklog + 10 {
			io.WriteString(w.dial(cfg, l), "hello")
		}
		w.sleep(1500 * time.Microsecond) // what comes first, before anything is repeated
		if st := few.Stats(); st.Opened != 3 || st.Backlog != 3 || st.Refused != 2 || st.BacklogFull != 0 {
			t.Errorf("at a limit: %+v", st)
		}
		if st := l.Stats(); st.Opened != acceptBacklog || st.Refused != 10 || st.BacklogFull != 10 || st.Foreign != 10 || st.Accepted != 0 {
			t.Errorf("with a full backlog: %+v", st)
		}
		for s := range Sessions() {
			if s.cfg == cfg || s.cfg == &limited {
				s.Abort()
			}
		}
		l.Close()
		few.Close()
	})
}

// Handshakes are counted where they begin, where they end, where they have to be repeated and where they
// do not open.
func TestListenerStatsHandshakes(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		right, wrong := PrivateKey{8}, PrivateKey{16}
		l := w.listen(w.settle(Settings{}, right), "10.0.0.2:2000")
		good := w.dial(w.settle(Settings{ServerKey: right.Public()}, PrivateKey{}), l)
		io.WriteString(good, "hello")
		w.sleep(100 * time.Millisecond)
		if st := l.Stats(); st.Handshakes != 1 || st.HandshakesDone != 1 || st.HandshakesRetried != 1 || st.HandshakesFailed != 0 {
			t.Errorf("without a shared key, whose handshake needs a token: %+v", st)
		}
		bad := w.dial(w.settle(Settings{ServerKey: wrong.Public()}, PrivateKey{}), l)
		io.WriteString(bad, "hello")
		w.sleep(100 * time.Millisecond)
		if st := l.Stats(); st.Handshakes != 1 || st.HandshakesDone != 1 || st.HandshakesFailed == 0 {
			t.Errorf("with another key: %+v", st)
		}
		for s := range l.Sessions() {
			s.Abort()
		}
		good.Abort()
		bad.Abort()
		l.Close()
	})
}
