package kcp

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// metered sends numbered messages of size bytes, one each time every has passed, and fails if they
// do not arrive as they were sent. It returns how long each took.
func (w *world) metered(c, s *UDPSession, n, size int, every time.Duration) (took []time.Duration) {
	w.Helper()
	start, done := time.Now(), make(chan error, 1)
	go func() {
		b := make([]byte, size)
		for i := range uint32(n) {
			m, err := s.Read(b)
			if err == nil && (m != size || binary.LittleEndian.Uint32(b) != i) {
				err = fmt.Errorf("message %d arrived as %x, %d bytes", i, b[:min(m, 4)], m)
			}
			if err != nil {
				done <- err
				return
			}
			took = append(took, time.Since(start)-time.Duration(i)*every)
		}
		done <- nil
	}()
	b := make([]byte, size)
	for i := range uint32(n) {
		binary.LittleEndian.PutUint32(b, i)
		if _, err := c.Write(b); err != nil {
			w.Fatal(err)
		}
		w.sleep(every)
	}
	w.check(<-done)
	return took
}

// lossy makes both ways of the path between c and s lose a share of the datagrams.
func (w *world) lossy(c, s *UDPSession, delay time.Duration, loss float64) {
	w.Helper()
	path := netem.Path{Delay: delay, Loss: loss}
	w.check(w.net.SetPath(c.LocalAddr(), s.LocalAddr(), path))
	w.check(w.net.SetPath(s.LocalAddr(), c.LocalAddr(), path))
}

func (w *world) wantGroups(s *UDPSession, what string, data, parity int) {
	w.Helper()
	if st := s.Stats(); st.FECDataShards != data || st.FECParityShards != parity {
		w.Errorf("%s: groups of %d/%d, want %d/%d", what, st.FECDataShards, st.FECParityShards, data, parity)
	}
}

// Parity ends on a path that loses nothing, comes back with the first losses, and is kept as long
// as the path needs it.
func TestParityFollowsLoss(t *testing.T) {
	for _, peer := range []string{"ours", "deployed"} {
		t.Run(peer, func(t *testing.T) {
			delay, every, n := 10*time.Millisecond, time.Millisecond/2, 1000
			if raceEnabled { // a quarter of the messages in the same time
				delay, every, n = 4*delay, 4*every, n/4
			}
			virtual(t, netem.Path{Delay: delay}, func(w *world) {
				cfg := inGroups(w.config(nil, 10, 3))
				if peer == "deployed" {
					deployed(cfg)
				}
				c, s := w.pair(cfg)
				lowLatency(1024, c, s)
				w.wantGroups(c, "at first", 10, 3)
				w.metered(c, s, 14*n, 100, every)
				w.wantGroups(c, "without losses", 10, 0)

				w.lossy(c, s, delay, 0.1)
				before := c.Stats().Resent
				w.metered(c, s, 2000, 100, every)
				if st := c.Stats(); st.FECParityShards*4 < st.FECDataShards {
					t.Errorf("at 10%%: groups of %d/%d", st.FECDataShards, st.FECParityShards)
				}
				if n := c.Stats().Resent - before; n > lighter[uint64](130, 190) { // of some 200 lost
					t.Errorf("%d segments were sent again, want fewer until parity was back", n)
				}
				before = c.Stats().Resent
				w.metered(c, s, 20*n, 100, every)
				if st := c.Stats(); st.FECParityShards*10 < 2*st.FECDataShards || st.Resent-before > uint64(lighter(n, n*5/4)) {
					t.Errorf("at 10%% groups of %d/%d, and %d of some %d losses sent again",
						st.FECDataShards, st.FECParityShards, st.Resent-before, 2*n)
				}

				w.lossy(c, s, delay, 0)
				w.metered(c, s, 60*n, 100, every)
				w.wantGroups(c, "without losses again", 10, 0)
				closeAll(c, s)
			})
		})
	}
}

// Where datagrams are sparse, groups of a peer that is one of ours are small enough for their
// parity to be there before a retransmission, and full ones again in a burst. Nothing is rebuilt
// wrongly meanwhile, whatever is lost.
func TestSparseGroupsAreSmall(t *testing.T) {
	for _, loss := range []float64{0, 0.1, 0.3} {
		t.Run(fmt.Sprintf("loss=%v", loss), func(t *testing.T) {
			const delay = 30 * time.Millisecond
			virtual(t, netem.Path{Delay: delay, Loss: loss}, func(w *world) {
				c, s := w.pair(inGroups(w.config(nil, 10, 3)))
				lowLatency(1024, c, s)
				for range lighter(20, 4) {
					w.metered(c, s, 200, 500, 10*time.Millisecond)
					if st := c.Stats(); st.FECDataShards == 10 {
						t.Errorf("groups of %d for messages every 10 ms", st.FECDataShards)
					}
					w.metered(c, s, 1500, 500, time.Millisecond)
					if st := c.Stats(); st.FECDataShards != 10 && loss < 0.3 { // there the last are sparse
						t.Errorf("groups of %d for messages every ms", st.FECDataShards)
					}
				}
				if loss > 0 && s.Stats().FECRecovered == 0 {
					t.Error("nothing was rebuilt")
				}
				if n := w.snmp.Copy().FECErrs; n > 0 {
					t.Errorf("%d FEC errors", n)
				}
				closeAll(c, s)
			})
		})
	}
}

// Small groups repair sparse messages before they are sent again.
func TestSparseGroupsRepair(t *testing.T) {
	const delay = 100 * time.Millisecond
	virtual(t, netem.Path{Delay: delay}, func(w *world) {
		c, s := w.pair(inGroups(w.config(nil, 10, 3)))
		c.SetMinParity(1)
		w.metered(c, s, 200, 500, 20*time.Millisecond) // groups are small, and proven
		w.lossy(c, s, delay, 0.02)
		before := s.Stats().FECRecovered
		w.metered(c, s, 2000, 500, 20*time.Millisecond)
		if n := s.Stats().FECRecovered - before; n < 24 {
			t.Errorf("%d of some 40 were rebuilt", n)
		}
		if n := c.Stats().Resent; n > 30 {
			t.Errorf("%d were sent again", n)
		}
		closeAll(c, s)
	})
}

// What parity does not bring is sent again as early as without parity: segments that are acknowledged
// late, as they were rebuilt, do not delay the timeouts of others.
func TestParityDelaysNoTimeout(t *testing.T) {
	const delay = 30 * time.Millisecond
	for loss, most := range map[float64]time.Duration{0.1: 116 * ms, 0.2: 178 * ms} {
		t.Run(fmt.Sprintf("loss=%v", loss), func(t *testing.T) {
			virtual(t, netem.Path{Delay: delay, Loss: loss}, func(w *world) {
				cfg := inGroups(w.config(nil, 10, 3))
				cfg.noDelay, cfg.ackNoDelay = [4]int{1, 10, 2, 0}, true
				c, s := w.pair(cfg)
				w.metered(c, s, 500, 500, 10*time.Millisecond)
				took := p99(w.metered(c, s, lighter(6000, 2000), 500, 10*time.Millisecond))
				t.Logf("99%% within %v, %d sent again", took, c.Stats().Resent)
				if took > most {
					t.Errorf("99%% take up to %v, want %v", took, most)
				}
				closeAll(c, s)
			})
		})
	}
}

// MinParity bounds what is left of parity; all of it keeps groups as they are set.
func TestMinParity(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		c, s := w.pair(inGroups(w.config(nil, 10, 3)))
		lowLatency(1024, c, s)
		c.SetMinParity(1)
		w.metered(c, s, 14_000, 100, time.Millisecond/2)
		w.wantGroups(c, "at least 1", 10, 1)
		c.SetMinParity(3)
		w.metered(c, s, 2000, 100, 10*time.Millisecond)
		w.wantGroups(c, "at least 3", 10, 3)
		for _, n := range []int{-1, 4} {
			if c.SetMinParity(n) == nil {
				t.Errorf("%d shards of 3 were taken", n)
			}
		}
		c.SetMinParity(0)
		w.metered(c, s, 2000, 100, 10*time.Millisecond)
		w.wantGroups(c, "at least 0, sparse", 4, 0)
		closeAll(c, s)
	})
	for _, s := range []Settings{
		{DataShards: 10, ParityShards: 3, MinParity: -1},
		{DataShards: 10, ParityShards: 3, MinParity: 4},
		{MinParity: 1},
	} {
		if _, err := s.resolve(); err == nil {
			t.Errorf("%+v was taken", s)
		}
	}
}

// No group is shaped so that it has a larger share of parity than was set.
func TestGroupSizes(t *testing.T) {
	for data := 1; data <= 40; data += lighter(1, 9) {
		for parity := 1; parity <= 20; parity += lighter(1, 4) {
			full := mustFECCode(t, data, parity)
			for gap := int64(100 * time.Microsecond); gap < int64(time.Second); gap = gap * 5 / 4 {
				c := newFECAdapter(full)
				c.gap = gap
				code := c.size(fecResizeInterval, full, int64(60*time.Millisecond))
				if code.data*parity < code.parity*data || code.data > data || code.parity > parity {
					t.Fatalf("%d/%d became %d/%d", data, parity, code.data, code.parity)
				}
			}
		}
	}
}
