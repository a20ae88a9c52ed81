package kcp

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// swift returns the configuration of a session with FEC 10/3 and the fastest timing, for messages.
func (w *world) swift() *config {
	cfg := w.config(nil, 10, 3)
	cfg.noDelay, cfg.ackNoDelay, cfg.sndWnd, cfg.rcvWnd = [4]int{1, 10, 2, 0}, true, 1024, 1024
	return cfg
}

// wire counts the bytes of the datagrams that c sends, and its REPs.
type wireCount struct{ bytes, reps, parity, pushes int }

func (w *world) countWire(c *UDPSession) *wireCount {
	n := new(wireCount)
	w.watch(func(from, _ netip.AddrPort, b []byte) bool {
		if from.String() != c.LocalAddr().String() {
			return true
		}
		n.bytes += len(b)
		if h, ok := parseFEC(b); ok && h.kind == fecTypeParity {
			n.parity++
			return true
		}
		for _, h := range segmentsOf(b) {
			switch h.cmd {
			case cmdREP:
				n.reps++
			case IKCP_CMD_PUSH:
				n.pushes++
			}
		}
		return true
	})
	return n
}

// Messages over a path that loses come in about a round trip, for a few bytes more, as losses are rebuilt
// before a retransmission could be there.
func TestRepairsShortenTheTail(t *testing.T) {
	for _, c := range []struct {
		loss float64
		p99  time.Duration
		wire float64 // bytes sent for each
	}{
		{0, 31 * ms, 1.06},
		{0.01, 78 * ms, 1.24},
		{0.05, 80 * ms, 1.46},
		{0.1, 90 * ms, 1.65},
		{0.2, 112 * ms, 1.85},
		{0.3, 140 * ms, 2.12},
	} {
		t.Run(fmt.Sprintf("loss=%v", c.loss), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 30 * ms, Loss: c.loss}, func(w *world) {
				client, server := w.pair(w.swift())
				w.metered(client, server, 500, 500, 10*ms) // the loss is known
				n, sent := lighter(6000, 1000), w.countWire(client)
				took := p99(w.metered(client, server, n, 500, 10*ms))
				w.net.SetTap(nil)
				wire := float64(sent.bytes) / float64(500*n)
				t.Logf("99%% within %v, wire %.2f, %d repairs, %d rebuilt, %d sent again, %d spurious",
					took, wire, sent.reps, server.Stats().FECRecovered, client.Stats().Resent, client.Stats().Spurious)
				if most := lighter(c.p99, c.p99*6/5); took > most || wire > c.wire {
					t.Errorf("99%% within %v for %.2f, want %v for %.2f", took, wire, most, c.wire)
				}
				if c.loss == 0 && sent.reps > 0 || sent.parity > 0 {
					t.Errorf("%d repairs, %d parity shards", sent.reps, sent.parity)
				}
				closeAll(client, server)
			})
		})
	}
}

// What is written at once after a pause has repairs from its first segment on, as many as its losses need.
func TestRepairsOfTransfers(t *testing.T) {
	for _, c := range []struct {
		messages int // of 1250 bytes
		loss     float64
		mean     time.Duration
		wire     float64
	}{
		{8, 0.05, 36 * ms, 1.45},
		{80, 0.05, 50 * ms, 1.22},
		{80, 0.01, 44 * ms, 1.1},
	} {
		virtual(t, netem.Path{Delay: 30 * ms, Loss: c.loss}, func(w *world) {
			client, server := w.pair(w.swift())
			w.metered(client, server, 500, 1250, 10*ms) // the loss is known
			sent, mean := w.countWire(client), time.Duration(0)
			n := lighter(150, 40)
			for range n {
				w.sleep(2 * time.Second)
				took := w.metered(client, server, c.messages, 1250, 0)
				mean += took[len(took)-1] / time.Duration(n)
			}
			w.net.SetTap(nil)
			wire := float64(sent.bytes) / float64(1250*n*c.messages)
			t.Logf("%d KB, %v lost: %v on average, for %.2f bytes a byte", c.messages*1250/1000, c.loss, mean, wire)
			if mean > lighter(c.mean, c.mean*5/4) || wire > lighter(c.wire, c.wire*1.1) {
				t.Errorf("want %v for %.2f", c.mean, c.wire)
			}
			client.mu.Lock()
			if p := client.core.repairs.path.estimate(clock(), 0); p < c.loss/2 || p > 2*c.loss {
				t.Errorf("%.4f reported, %.4f lost", p, c.loss)
			}
			client.mu.Unlock()
			closeAll(client, server)
		})
	}
}

// Nothing is kept for repairs that do not come any more.
func TestRepairsOverdue(t *testing.T) {
	virtual(t, netem.Path{Delay: 30 * ms}, func(w *world) {
		c, s := w.pair(w.swift())
		c.SetMinParity(3)
		w.metered(c, s, 200, 500, 10*ms)
		keeps := func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.core.decoder != nil
		}
		if !keeps() {
			t.Error("no symbols are kept while repairs come")
		}
		c.SetMinParity(0)
		w.metered(c, s, 2*repairsOverdue, 500, 10*ms)
		if keeps() {
			t.Error("symbols are kept, and no repair has come for long")
		}
		closeAll(c, s)
	})
}

// What was rebuilt is no reordering, and no spurious loss; the congestion control is told of it.
func TestRebuiltIsNoReordering(t *testing.T) {
	virtual(t, netem.Path{Delay: 30 * ms}, func(w *world) {
		cfg, cc := w.swift(), new(steady)
		cfg.congestion = func() CongestionControl { return cc }
		c, s := w.join(cfg, w.swift())
		w.metered(c, s, 100, 500, 10*ms) // now they are known to take repairs
		random, lost, rebuilt := seeded(testSeed, 4), 0, 0
		w.watch(func(from, _ netip.AddrPort, b []byte) bool {
			there := from.Addr() == netip.MustParseAddr("10.0.0.1")
			gone := there && random.Float64() < 0.1
			for _, h := range segmentsOf(b) {
				switch {
				case h.cmd == IKCP_CMD_ACK && h.frg&capRebuilt != 0:
					rebuilt++
				case gone && (h.cmd == IKCP_CMD_PUSH || h.cmd == cmdREP):
					lost += IKCP_OVERHEAD + int(h.len)
				}
			}
			return !gone
		})
		w.metered(c, s, lighter(3000, 1000), 500, 10*ms)
		c.mu.Lock()
		defer c.mu.Unlock()
		k := c.core
		t.Logf("%d bytes lost, %d told, %d marked acknowledgements, reordering window %v", lost, cc.lost, rebuilt, time.Duration(k.loss.reorder))
		if k.loss.reorder != 0 || k.loss.spurious != 0 {
			t.Errorf("reordering window %v, %d spurious losses", time.Duration(k.loss.reorder), k.loss.spurious)
		}
		if d := cc.lost - lost; d > lost/10 || d < -lost/10 {
			t.Errorf("the controller was told of %d bytes of %d", cc.lost, lost)
		}
		if rebuilt == 0 {
			t.Error("nothing is marked")
		}
		w.net.SetTap(nil)
		go closeAll(c, s)
	})
}

// A segment that was rebuilt and then arrives after all was no loss.
func TestLateAfterRebuilt(t *testing.T) {
	virtual(t, netem.Path{Delay: 30 * ms, Reorder: 0.05, ReorderDelay: 40 * ms}, func(w *world) {
		cfg, cc := w.swift(), new(steady)
		cfg.congestion, cfg.fecMin = func() CongestionControl { return cc }, 5
		c, s := w.join(cfg, w.swift())
		w.metered(c, s, 2000, 500, 10*ms)
		w.awaitIdle()
		if s.Stats().FECRecovered == 0 {
			t.Error("nothing was rebuilt")
		}
		if cc.spurious < cc.lost*95/100 {
			t.Errorf("%d bytes of %d are taken back", cc.spurious, cc.lost)
		}
		closeAll(c, s)
	})
}

// Peers that do not take repairs get block groups as ever, and neither a REP nor a REPORT.
func TestNoRepairsToOthers(t *testing.T) {
	for _, caps := range []uint8{0, capMark | capFIN} {
		virtual(t, netem.Path{Delay: 20 * ms, Loss: 0.1}, func(w *world) {
			theirs := w.swift()
			theirs.caps = caps
			c, s := w.join(w.swift(), theirs)
			parity := 0
			w.watch(func(from, to netip.AddrPort, b []byte) bool {
				if h, ok := parseFEC(b); ok {
					if h.kind == fecTypeParity {
						parity++
						return true
					}
					b = b[fecHeaderSize:]
				}
				for _, h := range segmentsOf(b) {
					if h.cmd > cmdRST || h.cmd == IKCP_CMD_ACK && h.frg&capRebuilt != 0 {
						t.Errorf("sent %+v", h)
					}
				}
				return true
			})
			w.metered(c, s, 1000, 500, 10*ms)
			if parity == 0 {
				t.Error("no parity")
			}
			closeAll(c, s)
		})
	}
}

// What a REPORT says is what the path loses, whatever happens to acknowledgements, to the order of
// arrival, and to what is lost together.
func TestReportedLoss(t *testing.T) {
	for _, c := range []struct {
		what        string
		there, back netem.Path
		loss        float64
	}{
		{"nothing", netem.Path{}, netem.Path{}, 0},
		{"1%", netem.Path{Loss: 0.01}, netem.Path{}, 0.01},
		{"0.1%", netem.Path{Loss: 0.001}, netem.Path{}, 0.001},
		{"10%", netem.Path{Loss: 0.1}, netem.Path{}, 0.1},
		{"20%, half of the acknowledgements, and jitter", netem.Path{Loss: 0.2, Jitter: 20 * ms}, netem.Path{Loss: 0.5, Jitter: 20 * ms}, 0.2},
		{"40%", netem.Path{Loss: 0.4}, netem.Path{Loss: 0.1}, 0.4},
		{"5%, and half of the acknowledgements", netem.Path{Loss: 0.05}, netem.Path{Loss: 0.5}, 0.05},
		{"5% and jitter", netem.Path{Loss: 0.05, Jitter: 40 * ms}, netem.Path{Jitter: 40 * ms}, 0.05},
		{"acknowledgements", netem.Path{}, netem.Path{Loss: 0.3}, 0},
		{"bursts of 5, 5%", netem.Path{Burst: netem.Burst{Enter: 0.0105, Leave: 0.2}}, netem.Path{}, 0.05},
	} {
		t.Run(c.what, func(t *testing.T) {
			virtual(t, netem.Path{Delay: 30 * ms}, func(w *world) {
				cfg := w.swift()
				cfg.fecMin = 1              // there are always some
				cfg.user = int64(time.Hour) // a burst may take every retransmission of a minute
				client, server := w.join(cfg, w.swift())
				c.there.Delay, c.back.Delay = 30*ms, 30*ms
				w.check(w.net.SetPath(client.LocalAddr(), server.LocalAddr(), c.there))
				w.check(w.net.SetPath(server.LocalAddr(), client.LocalAddr(), c.back))
				mean, n := 0.0, lighter(60, 12)
				w.metered(client, server, 300, 300, 10*ms)
				for range n {
					w.metered(client, server, 100, 300, 10*ms)
					client.mu.Lock()
					p := &client.core.repairs.path
					mean += max(p.estimate(clock(), 0), 0) / float64(n)
					if !p.known {
						t.Error("no REPORT")
					}
					client.mu.Unlock()
				}
				t.Logf("%.4f", mean)
				share := 0.2
				if c.there.Burst != (netem.Burst{}) {
					share = 0.4
				}
				if e := mean - c.loss; e > 0.003+c.loss*share || e < -0.003-c.loss*share {
					t.Errorf("%.4f reported, %.4f lost", mean, c.loss)
				}
				closeAll(client, server)
			})
		})
	}
}

// What is read is what was written, whatever the path does, with all sizes, modes and ciphers.
func TestRepairsKeepTheStream(t *testing.T) {
	for i, cipher := range []string{"plain", "aes", "gcm"} {
		for _, stream := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/stream=%t", cipher, stream), func(t *testing.T) {
				random := seeded(testSeed, uint64(i))
				path := netem.Path{
					Delay: 20 * ms, Jitter: time.Duration(random.IntN(30)) * ms, Loss: 0.05 + 0.2*random.Float64(), Duplicate: 0.02, Reorder: 0.02,
					Burst: netem.Burst{Enter: 0.005, Leave: 0.3},
				}
				virtual(t, path, func(w *world) {
					cfg := w.config(newCrypt(t, cipher), 10, 3)
					cfg.noDelay, cfg.stream = [4]int{1, 10, 2, 0}, stream
					c, s := w.pair(cfg)
					back := make(chan error, 1)
					go func() { back <- writeMixed(s, c, rand.New(random), lighter(1500, 300)) }()
					w.check(writeMixed(c, s, seeded(testSeed, 99), lighter(1500, 300)))
					w.check(<-back)
					if a, b := c.Stats(), s.Stats(); a.FECRecovered == 0 || b.FECRecovered == 0 {
						t.Errorf("%d and %d rebuilt", a.FECRecovered, b.FECRecovered)
					}
					if n := w.snmp.Copy(); n.FECErrs > 0 || n.KCPInErrors > 0 {
						t.Errorf("%d and %d errors", n.FECErrs, n.KCPInErrors)
					}
					closeAll(c, s)
				})
			})
		}
	}
}

// writeMixed writes messages of all sizes, some close together and some not, then the end of the stream,
// and compares what is read.
func writeMixed(from, to *UDPSession, random *rand.Rand, n int) error {
	want, got, failed := sha256.New(), sha256.New(), make(chan error, 1)
	go func() {
		for range n {
			b := make([]byte, 1+random.IntN(1+random.IntN(4000)))
			for i := range b {
				b[i] = byte(random.Uint32())
			}
			want.Write(b)
			if _, err := from.Write(b); err != nil {
				failed <- err
				return
			}
			if random.IntN(3) > 0 {
				time.Sleep(time.Duration(random.IntN(20)) * ms)
			}
		}
		failed <- from.CloseWrite()
	}()
	to.SetReadDeadline(time.Now().Add(patience()))
	_, err := io.CopyBuffer(struct{ io.Writer }{got}, struct{ io.Reader }{to}, make([]byte, 64<<10))
	err = errors.Join(err, <-failed)
	if err == nil && [32]byte(want.Sum(nil)) != [32]byte(got.Sum(nil)) {
		err = errors.New("arrived changed")
	}
	return err
}

// Repairs are as long as a datagram may be at most, also of segments of full size.
func TestRepairsFitTheMTU(t *testing.T) {
	for _, cipher := range []string{"plain", "gcm"} {
		for _, mtu := range []int{1400, 1500, 200} {
			virtual(t, netem.Path{Delay: 20 * ms, Loss: 0.05}, func(w *world) {
				cfg := w.config(newCrypt(t, cipher), 10, 3)
				cfg.noDelay, cfg.mtu = [4]int{1, 10, 2, 0}, mtu
				c, s := w.pair(cfg)
				w.limitMtu(mtu)
				w.check(exchange(c, s, lighter(1_000_000, 200_000)))
				if s.Stats().FECRecovered == 0 {
					t.Errorf("%s, %d: nothing was rebuilt", cipher, mtu)
				}
				closeAll(c, s)
			})
		}
	}
}

// Datagrams become shorter in mid-session: what was cut before is covered as far as it fits.
func TestRepairsShorterMTU(t *testing.T) {
	virtual(t, netem.Path{Delay: 20 * ms, Loss: 0.1}, func(w *world) {
		c, s := w.pair(w.swift())
		w.metered(c, s, 200, 1200, 10*ms)
		go func() {
			time.Sleep(time.Second)
			if !c.SetMtu(700) {
				t.Error("the MTU is refused")
			}
		}()
		before := s.Stats().FECRecovered
		w.check(writeMixed(c, s, seeded(testSeed, 98), lighter(800, 300)))
		if n := s.Stats().FECRecovered - before; n < 30 {
			t.Errorf("%d rebuilt", n)
		}
		closeAll(c, s)
	})
}

// What repairs need is given back when there are none any more.
func TestRepairMemory(t *testing.T) {
	virtual(t, netem.Path{Delay: 20 * ms, Loss: 0.1}, func(w *world) {
		c, s := w.pair(w.swift())
		w.metered(c, s, 500, 500, 10*ms)
		s.mu.Lock()
		if s.core.decoder == nil {
			t.Error("no decoder")
		}
		s.mu.Unlock()
		w.sleep(5 * time.Second)
		for _, x := range []*UDPSession{c, s} {
			x.mu.Lock()
			if r := &x.core.repairs; x.core.decoder != nil || r.list != nil || x.core.unreliable().history.ring != nil {
				t.Error("memory is held")
			}
			x.mu.Unlock()
		}
		w.metered(c, s, 500, 500, 10*ms)
		closeAll(c, s)
	})
}

// A repair that asks for an answer ends what the loss of the last acknowledgement has begun.
func TestRepairAsksForAnAnswer(t *testing.T) {
	virtual(t, netem.Path{Delay: 20 * ms}, func(w *world) {
		c, s := w.pair(w.swift())
		c.SetMinParity(3)
		w.metered(c, s, 200, 500, 10*ms)
		acks, begun := 0, time.Now()
		w.carriedSegments(func(from netip.Addr, h *header, _ []byte) bool {
			if from == netip.MustParseAddr("10.0.0.2") && h.cmd == IKCP_CMD_ACK && acks < 3 {
				acks++
				return false
			}
			return true
		})
		w.metered(c, s, 1, 500, 10*ms)
		for c.Stats().Unacknowledged > 0 && time.Since(begun) < time.Minute {
			w.sleep(ms)
		}
		if took := time.Since(begun); took > 500*ms {
			t.Errorf("acknowledged after %v", took)
		}
		w.net.SetTap(nil)
		closeAll(c, s)
	})
}

// A peer that turns out to be another one gets groups with parity until it has said that it takes repairs.
func TestRepairsEndWithThePeer(t *testing.T) {
	virtual(t, netem.Path{Delay: 20 * ms, Loss: 0.05}, func(w *world) {
		c, s := w.pair(w.swift())
		state := func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.repairing
		}
		w.metered(c, s, 200, 500, 10*ms)
		if !state() {
			t.Error("no repairs")
		}
		c.mu.Lock()
		c.core.params.forget()
		c.core.forgetRepairs()
		c.mu.Unlock()
		sent := w.countWire(c)
		if _, err := c.Write(make([]byte, 500)); err != nil {
			t.Fatal(err)
		}
		if state() || sent.reps > 0 {
			t.Errorf("repairs %t, %d sent", state(), sent.reps)
		}
		s.Read(make([]byte, 500))
		w.metered(c, s, 500, 500, 10*ms)
		if !state() || sent.reps == 0 {
			t.Errorf("repairs %t, %d sent", state(), sent.reps)
		}
		closeAll(c, s)
	})
}

// Repairs cost a transfer little, and do not deceive the congestion control, also where jitter lets segments
// overtake each other by the hundred.
func TestRepairsBesideBulk(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		cfg := w.config(nil, 10, 3)
		cfg.noDelay = [4]int{1, 10, 2, 0}
		rate := scaled(4_000_000)
		b := w.bulk(cfg, "10.0.0.2:2000", netem.Path{Delay: 75 * ms, Jitter: 70 * ms, Loss: 0.01, Bandwidth: rate, Queue: int(rate / 20)})
		b.sleep(5 * time.Second)
		b.want("with repairs", 10*time.Second, 0.82*float64(rate), 1.2)
		b.close()
	})
}
