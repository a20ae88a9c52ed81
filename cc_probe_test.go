package kcp

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// Sessions that begin together, over equal paths, do not probe for bandwidth together: else those that
// share a link would find it full each time.
func TestProbesOutOfStep(t *testing.T) {
	newBBRs := func(cfg *config) { cfg.congestion = NewBBR }
	for _, c := range []struct {
		name  string
		conv  uint32 // 0 for one that is drawn at random, as Dial does
		apart time.Duration
		set   func(cfg *config)
		start func(s *UDPSession)
	}{
		{"default", 0, 0, nil, nil},
		{"one conversation id", 7, 100 * time.Nanosecond, nil, nil},
		{"Settings.Congestion", 7, 0, newBBRs, nil},
		{"SetCongestionControl", 7, 0, nil, func(s *UDPSession) { s.SetCongestionControl(NewBBR()) }},
		{"SetCongestionControl(nil)", 0, 0, newBBRs, func(s *UDPSession) { s.SetCongestionControl(nil) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			virtual(t, netem.Path{Delay: 20 * time.Millisecond, Bandwidth: 200_000, Queue: 20_000}, func(w *world) {
				loads, listeners := make([]*load, 4), make([]*Listener, 4)
				for i := range loads {
					cfg := w.config(nil, 0, 0)
					if c.set != nil {
						c.set(cfg)
					}
					l := w.listen(cfg, fmt.Sprintf("10.0.0.2:%d", 2000+i))
					conv := c.conv
					if conv == 0 {
						conv = w.convs.next()
					}
					s := cfg.dial(conv, l.Addr(), newSocket(w.bind("10.0.0.1:0"), true))
					if c.start != nil {
						c.start(s)
					}
					s.Write([]byte("hello"))
					loads[i], listeners[i] = &load{world: w, s: s}, l
					w.sleep(c.apart)
				}
				for i, l := range listeners {
					peer, err := l.AcceptKCP()
					w.check(err)
					w.check(l.Close())
					loads[i] = w.load(loads[i].s, peer)
					defer loads[i].end()
				}
				w.sleep(3 * time.Second)
				if share := w.probedTogether(loads); share > 0.5 {
					t.Errorf("%.0f%% of the time that one probes, another does", 100*share)
				} else {
					t.Logf("%.0f%% of the time that one probes, another does", 100*share)
				}
			})
		})
	}
}

// probedTogether returns which share of the time that one session probes another one does, too: for a
// pair, on average.
func (w *world) probedTogether(loads []*load) float64 {
	rates := make([][]int64, len(loads))
	for range 1200 {
		w.sleep(10 * time.Millisecond)
		for i, l := range loads {
			rates[i] = append(rates[i], l.s.Stats().PacingRate)
		}
	}
	usual := make([]int64, len(loads))
	for i, r := range rates {
		usual[i] = slices.Sorted(slices.Values(r))[len(r)/2]
	}
	probes := func(i, at int) bool { return rates[i][at]*20 > usual[i]*23 }
	one, both := 0, 0
	for i := range loads {
		for j := range loads {
			for at := range rates[i] {
				if i != j && probes(i, at) {
					one++
					if probes(j, at) {
						both++
					}
				}
			}
		}
	}
	if one == 0 {
		w.Error("none has probed")
	}
	return float64(both) / float64(max(one, 1))
}
