package kcp

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// docs/tuning.md tells from which number a cause is known, and what helps. These tests are its rows: the
// number says so with the setting that hurts, and what is asked for becomes better without.

// tuningRun is what a session of such a test has come to.
type tuningRun struct {
	Stats
	peer    Stats
	goodput float64         // bytes a second, of bulk
	late    []time.Duration // of messages, sorted
}

func (r *tuningRun) p50() time.Duration { return r.late[len(r.late)/2] }
func (r *tuningRun) p99() time.Duration { return r.late[len(r.late)*99/100] }

// over is how many messages were later than that.
func (r *tuningRun) over(d time.Duration) int {
	i, _ := slices.BinarySearch(r.late, d+1)
	return len(r.late) - i
}

// limitedBy is the share of the time in which that was the limit.
func (r *tuningRun) limitedBy(limit SendLimit) float64 {
	return r.TimeLimited[limit].Seconds() / r.Age.Seconds()
}

func (r *tuningRun) String() string {
	late := ""
	if len(r.late) > 0 {
		late = fmt.Sprintf(", p50 %v, p99 %v, %d over 60 ms", r.p50(), r.p99(), r.over(60*time.Millisecond))
	}
	return fmt.Sprintf("%.0f KB/s%s, RTT %v, queue %v, resent %d of %d, lost fast %d, early %d, timeout %d, spurious %d, limits %v, unread %d of %d, wire %d for %d in %d",
		r.goodput/1e3, late, r.RTT, r.QueueingDelay, r.Resent, r.SegmentsSent, r.LostFast, r.LostEarly, r.LostTimeout, r.Spurious, r.TimeLimited, r.peer.Unread, r.peer.ReceiveWindow, r.WireBytesSent, r.BytesSent, r.DatagramsSent)
}

// tuningBulk carries as much as it can for that long. The peer reads at most so many bytes a second, 0 for all.
func (w *world) tuningBulk(s, peer *UDPSession, d time.Duration, reads int) (r tuningRun) {
	go func() {
		for b := make([]byte, 16<<10); ; {
			n, err := peer.Read(b)
			if err != nil {
				return
			}
			if reads > 0 {
				time.Sleep(time.Duration(n) * time.Second / time.Duration(reads))
			}
		}
	}()
	go func() {
		for b := make([]byte, 16<<10); ; {
			if _, err := s.Write(b); err != nil {
				return
			}
		}
	}()
	w.sleep(d)
	r.Stats, r.peer = s.Stats(), peer.Stats()
	r.goodput = float64(r.peer.BytesReceived) / d.Seconds()
	return r
}

// tuningMessages sends so many, of 100 bytes, one every 20 ms, and notes how late each is.
func (w *world) tuningMessages(s, peer *UDPSession, count int) (r tuningRun) {
	go func() {
		for range count {
			b := binary.LittleEndian.AppendUint64(nil, uint64(clock()))
			s.Write(append(b, make([]byte, 92)...))
			time.Sleep(20 * time.Millisecond)
		}
	}()
	b := make([]byte, 100)
	for range count {
		if _, err := io.ReadFull(peer, b); err != nil {
			w.Fatal(err)
		}
		r.late = append(r.late, time.Duration(clock()-int64(binary.LittleEndian.Uint64(b))))
	}
	slices.Sort(r.late)
	r.Stats, r.peer = s.Stats(), peer.Stats()
	return r
}

func TestTuning(t *testing.T) {
	const rate = 2_000_000
	clean := netem.Path{Delay: 30 * time.Millisecond, Bandwidth: rate, Queue: 120_000}
	deep, lossy, thin := clean, clean, netem.Path{Delay: 30 * time.Millisecond, Loss: 0.05}
	deep.Queue = 500_000
	lossy.Loss = 0.02
	bulk := func(w *world, s, peer *UDPSession) tuningRun { return w.tuningBulk(s, peer, 1500*time.Millisecond, 0) }
	for _, c := range []struct {
		name       string
		path       netem.Path
		run        func(w *world, s, peer *UDPSession) tuningRun
		hurt, help Settings // of both ends
		sign       func(r *tuningRun) bool
		better     func(hurt, help *tuningRun) bool
	}{
		{"send window", clean, bulk, Settings{SendWindow: 32}, Settings{},
			func(r *tuningRun) bool { return r.limitedBy(LimitSendWindow) > 0.25 && r.InFlight > 24 },
			func(hurt, help *tuningRun) bool { return help.goodput > 1.5*hurt.goodput }},
		{"receive window", clean, bulk, Settings{ReceiveWindow: 32}, Settings{},
			func(r *tuningRun) bool {
				return r.limitedBy(LimitPeerWindow) > 0.5 && r.PeerWindow <= 32 && 2*r.PeerWindow > r.MaxPeerWindow && r.peer.Unread < 16
			},
			func(hurt, help *tuningRun) bool { return help.goodput > 1.5*hurt.goodput }},
		{"slow reader", clean, func(w *world, s, peer *UDPSession) tuningRun {
			return w.tuningBulk(s, peer, 1500*time.Millisecond, 200_000)
		},
			Settings{}, Settings{},
			func(r *tuningRun) bool {
				return r.limitedBy(LimitPeerWindow) > 0.5 && 2*r.PeerWindow < r.MaxPeerWindow && r.peer.Unread > r.peer.ReceiveWindow/2
			}, nil},
		{"the path", clean, bulk, Settings{}, Settings{},
			func(r *tuningRun) bool {
				return r.limitedBy(LimitPacing) > 0.5 && r.DeliveryRate > rate*9/10 && r.DeliveryRate < rate*11/10
			}, nil},
		{"no congestion control", deep, bulk, Settings{Congestion: NewConservation, SendWindow: 1024}, Settings{},
			func(r *tuningRun) bool { return r.RTT > r.MinRTT*3/2 && r.Resent > r.SegmentsSent/20 },
			func(hurt, help *tuningRun) bool {
				return help.RTT < help.MinRTT*5/4 && help.Resent < hurt.Resent/4 && help.goodput > 0.9*hurt.goodput
			}},
		{"CUBIC and random loss", lossy, func(w *world, s, peer *UDPSession) tuningRun { return w.tuningBulk(s, peer, 3*time.Second, 0) },
			Settings{Congestion: NewCubic}, Settings{},
			func(r *tuningRun) bool {
				return r.limitedBy(LimitCongestionWindow) > 0.2 && r.Resent > 0 && r.QueueingDelay < 10*time.Millisecond
			},
			func(hurt, help *tuningRun) bool { return help.goodput > 3*hurt.goodput }},
		{"repair by retransmission", thin, func(w *world, s, peer *UDPSession) tuningRun { return w.tuningMessages(s, peer, 1000) },
			Settings{}, Settings{Profile: LowLatency},
			func(r *tuningRun) bool { return r.Resent > 0 && r.QueueingDelay < 5*time.Millisecond },
			func(hurt, help *tuningRun) bool {
				return help.over(60*time.Millisecond)*10 < hurt.over(60*time.Millisecond)*9
			}},
		{"repair by FEC", thin, func(w *world, s, peer *UDPSession) tuningRun { return w.tuningMessages(s, peer, 1000) },
			Settings{Profile: LowLatency}, Settings{Profile: LowLatency, DataShards: 10, ParityShards: 3},
			func(r *tuningRun) bool { return r.Resent > 0 && r.QueueingDelay < 5*time.Millisecond },
			func(hurt, help *tuningRun) bool {
				return help.over(60*time.Millisecond)*3 < hurt.over(60*time.Millisecond)*2 && help.peer.FECRecovered > 0
			}},
		{"write delay", clean, func(w *world, s, peer *UDPSession) tuningRun { return w.tuningMessages(s, peer, 200) },
			Settings{WriteDelay: true}, Settings{},
			func(r *tuningRun) bool { return r.Resent == 0 && r.QueueingDelay < 5*time.Millisecond },
			func(hurt, help *tuningRun) bool { return help.p50() < hurt.p50()-10*time.Millisecond }},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := func(set Settings) (r tuningRun) {
				virtual(t, c.path, func(w *world) {
					s, peer := w.pair(w.settle(set, PrivateKey{}))
					r = c.run(w, s, peer)
					s.Abort()
					peer.Abort()
				})
				return r
			}
			hurt := run(c.hurt)
			t.Logf("hurt: %v", &hurt)
			if !c.sign(&hurt) {
				t.Errorf("does not show: %v", &hurt)
			}
			if c.better == nil {
				return
			}
			help := run(c.help)
			t.Logf("help: %v", &help)
			if !c.better(&hurt, &help) {
				t.Errorf("does not help: %v, and then %v", &hurt, &help)
			}
		})
	}
}

// What hangs, and what it is known by.
func TestTuningHangs(t *testing.T) {
	path := netem.Path{Delay: 30 * time.Millisecond}
	t.Run("both write before they read", func(t *testing.T) {
		virtual(t, path, func(w *world) {
			s, peer := w.pair(w.config(nil, 0, 0))
			for _, end := range []*UDPSession{s, peer} {
				go func() { end.Write(make([]byte, 16<<20)) }()
			}
			w.sleep(30 * time.Second)
			for _, end := range []*UDPSession{s, peer} {
				st := end.Stats()
				if st.SendLimit != LimitPeerWindow || st.Unread < st.ReceiveWindow*9/10 || st.BytesQueued < 1<<20 || st.LastHeard > 2*time.Minute {
					t.Errorf("does not show: %+v", st)
				}
				end.Abort()
			}
		})
	})
	t.Run("the client says nothing", func(t *testing.T) {
		virtual(t, path, func(w *world) {
			cfg := w.config(nil, 0, 0)
			l := w.listen(cfg, "10.0.0.2:2000")
			s := w.dial(cfg, l)
			s.SetReadDeadline(time.Now().Add(10 * time.Second))
			_, err := s.Read(make([]byte, 1))
			wantTimeout(t, err)
			if st := s.Stats(); st.DatagramsSent > 0 || l.Stats().Opened > 0 {
				t.Errorf("%d datagrams made %d sessions", st.DatagramsSent, l.Stats().Opened)
			}
			closeAll(s, l)
		})
	})
	t.Run("another key", func(t *testing.T) {
		virtual(t, path, func(w *world) {
			other, err := NewAESGCMCrypt(random(9, 16))
			w.check(err)
			l := w.listen(w.config(newCrypt(t, "gcm"), 0, 0), "10.0.0.2:2000")
			s := w.dial(w.config(other, 0, 0), l)
			s.Write([]byte("hello"))
			w.sleep(10 * time.Second)
			st := s.Stats()
			if st.DatagramsReceived > 0 || st.LastHeard != st.Age || st.Unacknowledged == 0 || l.Stats().InvalidInputs == 0 {
				t.Errorf("does not show: %+v, %+v", st, l.Stats())
			}
			s.Abort()
			l.Close()
		})
	})
	t.Run("the peer vanishes", func(t *testing.T) {
		virtual(t, path, func(w *world) {
			s, peer := w.pair(w.config(nil, 0, 0))
			w.sleep(time.Second)
			vanish(w, s, peer)
			s.Write([]byte("are you there?"))
			w.sleep(30 * time.Second)
			if st := s.Stats(); st.LastHeard < 30*time.Second || st.LostTimeout == 0 || st.Unacknowledged == 0 {
				t.Errorf("does not show: %+v", st)
			}
			s.Abort()
			peer.Abort()
		})
	})
}

// What small writes cost, and what makes it less.
func TestTuningSmallWrites(t *testing.T) {
	run := func(set Settings) (st Stats) {
		virtual(t, netem.Path{Delay: 30 * time.Millisecond}, func(w *world) {
			s, peer := w.pair(w.settle(set, PrivateKey{}))
			go io.Copy(io.Discard, peer)
			for range 500 {
				s.Write(make([]byte, 20))
				time.Sleep(time.Millisecond)
			}
			w.awaitIdle()
			st = s.Stats()
			s.Abort()
			peer.Abort()
		})
		return st
	}
	hurt, help := run(Settings{}), run(Settings{WriteDelay: true, StreamMode: true, Timing: &Timing{NoDelay: true, Interval: 10 * time.Millisecond, Resend: 2}})
	if hurt.WireBytesSent < 2*hurt.BytesSent || help.DatagramsSent > hurt.DatagramsSent/5 || help.WireBytesSent > hurt.WireBytesSent*6/10 {
		t.Errorf("%d datagrams and %d bytes for %d, and then %d and %d",
			hurt.DatagramsSent, hurt.WireBytesSent, hurt.BytesSent, help.DatagramsSent, help.WireBytesSent)
	}
}
