package kcp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

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
							cfg := w.config(newCrypt(t, crypt.name), shards[0], shards[1])
							if !stream { // else repairs, of which bulk has none
								inGroups(cfg)
							}
							c, s := w.pair(cfg)
							lowLatency(128, c, s)
							for _, x := range []*UDPSession{c, s} {
								x.SetStreamMode(stream)
								x.SetMtu(mtu)
							}
							w.awaitIdle() // what the default MTU has cut is gone
							w.limitMtu(mtu)
							w.check(exchange(c, s, 50_000))
							if shards[0] > 0 && loss > 0.1 && !stream && w.snmp.Copy().FECRecovered == 0 {
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
					lowLatency(tt.wnd, c, s)
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
					lowLatency(wnd, c, s)
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
						cfgs[i] = inGroups(w.config(newCrypt(t, crypt), n[0], n[1]))
						cfgs[i].snmp = &counts[i]
					}
					c, s := w.join(cfgs[0], cfgs[1])
					lowLatency(256, c, s)
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
	seeds := lighter[uint64](60, 20)
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := seeded(seed, 12)
			counts := func() (data, parity int) { return 1 + r.IntN(12), 1 + r.IntN(4) }
			path := netem.Path{
				Delay: 10 * time.Millisecond, Jitter: time.Duration(r.IntN(4)) * time.Millisecond,
				Loss: float64(seed%7) * 0.05, Duplicate: 0.02,
			}
			virtualSeed(t, seed+testSeed-1, path, func(w *world) {
				var cfgs [2]*config
				for i := range cfgs {
					data, parity := counts()
					cfgs[i] = w.config(nil, data, parity)
				}
				c, s := w.join(cfgs[0], cfgs[1])
				lowLatency(128, c, s)
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
		lowLatency(4096, c, s)
		start := time.Now()
		w.check(carry(c, s, lighter(64<<20, 16<<20)))
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("took %v of virtual time", took)
		}
		if n := w.snmp.Copy().RetransSegs; n > 0 {
			t.Errorf("%d segments were sent again on a path without loss", n)
		}
		closeAll(c, s)
	})
}

func TestSessionNumbersWrap(t *testing.T) {
	for _, loss := range []float64{0, 0.1} {
		t.Run(fmt.Sprintf("loss=%v", loss), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond, Loss: loss}, func(w *world) {
				cfg := w.config(nil, 5, 2)
				c, s := w.pair(cfg)
				lowLatency(128, c, s)
				c.SetMinParity(2)
				s.SetMinParity(2)
				w.awaitIdle()
				start := cfg.fec.limit - 10*cfg.fec.shards()
				c.renumber(0xffffffff-100, 0x7fffffff-50, start)
				s.renumber(0x7fffffff-50, 0xffffffff-100, start)
				w.check(exchange(c, s, 500_000))
				if sn, seqid := c.numbers(); sn > 1000 || seqid > 5000 {
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
		lowLatency(64, c, s)
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

func TestDamagedDatagrams(t *testing.T) {
	for _, crypt := range crypts[1:] {
		t.Run(crypt.name, func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				c, s := w.pair(w.config(newCrypt(t, crypt.name), 3, 2))
				lowLatency(64, c, s)
				r := seeded(1, 2)
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
				w.awaitIdle()
				// A sealed one whose number was damaged may look like one that was received before.
				if c := w.snmp.Copy(); c.InCsumErrors+c.InReplays != damaged || c.InCsumErrors == 0 {
					n := c.InCsumErrors + c.InReplays
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
		lowLatency(64, c, s)
		w.check(exchange(c, s, size))
		w.awaitIdle()
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

// Where the two ends have different keys, each counts what it cannot open.
func TestDifferentKeys(t *testing.T) {
	for name, crypt := range map[string]func([]byte) (BlockCrypt, error){"gcm": NewAESGCMCrypt, "cfb": NewAESBlockCrypt} {
		t.Run(name, func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				here, err := crypt(random(1, 16))
				w.check(err)
				there, err := crypt(random(2, 16))
				w.check(err)
				l := w.listen(w.config(there, 0, 0), "10.0.0.2:2000")
				a := w.dial(w.config(here, 0, 0), l)
				a.Write([]byte("hello"))
				// A dialled session whose peer is one with another key, too.
				near, far := w.bind("10.0.0.3:0"), w.bind("10.0.0.4:0")
				b := w.config(here, 0, 0).dial(1, far.LocalAddr(), newSocket(near, true))
				c := w.config(there, 0, 0).dial(1, near.LocalAddr(), newSocket(far, true))
				b.Write([]byte("hello"))
				w.awaitIdle()
				if n := l.Stats().InvalidInputs; n == 0 || n != a.Stats().DatagramsSent {
					t.Errorf("the listener counts %d of %d", n, a.Stats().DatagramsSent)
				}
				if n := c.Stats().InvalidInputs; n == 0 || n != b.Stats().DatagramsSent {
					t.Errorf("the session counts %d of %d", n, b.Stats().DatagramsSent)
				}
				if n, want := w.snmp.Copy().InCsumErrors, l.Stats().InvalidInputs+c.Stats().InvalidInputs; n != want {
					t.Errorf("the process counts %d of %d", n, want)
				}
				for _, s := range []*UDPSession{a, b, c} {
					s.Abort()
				}
				l.Close()
			})
		})
	}
}
