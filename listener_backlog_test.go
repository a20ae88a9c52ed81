package kcp

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// Honest clients get in beside a flood of forged first datagrams that an application does not
// accept as fast as they come.
func TestFloodOfForgedSessions(t *testing.T) {
	for _, tt := range []struct {
		name   string
		rate   int // forged datagrams a second
		times  int // each is sent so often, 300 ms apart
		loss   float64
		client func(*config) *config
		block  string
		shards int
	}{
		{"ours", 5000, 1, 0, nil, "plain", 0},
		{"deployed", 5000, 1, 0, deployed, "plain", 0},
		{"repeated", 2500, 2, 0, nil, "plain", 0},
		{"fec, sealed", 5000, 1, 0, nil, "gcm", 3},
		{"lossy", 5000, 1, 0.1, nil, "plain", 0},
		{"20,000 a second", 20_000, 1, 0, nil, "plain", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if raceEnabled && tt.rate > 5000 {
				t.Skip("takes long")
			}
			virtual(t, netem.Path{Delay: 20 * time.Millisecond, Loss: tt.loss}, func(w *world) {
				cfg := w.config(newCrypt(t, tt.block), tt.shards, tt.shards)
				l := w.listen(cfg, "10.0.0.2:2000")
				accepted, all := make(map[string]bool), 0
				honest := func() (n int) {
					w.watching.Lock()
					defer w.watching.Unlock()
					for from := range accepted {
						if from[:9] == "10.0.0.1:" {
							n++
						}
					}
					return n
				}
				go func() {
					for {
						s, err := l.AcceptKCP()
						if err != nil {
							return
						}
						w.watching.Lock()
						accepted[s.RemoteAddr().String()] = true
						all++
						w.watching.Unlock()
						go func() {
							defer s.Close()
							io.Copy(struct{ io.Writer }{s}, struct{ io.Reader }{s})
						}()
						time.Sleep(time.Millisecond)
					}
				}()
				stop := w.flood(l, tt.rate, tt.times)
				w.sleep(time.Second)
				const clients = 30
				rnd := rand.New(rand.NewPCG(testSeed, 1))
				echoed := make(chan error, clients)
				var slowest time.Duration
				ccfg := w.config(newCrypt(t, tt.block), tt.shards, tt.shards)
				if tt.client != nil {
					ccfg = tt.client(ccfg)
				}
				for range clients {
					c := w.dial(ccfg, l)
					defer c.Abort()
					delay := time.Duration(rnd.Int64N(int64(100 * time.Millisecond)))
					go func() {
						time.Sleep(delay)
						start := time.Now()
						err := ask(c, "hello")
						w.watching.Lock()
						slowest = max(slowest, time.Since(start))
						w.watching.Unlock()
						echoed <- err
					}()
				}
				w.sleep(2 * time.Second)
				n := honest()
				t.Logf("%d of %d are accepted within 2 s, %d forged ones; %+v", n, clients, all-n, l.Stats())
				if n < clients {
					t.Errorf("%d of %d honest clients are accepted within 2 s", n, clients)
				}
				close(stop)
				for range clients {
					w.check(<-echoed)
				}
				t.Logf("all have their echo after %v at most", slowest)
				l.Close()
				for _, s := range l.known() {
					s.Abort()
				}
			})
		})
	}
}

// flood sends forged first datagrams at a rate, each several times, until the channel is closed.
func (w *world) flood(l *Listener, rate, times int) (stop chan struct{}) {
	stop = make(chan struct{})
	from := w.bind("10.0.0.9:0")
	send := func(conv uint32) {
		b := append(make([]byte, l.cfg.env.head), forged(conv, true)...)
		from.WriteTo(l.cfg.env.seal(append(b, make([]byte, l.cfg.env.tail)...)[:len(b)]), l.Addr())
	}
	go func() {
		defer from.Close()
		rnd := rand.New(rand.NewPCG(testSeed, 2))
		every := time.Second / time.Duration(rate)
		later := uint32(300 * time.Millisecond / every)
		for conv := uint32(1 << 20); ; conv++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(rnd.ExpFloat64() * float64(every))):
			}
			send(conv)
			if times > 1 && conv >= 1<<20+later {
				send(conv - later)
			}
		}
	}()
	return stop
}

// firstFrom is a key for tests of addressCheck.
func firstFrom(addr string, conv uint32) sessionKey {
	return sessionKey{peerAddr{udp: netip.MustParseAddrPort(addr)}, conv}
}

// Only the peer that was asked can answer, for some seconds, and only for a new session.
func TestAddressCheck(t *testing.T) {
	cfg := standalone(t, nil, 0, 0)
	key := firstFrom("10.0.0.1:1000", 7)
	now := int64(time.Hour)
	var check, other addressCheck
	check.init()
	other.init()
	other.asked.Store(now)
	ack := func(change func(h *header)) []byte {
		p := check.question(cfg, key, now)
		defer packets.put(p)
		if len(p.data) >= len(forged(7, false)) {
			t.Errorf("a question of %d bytes", len(p.data))
		}
		h := segmentsOf(p.data)[0]
		h.cmd, h.frg = IKCP_CMD_ACK, 0
		if change != nil {
			change(&h)
		}
		return segmentOf(h)
	}
	wins := segmentOf(header{conv: 7, cmd: IKCP_CMD_WINS, frg: capMark})
	for _, tt := range []struct {
		name  string
		check *addressCheck
		key   sessionKey
		b     []byte
		after time.Duration
		want  bool
	}{
		{"at once", &check, key, ack(nil), 0, true},
		{"behind a WINS", &check, key, append(wins, ack(nil)...), 0, true},
		{"late", &check, key, ack(nil), time.Duration(questionEpoch), true},
		{"too late", &check, key, ack(nil), time.Duration(2 * questionEpoch), false},
		{"long after", &check, key, ack(nil), time.Hour, false},
		{"another port", &check, firstFrom("10.0.0.1:1001", 7), ack(nil), 0, false},
		{"another address", &check, firstFrom("10.0.0.2:1000", 7), ack(nil), 0, false},
		{"another conv", &check, firstFrom("10.0.0.1:1000", 8), ack(func(h *header) { h.conv = 8 }), 0, false},
		{"another listener", &other, key, ack(nil), 0, false},
		{"another ts", &check, key, ack(func(h *header) { h.ts++ }), 0, false},
		{"another sn", &check, key, ack(func(h *header) { h.sn-- }), 0, false},
		{"an old session", &check, key, ack(func(h *header) { h.una = 1 }), 0, false},
		{"the question itself", &check, key, ack(func(h *header) { h.cmd = IKCP_CMD_PUSH }), 0, false},
		{"short", &check, key, ack(nil)[:IKCP_OVERHEAD-1], 0, false},
		{"nothing", &check, key, nil, 0, false},
		{"not asked", new(addressCheck), key, ack(nil), 0, false},
	} {
		if got := tt.check.answers(tt.key, tt.b, now+int64(tt.after)); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

// No bytes are an answer that do not repeat the question's ts.
func FuzzAddressCheck(f *testing.F) {
	f.Add([]byte{})
	f.Add(forged(7, true))
	f.Add(segmentOf(header{conv: 7, cmd: IKCP_CMD_ACK, sn: questionSn}))
	f.Add(append(segmentOf(header{conv: 7, cmd: IKCP_CMD_WINS}), segmentOf(header{conv: 7, cmd: IKCP_CMD_ACK, sn: questionSn, len: 5})...))
	var check addressCheck
	key, now := firstFrom("[fe80::1%eth0]:1000", 7), int64(time.Hour)
	check.asked.Store(now)
	ts := binary.LittleEndian.AppendUint32(nil, check.cookie(key, now/questionEpoch))
	old := binary.LittleEndian.AppendUint32(nil, check.cookie(key, now/questionEpoch-1))
	f.Fuzz(func(t *testing.T, b []byte) {
		if check.answers(key, b, now) && !bytes.Contains(b, ts) && !bytes.Contains(b, old) {
			t.Errorf("%x", b)
		}
	})
}

// Sessions of peers that were asked have room of their own, and neither kind makes the other wait
// for ever.
func TestBacklogTurns(t *testing.T) {
	turn := func(i int, asked bool) uint32 {
		if asked {
			return uint32(2*i + 1)
		}
		return uint32(2 * i)
	}
	var b backlog
	for i := range acceptBacklog {
		for _, asked := range []bool{false, true} {
			if b.full(asked) {
				t.Fatalf("full after %d", i)
			}
			b.push(&UDPSession{conv: turn(i, asked)}, asked)
		}
	}
	if !b.full(false) || !b.full(true) || b.len() != 2*acceptBacklog {
		t.Errorf("%d wait", b.len())
	}
	for i := range acceptBacklog - 1 {
		for _, asked := range []bool{false, true} {
			if s := b.pop(); s.conv != turn(i, asked) {
				t.Errorf("%d, asked %t: %d", i, asked, s.conv)
			}
		}
	}
	for _, asked := range []bool{true, true, false} { // one kind alone
		b.push(new(UDPSession), asked)
	}
	for n := b.len(); n > 0; n-- {
		if b.pop() == nil {
			t.Errorf("%d wait and none comes", n)
		}
	}
	if b.pop() != nil {
		t.Error("more than there were")
	}
}
