package kcp

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// crypts is one cipher for each kind of envelope.
var crypts = []struct {
	name string
	make func(key []byte) (BlockCrypt, error)
}{
	{"plain", func([]byte) (BlockCrypt, error) { return nil, nil }},
	{"aes", NewAESBlockCrypt},
	{"salsa20", NewSalsa20BlockCrypt},
	{"gcm", NewAESGCMCrypt},
}

// newCrypt returns the cipher of that name in crypts.
func newCrypt(t testing.TB, name string) BlockCrypt {
	t.Helper()
	for _, c := range crypts {
		if c.name == name {
			block, err := c.make(seededBytes(1, 16))
			if err != nil {
				t.Fatal(err)
			}
			return block
		}
	}
	t.Fatalf("no cipher is called %s", name)
	return nil
}

// limitMtu fails the test when a datagram is longer than mtu.
func (w *world) limitMtu(mtu int) {
	w.watch(func(from, to netip.AddrPort, b []byte) bool {
		if len(b) > mtu {
			w.Errorf("a datagram of %d bytes, MTU %d", len(b), mtu)
		}
		return true
	})
}

func TestTransfer(t *testing.T) {
	mtus := []int{IKCP_MTU_DEF, 1500, 576, 200}
	n := 0
	for _, stream := range []bool{false, true} {
		for _, crypt := range crypts {
			for _, shards := range [][2]int{{0, 0}, {10, 3}} {
				for _, loss := range []float64{0, 0.05, 0.3} {
					mtu := mtus[n%len(mtus)]
					n++
					name := fmt.Sprintf("stream=%t/%s/fec=%d+%d/loss=%v/mtu=%d",
						stream, crypt.name, shards[0], shards[1], loss, mtu)
					t.Run(name, func(t *testing.T) {
						path := netem.Path{
							Delay: 20 * time.Millisecond, Jitter: 5 * time.Millisecond,
							Loss: loss, Reorder: 0.05, Duplicate: 0.05,
						}
						virtual(t, path, func(w *world) {
							c, s := w.pair(w.config(newCrypt(t, crypt.name), shards[0], shards[1]))
							hurry(128, c, s)
							for _, x := range []*UDPSession{c, s} {
								x.SetStreamMode(stream)
								x.SetMtu(mtu)
							}
							w.settle() // what the default MTU has cut is gone
							w.limitMtu(mtu)
							w.check(exchange(c, s, 50_000))
							if shards[0] > 0 && loss > 0 && w.snmp.Copy().FECRecovered == 0 {
								t.Error("nothing was rebuilt from parity")
							}
							closeAll(c, s)
						})
					})
				}
			}
		}
	}
}

func TestPaths(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name string
		wnd  int
		path netem.Path
	}{
		{"jitter", 128, netem.Path{Delay: 10 * ms, Jitter: 80 * ms}},
		{"bursts", 128, netem.Path{Delay: 20 * ms, Burst: netem.Burst{Enter: 0.02, Leave: 0.2}}},
		{"bottleneck", 256, netem.Path{Delay: 10 * ms, Bandwidth: 100_000, Queue: 8000}},
		{"far", 512, netem.Path{Delay: 600 * ms, Loss: 0.1}},
		{"poor", 32, netem.Path{Delay: 20 * ms, Loss: 0.5}},
		{"copies", 128, netem.Path{Delay: 5 * ms, Duplicate: 1, Reorder: 0.5}},
	} {
		for _, nc := range []int{0, 1} {
			t.Run(fmt.Sprintf("%s/nc=%d", tt.name, nc), func(t *testing.T) {
				virtual(t, tt.path, func(w *world) {
					c, s := w.pair(w.config(nil, 0, 0))
					hurry(tt.wnd, c, s)
					c.SetNoDelay(1, 10, 2, nc)
					s.SetNoDelay(0, 20, 3, nc)
					w.check(exchange(c, s, 100_000))
					closeAll(c, s)
				})
			})
		}
	}
}

func TestWindows(t *testing.T) {
	for _, wnd := range []int{1, 2, 3, 32, 1024, 4096} {
		for _, loss := range []float64{0, 0.1} {
			t.Run(fmt.Sprintf("%d/loss=%v", wnd, loss), func(t *testing.T) {
				virtual(t, netem.Path{Delay: 10 * time.Millisecond, Loss: loss}, func(w *world) {
					c, s := w.pair(w.config(nil, 0, 0))
					hurry(wnd, c, s)
					w.check(exchange(c, s, min(wnd, 1000)*2000+20_000))
					closeAll(c, s)
				})
			})
		}
	}
}

// Ends that agree on nothing but cipher and key.
func TestDifferentSettings(t *testing.T) {
	virtual(t, netem.Path{Delay: 15 * time.Millisecond, Loss: 0.05}, func(w *world) {
		c, s := w.join(w.config(nil, 0, 0), w.config(nil, 5, 2))
		c.SetStreamMode(true)
		c.SetNoDelay(1, 10, 2, 1)
		c.SetWindowSize(512, 2)
		c.SetMtu(1500)
		s.SetNoDelay(0, 200, 0, 0)
		s.SetWindowSize(16, 64)
		s.SetMtu(100)
		s.SetACKNoDelay(true)
		s.SetWriteDelay(true)
		w.check(exchange(c, s, 100_000))
		closeAll(c, s)
	})
}

// A receiver follows the sender's shard counts, whatever its own are.
func TestDifferentShards(t *testing.T) {
	for _, tt := range []struct{ dialling, listening [2]int }{
		{[2]int{10, 3}, [2]int{0, 0}},
		{[2]int{0, 0}, [2]int{10, 3}},
		{[2]int{3, 2}, [2]int{10, 3}},
		{[2]int{4, 1}, [2]int{1, 4}},
		{[2]int{2, 2}, [2]int{30, 10}},
	} {
		for _, crypt := range []string{"plain", "gcm"} {
			t.Run(fmt.Sprintf("%v-%v/%s", tt.dialling, tt.listening, crypt), func(t *testing.T) {
				virtual(t, netem.Path{Delay: 20 * time.Millisecond, Loss: 0.05}, func(w *world) {
					var counts [2]Snmp
					ends := [2][2]int{tt.dialling, tt.listening}
					var cfgs [2]*config
					for i, n := range ends {
						cfgs[i] = w.config(newCrypt(t, crypt), n[0], n[1])
						cfgs[i].snmp = &counts[i]
					}
					c, s := w.join(cfgs[0], cfgs[1])
					hurry(256, c, s)
					w.check(exchange(c, s, 400_000))
					for i := range counts {
						if sends := ends[1-i][0] > 0; sends != (counts[i].Copy().FECRecovered > 0) {
							t.Errorf("the peer sends FEC: %t, datagrams rebuilt: %d", sends, counts[i].Copy().FECRecovered)
						}
					}
					closeAll(c, s)
				})
			})
		}
	}
}

// Whatever the counts at both ends and whatever is lost, no byte is changed.
func TestRandomShards(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() || raceEnabled {
		seeds = 20
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 12))
			counts := func() (data, parity int) { return 1 + r.IntN(12), 1 + r.IntN(4) }
			path := netem.Path{
				Delay: 10 * time.Millisecond, Jitter: time.Duration(r.IntN(4)) * time.Millisecond,
				Loss: float64(seed%7) * 0.05, Duplicate: 0.02,
			}
			virtualSeed(t, seed, path, func(w *world) {
				var cfgs [2]*config
				for i := range cfgs {
					data, parity := counts()
					cfgs[i] = w.config(nil, data, parity)
				}
				c, s := w.join(cfgs[0], cfgs[1])
				hurry(128, c, s)
				mtu := 200 + r.IntN(400)
				for _, x := range []*UDPSession{c, s} {
					x.SetMtu(mtu)
					x.SetStreamMode(true) // all datagrams are alike in length
				}
				w.check(exchange(c, s, 60_000))
				if n := w.snmp.Copy().FECErrs; n > 0 {
					t.Errorf("%v, %v: %d FEC errors", *cfgs[0].fec, *cfgs[1].fec, n)
				}
				closeAll(c, s)
			})
		})
	}
}

func TestTransferLarge(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		hurry(4096, c, s)
		start := time.Now()
		w.check(carry(c, s, 64<<20))
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("took %v of virtual time", took)
		}
		if n := w.snmp.Copy().RetransSegs; n > 0 {
			t.Errorf("%d segments were sent again on a path without loss", n)
		}
		closeAll(c, s)
	})
}

// renumber lets an idle session go on as if it had sent snd and received rcv segments.
func (s *UDPSession) renumber(snd, rcv, seqid uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.core
	k.snd = sendWindow{una: snd, nxt: snd, end: snd}
	k.rcv = recvWindow{head: rcv, nxt: rcv, wnd: k.rcv.wnd}
	k.wndUna = snd
	if s.enc != nil {
		s.enc.skip()
		s.enc.next, s.enc.count = seqid, 0
		s.dec.release()
	}
}

func TestSessionNumbersWrap(t *testing.T) {
	for _, loss := range []float64{0, 0.1} {
		t.Run(fmt.Sprintf("loss=%v", loss), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond, Loss: loss}, func(w *world) {
				cfg := w.config(nil, 5, 2)
				c, s := w.pair(cfg)
				hurry(128, c, s)
				c.SetMinParity(2)
				s.SetMinParity(2)
				w.settle()
				start := cfg.fec.limit - 10*cfg.fec.shards()
				c.renumber(0xffffffff-100, 0x7fffffff-50, start)
				s.renumber(0x7fffffff-50, 0xffffffff-100, start)
				w.check(exchange(c, s, 500_000))
				c.mu.Lock()
				sn, seqid := c.core.snd.una, c.enc.next
				c.mu.Unlock()
				if sn > 1000 || seqid > 5000 {
					t.Errorf("did not wrap: sn %#x, seqid %#x", sn, seqid)
				}
				if n := w.snmp.Copy().FECErrs; n > 0 {
					t.Errorf("%d FEC errors", n)
				}
				closeAll(c, s)
			})
		})
	}
}

// The ts of a PUSH counts microseconds and wraps after 71 minutes.
func TestTimeStampsWrap(t *testing.T) {
	virtual(t, netem.Path{Delay: 50 * time.Millisecond, Loss: 0.05}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		hurry(64, c, s)
		ts := uint32(clock() / int64(time.Microsecond))
		time.Sleep(time.Duration(-ts)*time.Microsecond - time.Second)
		before := uint32(clock() / int64(time.Microsecond))
		w.check(exchange(c, s, 3_000_000))
		if after := uint32(clock() / int64(time.Microsecond)); after > before {
			t.Errorf("did not wrap: %#x to %#x", before, after)
		}
		if rtt := c.GetSRTT(); rtt < 100 || rtt > 150 {
			t.Errorf("smoothed round-trip time %d ms on a path of 100", rtt)
		}
		closeAll(c, s)
	})
}

// stall writes size bytes to a peer that reads nothing, for so long.
func (w *world) stall(c, s *UDPSession, size int, pause time.Duration) (done chan error) {
	w.Helper()
	done = make(chan error, 1)
	go func() {
		_, err := c.Write(random(3, size))
		done <- err
	}()
	w.sleep(pause)
	select {
	case err := <-done:
		w.Fatalf("the write did not wait: %v", err)
	default:
	}
	return done
}

// wakeUp reads what stall wrote.
func (w *world) wakeUp(s *UDPSession, size int, done chan error) {
	w.Helper()
	s.SetDeadline(time.Now().Add(patience))
	got := make([]byte, size)
	_, err := io.ReadFull(s, got)
	w.check(err)
	w.check(<-done)
	if string(got) != string(random(3, size)) {
		w.Error("bytes arrived changed")
	}
}

func TestStalledReader(t *testing.T) {
	const size = 300_000
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		hurry(32, c, s)
		done := w.stall(c, s, size, time.Minute)
		asked := 0
		w.watch(func(_, _ netip.AddrPort, b []byte) bool {
			for _, h := range segmentsOf(b) {
				switch h.cmd {
				case IKCP_CMD_WASK:
					asked++
				case IKCP_CMD_PUSH:
					t.Errorf("segment %d sent into a closed window", h.sn)
				}
			}
			return true
		})
		w.sleep(10 * time.Minute)
		if asked < 4 || asked > 20 {
			t.Errorf("asked for the window %d times in ten minutes", asked)
		}
		w.net.SetTap(nil)
		start := time.Now()
		w.wakeUp(s, size, done)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("the window was open only after %v", took)
		}
		closeAll(c, s)
	})
}

// The sender asks when the announcement that reopens the window is lost.
func TestWindowAnnouncementLost(t *testing.T) {
	const size = 300_000
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		hurry(32, c, s)
		done := w.stall(c, s, size, 5*time.Second)
		lost := 0
		w.watch(func(_, _ netip.AddrPort, b []byte) bool {
			for _, h := range segmentsOf(b) {
				if h.cmd == IKCP_CMD_WINS && h.wnd > 0 && lost < 2 {
					lost++
					return false
				}
			}
			return true
		})
		w.wakeUp(s, size, done)
		if lost != 2 {
			t.Errorf("%d announcements were lost, not 2", lost)
		}
		closeAll(c, s)
	})
}

// What was sent into a window that has shrunk since is not answered. The peer is alive
// all the same, and reads on some time.
func TestWindowShrinks(t *testing.T) {
	for _, size := range []int{20_000, 100_000} { // all of it in flight, and more
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				c, s := w.pair(w.config(nil, 0, 0))
				hurry(32, c, s)
				s.SetWindowSize(32, 2)
				done := make(chan error, 1)
				go func() {
					_, err := c.Write(random(3, size))
					done <- err
				}()
				w.sleep(30 * time.Minute)
				start := time.Now()
				w.wakeUp(s, size, done)
				if took := time.Since(start); took > 3*time.Minute { // the longest wait for a probe is 2
					t.Errorf("took %v to go on", took)
				}
				closeAll(c, s)
			})
		})
	}
}

// A sender that takes the peer's window for larger than it is does not wait longer and
// longer for what had no room.
func TestSmallReceiveWindow(t *testing.T) {
	for _, nc := range []int{0, 1} {
		t.Run(fmt.Sprintf("nc=%d", nc), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 50 * time.Millisecond, Loss: 0.25}, func(w *world) {
				c, s := w.pair(w.config(nil, 0, 0))
				hurry(128, c, s)
				c.SetNoDelay(0, 50, 0, nc)
				s.SetWindowSize(1, 1)
				start := time.Now()
				w.check(exchange(c, s, 80_000))
				if took := time.Since(start); took > 5*time.Minute {
					t.Errorf("took %v", took)
				}
				closeAll(c, s)
			})
		})
	}
}

// What is beyond the peer's window is not sent again before there is room for it: it
// would crowd out what the peer waits for where a queue is short.
func TestNothingBeyondTheWindow(t *testing.T) {
	const delay = 10 * time.Millisecond
	virtual(t, netem.Path{Delay: delay}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		hurry(32, c, s)
		s.SetWindowSize(32, 5)
		w.settle()
		type announcement struct {
			known time.Time // to the sender
			edge  uint32
		}
		var said []announcement
		w.watch(func(from, _ netip.AddrPort, b []byte) bool {
			for _, h := range segmentsOf(b) {
				if from.Port() == 2000 {
					said = append(said, announcement{time.Now().Add(delay), h.una + uint32(h.wnd)})
					continue
				}
				newest := uint32(1 << 30) // the first flight goes by what the hello said
				for _, a := range said {
					if !time.Now().Before(a.known) {
						newest = a.edge
					}
				}
				if h.cmd == IKCP_CMD_PUSH && h.sn >= newest {
					t.Errorf("segment %d sent, the window ends at %d", h.sn, newest)
				}
			}
			return true
		})
		w.check(carry(c, s, 100_000))
		closeAll(c, s)
	})
}

func TestSetDUP(t *testing.T) {
	for _, crypt := range crypts {
		t.Run(crypt.name, func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond, Loss: 0.2}, func(w *world) {
				c, s := w.pair(w.config(newCrypt(t, crypt.name), 3, 1))
				c.SetDUP(2)
				s.SetDUP(-1)
				w.settle()
				before := w.net.Stats(c.LocalAddr(), s.LocalAddr()).Sent
				nonces := make(map[uint64]bool)
				w.watch(func(_, _ netip.AddrPort, b []byte) bool {
					// With Salsa20 these 8 bytes are the nonce. With the others they
					// depend on all of it or are a part of it.
					nonces[binary.LittleEndian.Uint64(b)] = true
					return true
				})
				total := w.net.Total().Sent
				w.check(exchange(c, s, 50_000))
				w.settle()
				sent := w.net.Stats(c.LocalAddr(), s.LocalAddr()).Sent - before
				if sent%3 != 0 {
					t.Errorf("%d datagrams are not a multiple of 3", sent)
				}
				if n := int(w.net.Total().Sent - total); crypt.name != "plain" && len(nonces) != n {
					t.Errorf("%d nonces for %d datagrams", len(nonces), n)
				}
				if w.snmp.Copy().RetransSegs == 0 {
					t.Error("nothing was sent again")
				}
				closeAll(c, s)
			})
		})
	}
}

func TestSetWriteDelay(t *testing.T) {
	const (
		interval = 50 * time.Millisecond
		writes   = 30 // fewer than the peer's window takes
	)
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprintf("stream=%t", stream), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 100 * time.Millisecond}, func(w *world) {
				c, s := w.pair(w.config(nil, 0, 0))
				c.SetNoDelay(1, int(interval.Milliseconds()), 2, 1)
				c.SetWindowSize(1024, 1024)
				c.SetStreamMode(stream)
				c.SetWriteDelay(true)
				w.settle()
				start := time.Now()
				var sent []time.Duration
				segs := 0
				w.watch(func(from, _ netip.AddrPort, b []byte) bool {
					if from.Port() != 2000 {
						sent = append(sent, time.Since(start))
						segs += len(segmentsOf(b))
					}
					return true
				})
				for range writes {
					c.Write(random(1, 10))
					w.sleep(time.Millisecond)
				}
				w.sleep(interval)
				w.watching.Lock()
				if len(sent) != 1 || sent[0] > interval {
					t.Errorf("%d small writes left at %v, not in one datagram at %v", writes, sent, interval)
				}
				if want := map[bool]int{false: writes, true: 1}[stream]; segs != want {
					t.Errorf("%d segments, not %d", segs, want)
				}
				w.watching.Unlock()
				// Switched off, it lets go what it held.
				w.settle()
				w.watching.Lock()
				sent, start = nil, time.Now()
				w.watching.Unlock()
				c.Write(random(1, 10))
				c.SetWriteDelay(false)
				w.settle()
				if len(sent) == 0 || sent[0] > 0 {
					t.Errorf("held back after the delay was switched off: %v", sent)
				}
				closeAll(c, s)
			})
		})
	}
}

func TestSetACKNoDelay(t *testing.T) {
	const (
		delay    = 20 * time.Millisecond
		interval = 300 * time.Millisecond
	)
	for _, nodelay := range []bool{false, true} {
		t.Run(fmt.Sprint(nodelay), func(t *testing.T) {
			virtual(t, netem.Path{Delay: delay}, func(w *world) {
				c, s := w.pair(w.config(nil, 0, 0))
				s.SetNoDelay(1, int(interval.Milliseconds()), 2, 1)
				s.SetACKNoDelay(nodelay)
				w.settle()
				start := time.Now()
				acked := time.Duration(0)
				w.watch(func(from, _ netip.AddrPort, b []byte) bool {
					if h := segmentsOf(b)[0]; h.cmd == IKCP_CMD_ACK && acked == 0 {
						acked = time.Since(start)
					}
					return true
				})
				c.Write([]byte("one segment"))
				w.sleep(time.Second)
				want := delay
				if !nodelay {
					want += time.Duration(ackDelay)
				}
				if acked != want {
					t.Errorf("acknowledged after %v, want %v", acked, want)
				}
				closeAll(c, s)
			})
		})
	}
}

func TestSetRateLimit(t *testing.T) {
	const seconds = 5
	for _, tt := range []struct {
		crypt  string
		shards int
		rate   uint32
		write  int
		dup    int
	}{
		{"plain", 0, 100_000, 16 << 10, 0},
		{"plain", 0, 3_000_000, 16 << 10, 0},
		{"aes", 3, 100_000, 16 << 10, 0},
		{"gcm", 10, 1_000_000, 16 << 10, 0},
		{"gcm", 10, 50_000, 50, 0},
		{"plain", 0, 100_000, 16 << 10, 1},
	} {
		t.Run(fmt.Sprintf("%s/fec=%d/%d/%d/dup=%d", tt.crypt, tt.shards, tt.rate, tt.write, tt.dup), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				c, s := w.pair(w.config(newCrypt(t, tt.crypt), tt.shards, tt.shards))
				hurry(1024, c, s)
				c.SetRateLimit(tt.rate)
				c.SetDUP(tt.dup)
				go io.Copy(io.Discard, s)
				go func() {
					for b := make([]byte, tt.write); ; {
						if _, err := c.Write(b); err != nil {
							return
						}
					}
				}()
				w.sleep(time.Second)
				before := w.net.Stats(c.LocalAddr(), s.LocalAddr()).SentBytes
				w.sleep(seconds * time.Second)
				got := float64(w.net.Stats(c.LocalAddr(), s.LocalAddr()).SentBytes-before) / seconds
				if want := float64(tt.rate); got < 0.98*want || got > 1.02*want {
					t.Errorf("sent %.0f bytes a second, limit %.0f: %+.1f%%", got, want, 100*(got/want-1))
				}
				c.SetRateLimit(0)
				closeAll(c, s)
			})
		})
	}
}

func TestSetMtuLive(t *testing.T) {
	for _, tt := range []struct {
		crypt    string
		shards   int
		overhead int
	}{{"plain", 0, 0}, {"plain", 3, 8}, {"aes", 3, 28}, {"gcm", 3, 36}} {
		t.Run(fmt.Sprintf("%s/fec=%d", tt.crypt, tt.shards), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond, Loss: 0.05}, func(w *world) {
				c, s := w.pair(w.config(newCrypt(t, tt.crypt), tt.shards, tt.shards))
				hurry(64, c, s)
				for _, mtu := range []int{1500, 100, 1400, 300, 61 + tt.overhead, 1000} {
					if !c.SetMtu(mtu) || !s.SetMtu(mtu) {
						t.Fatalf("MTU %d refused", mtu)
					}
					w.limitMtu(mtu)
					w.check(exchange(c, s, mtu*40))
					w.settle()
				}
				least := IKCP_OVERHEAD + tt.overhead
				for _, mtu := range []int{1501, least, 0, -1, math.MaxInt} {
					if c.SetMtu(mtu) {
						t.Errorf("MTU %d accepted", mtu)
					}
				}
				if !c.SetMtu(least + 1) {
					t.Errorf("MTU %d refused", least+1)
				}
				w.limitMtu(1000)
				c.Write([]byte("byte by byte"))
				_, err := io.ReadFull(s, make([]byte, 12))
				w.check(err)
				closeAll(c, s)
			})
		})
	}
}

func TestSetWindowSizeLive(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond, Loss: 0.02}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		hurry(32, c, s)
		stop := make(chan bool)
		go func() {
			defer close(stop)
			for _, n := range []int{1, 1000, 2, 100_000, -1, 0, 5, 300, 1, 64} {
				time.Sleep(200 * time.Millisecond)
				c.SetWindowSize(n, 1000-n)
				s.SetWindowSize(n, n)
			}
		}()
		w.check(exchange(c, s, 5_000_000))
		<-stop
		closeAll(c, s)
	})
}

func TestDamagedDatagrams(t *testing.T) {
	for _, crypt := range crypts[1:] {
		t.Run(crypt.name, func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				c, s := w.pair(w.config(newCrypt(t, crypt.name), 3, 2))
				hurry(64, c, s)
				r := rand.New(rand.NewPCG(1, 2))
				damaged := uint64(0)
				w.watch(func(_, _ netip.AddrPort, b []byte) bool {
					if r.IntN(4) == 0 {
						damaged++
						for _, i := range r.Perm(len(b) * 8)[:100] {
							b[i/8] ^= 1 << (i % 8)
						}
					}
					return true
				})
				w.check(exchange(c, s, 100_000))
				w.settle()
				if n := w.snmp.Copy().InCsumErrors; n != damaged || n == 0 {
					t.Errorf("%d datagrams were damaged, %d counted", damaged, n)
				}
				closeAll(c, s)
			})
		})
	}
}

func TestCounters(t *testing.T) {
	path := netem.Path{Delay: 10 * time.Millisecond, Loss: 0.05, Duplicate: 0.05}
	virtual(t, path, func(w *world) {
		const size = 200_000
		c, s := w.pair(w.config(nil, 10, 3))
		hurry(64, c, s)
		w.check(exchange(c, s, size))
		w.settle()
		got, want := w.snmp.Copy(), w.net.Total()
		const hello = 5 // both ends have said it
		for _, x := range []struct {
			name      string
			got, want uint64
		}{
			{"OutPkts", got.OutPkts, want.Sent},
			{"OutBytes", got.OutBytes, want.SentBytes},
			{"InPkts", got.InPkts, want.Delivered},
			{"InBytes", got.InBytes, want.DeliveredBytes},
			{"BytesSent", got.BytesSent, 2 * (size + hello)},
			{"BytesReceived", got.BytesReceived, 2 * (size + hello)},
			{"ActiveOpens", got.ActiveOpens, 1},
			{"PassiveOpens", got.PassiveOpens, 1},
			{"CurrEstab", got.CurrEstab, 2},
			{"MaxConn", got.MaxConn, 2},
			{"InErrs", got.InErrs, 0},
			{"InCsumErrors", got.InCsumErrors, 0},
			{"KCPInErrors", got.KCPInErrors, 0},
			{"FECErrs", got.FECErrs, 0},
			{"OutErrs", got.OutErrs, 0},
		} {
			if x.got != x.want {
				t.Errorf("%s = %d, want %d", x.name, x.got, x.want)
			}
		}
		for name, n := range map[string]uint64{
			"RetransSegs": got.RetransSegs, "RepeatSegs": got.RepeatSegs, "FECRecovered": got.FECRecovered,
			"FECParityShards": got.FECParityShards,
		} {
			if n == 0 {
				t.Errorf("%s = 0", name)
			}
		}
		closeAll(c, s)
		if n := w.snmp.Copy().CurrEstab; n != 0 {
			t.Errorf("CurrEstab = %d after closing", n)
		}
	})
}
