package kcp

import (
	"bytes"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// recorder is a tracer that keeps what it is told.
type recorder struct {
	mu     sync.Mutex
	events []Event
	types  map[string]int // of the segments sent
}

func (r *recorder) Event(e *Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for h := range e.Segments() {
		if e.Kind == EventSent {
			r.types[h.Type]++
		}
	}
	kept := *e
	kept.segments = nil
	r.events = append(r.events, kept)
}

// of returns the events of a kind.
func (r *recorder) of(kind EventKind) (list []Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Kind == kind {
			list = append(list, e)
		}
	}
	return list
}

// traced makes cfg that of sessions that are traced, and returns the recorder of the next one.
func traced(cfg *config) (*config, *recorder) {
	c, r := *cfg, &recorder{types: make(map[string]int)}
	c.tracer = func(*UDPSession) Tracer { return r }
	return &c, r
}

// What a session's events add up to is what its statistics say, and each event is told in its time.
func TestTracer(t *testing.T) {
	path := netem.Path{Delay: 20 * time.Millisecond, Jitter: 5 * time.Millisecond, Bandwidth: 1_000_000, Queue: 50_000, Loss: 0.05}
	for name, crypt := range map[string]string{"unsealed": "", "sealed": "gcm"} {
		t.Run(name, func(t *testing.T) {
			virtual(t, path, func(w *world) {
				base := w.config(nil, 0, 0)
				if crypt != "" {
					base = w.config(newCrypt(t, crypt), 0, 0)
				}
				dialling, near := traced(base)
				listening, far := traced(base)
				c, s := w.join(dialling, listening)
				go func() {
					c.Write(make([]byte, 600_000))
					c.Close()
				}()
				n, err := io.Copy(io.Discard, s)
				w.check(err)
				if n != 600_000 {
					t.Errorf("%d bytes", n)
				}
				s.Close()
				w.sleep(10 * time.Second)
				wantTrace(t, near, c, true, crypt != "")
				wantTrace(t, far, s, false, crypt != "")
				if st := c.Stats(); st.LostFast+st.LostTimeout == 0 || st.Resent == 0 {
					t.Errorf("nothing was lost: %+v", st)
				}
				if len(near.of(EventMetrics)) < 100 || len(near.of(EventState)) < 3 || len(near.of(EventLimit)) < 2 {
					t.Errorf("%d metrics, %d states, %d limits", len(near.of(EventMetrics)), len(near.of(EventState)), len(near.of(EventLimit)))
				}
				for _, e := range near.of(EventState) {
					if !slices.Contains(bbrStateNames[:], e.New) || e.New == e.Old {
						t.Errorf("state %q after %q", e.New, e.Old)
					}
				}
			})
		})
	}
}

// wantTrace checks the events of a session that has ended.
func wantTrace(t *testing.T, r *recorder, s *UDPSession, dialled, sealed bool) {
	t.Helper()
	st := s.Stats()
	last := time.Duration(0)
	for i, e := range r.events {
		if e.At < last {
			t.Errorf("event %d, %v, is at %v, the one before at %v", i, e.Kind, e.At, last)
		}
		last = e.At
		if (e.Kind == EventOpened) != (i == 0) || (e.Kind == EventEnded) != (i == len(r.events)-1) {
			t.Errorf("event %d of %d is %v", i, len(r.events), e.Kind)
		}
	}
	if first := r.events[0]; first.Dialled != dialled || first.Addr.String() != s.RemoteAddr().String() {
		t.Errorf("opened: dialled %v, %v", first.Dialled, first.Addr)
	}
	segments := 0
	for _, n := range r.types {
		segments += n
	}
	lost := r.of(EventLost)
	reasons := make(map[string]uint64)
	for _, e := range lost {
		reasons[e.Reason]++
	}
	duplicates := 0
	for _, e := range r.of(EventDropped) {
		if e.Reason == dropDuplicate {
			duplicates++
		}
	}
	for _, c := range []struct {
		what      string
		got, want uint64
	}{
		{"segments sent", uint64(segments), st.SegmentsSent},
		{"lost by reordering", reasons[lostReordering], st.LostFast},
		{"lost early", reasons[lostEarly], st.LostEarly},
		{"lost by time", reasons[lostTime] + reasons[lostTimeout], st.LostTimeout},
		{"spurious", uint64(len(r.of(EventSpurious))), st.Spurious},
		{"recovered", uint64(len(r.of(EventRecovered))), st.FECRecovered},
		{"duplicates", uint64(duplicates), st.Duplicates},
		{"closed", uint64(len(r.of(EventClosed))), 1},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, the statistics say %d", c.what, c.got, c.want)
		}
	}
	acked := make(map[uint32]int)
	for _, e := range r.of(EventAcked) {
		acked[e.SN]++
	}
	if len(acked) != len(r.of(EventAcked)) || len(acked) != r.types["PUSH"]+r.types["FIN"]-int(st.Resent) {
		t.Errorf("%d segments acknowledged, %d times, %v sent, %d again", len(acked), len(r.of(EventAcked)), r.types, st.Resent)
	}
	if got := r.of(EventSealed); (len(got) == 1) != sealed || sealed && got[0].New != st.Cipher {
		t.Errorf("sealed: %+v", got)
	}
}

// A session that fails says why, what it drops is told with the reason, and who wants to hear nothing is
// told nothing.
func TestTracerDrops(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		cfg, r := traced(w.config(nil, 0, 0))
		asked := 0
		silent := *cfg
		silent.tracer = func(*UDPSession) Tracer { asked++; return nil }
		c, s := w.join(cfg, &silent)
		forged := segment(c.GetConv(), IKCP_CMD_PUSH, 0, []byte("hello"))
		forged[20] = 200 // more than is there
		s.path().sock.conn.WriteTo(forged, c.LocalAddr())
		w.sleep(time.Second)
		c.SetMtu(1000)
		s.Abort()
		w.sleep(time.Second)
		c.Read(make([]byte, 10))
		if drops := r.of(EventDropped); len(drops) != 1 || drops[0].Reason != dropInvalid {
			t.Errorf("dropped: %+v", drops)
		}
		if mtu := r.of(EventMTU); len(mtu) != 1 || mtu[0].Bytes != 1000 {
			t.Errorf("MTU: %+v", mtu)
		}
		if closed := r.of(EventClosed); len(closed) != 1 || closed[0].Err != syscall.ECONNRESET || closed[0].Reason != "reset" {
			t.Errorf("closed: %+v", closed)
		}
		c.Close()
		w.sleep(time.Second)
		if n := len(r.of(EventEnded)); n != 1 {
			t.Errorf("ended %d times", n)
		}
		if asked != 1 {
			t.Errorf("asked %d times for a tracer", asked)
		}
	})
}

// A tracer may be made while others use the listener, by a function that uses that.
func TestTracerUsesListener(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		for _, block := range []BlockCrypt{nil, newCrypt(t, "gcm")} {
			cfg := w.config(block, 0, 0)
			var l *Listener
			var sessions int
			cfg.tracer = func(s *UDPSession) Tracer {
				if s.owner != nil {
					sessions = l.Stats().Sessions
					for range l.Sessions() {
					}
				}
				return nil
			}
			l = w.listen(cfg, "10.0.0.2:2000")
			c := w.dial(cfg, l)
			io.WriteString(c, "hello")
			s, err := l.AcceptKCP()
			w.check(err)
			w.sleep(time.Second)
			if sessions != 1 {
				t.Errorf("%d sessions", sessions)
			}
			s.Abort()
			c.Abort()
			l.Close()
		}
	})
}

// The records of a session are those of its events, each at its level.
func TestSlogTracer(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond, Loss: 0.1}, func(w *world) {
		var all, few bytes.Buffer
		dialling, listening := *w.config(nil, 0, 0), *w.config(nil, 0, 0)
		dialling.tracer = SlogTracer(slog.New(slog.NewTextHandler(&all, &slog.HandlerOptions{Level: slog.LevelDebug})))
		listening.tracer = SlogTracer(slog.New(slog.NewTextHandler(&few, nil)))
		c, s := w.join(&dialling, &listening)
		go func() {
			c.Write(make([]byte, 100_000))
			c.Close()
		}()
		io.Copy(io.Discard, s)
		s.Close()
		w.sleep(10 * time.Second)
		for _, want := range []string{
			`level=INFO msg="kcp opened" conv=`, `dialled=true`, `msg="kcp sent" conv=`, `segments="[WINS PUSH]"`,
			`level=DEBUG msg="kcp acked"`, `msg="kcp metrics"`, `msg="kcp lost"`, `level=INFO msg="kcp closed"`, `msg="kcp ended"`,
		} {
			if !strings.Contains(all.String(), want) {
				t.Errorf("no %s", want)
			}
		}
		if n := strings.Count(few.String(), "\n"); n != 3 {
			t.Errorf("%d records at INFO:\n%s", n, few.String())
		}
	})
}

// A tracer is told where the peer has moved to.
func TestTracerPath(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg, r := traced(w.config(newCrypt(t, "gcm"), 0, 0))
		silent := *cfg
		silent.tracer = nil
		l, conn := w.listen(cfg, "10.0.0.2:2000"), w.bind("10.0.0.1:1000")
		c := silent.dial(1, l.Addr(), newSocket(conn, true))
		io.WriteString(c, "hello")
		s, err := l.AcceptKCP()
		w.check(err)
		w.awaitIdle()
		w.check(conn.Rebind("10.0.3.1:77"))
		io.WriteString(c, "again")
		w.awaitIdle()
		if moved := r.of(EventPath); len(moved) != 1 || moved[0].Addr.String() != "10.0.3.1:77" {
			t.Errorf("moved: %+v", moved)
		}
		c.Abort()
		s.Abort()
		l.Close()
	})
}

// countingTracer counts events.
type countingTracer struct{ n int }

func (c *countingTracer) Event(*Event) { c.n++ }

// Telling a tracer allocates nothing.
func TestTracerAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	k, counter := filledCore(64), new(countingTracer)
	k.trace = &tracing{to: counter}
	msg, now := make([]byte, 64), int64(1)
	var seg [IKCP_OVERHEAD]byte
	allocs := testing.AllocsPerRun(1000, func() {
		sn := k.snd.una
		h := header{conv: 1, cmd: IKCP_CMD_ACK, wnd: 64, sn: sn, una: sn, ts: k.snd.at(sn).ts}
		h.put(seg[:])
		now += 100_000
		k.input(now, seg[:], true)
		k.Send(msg)
		k.flush(now)
	})
	if allocs >= 1 || counter.n < 3000 {
		t.Errorf("%v allocations for each acknowledgement, %d events", allocs, counter.n)
	}
}
