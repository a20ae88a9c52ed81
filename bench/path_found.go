package main

import (
	"fmt"
	"io"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// foundScenarios returns those that control once failed on, as random paths showed. Each has the reason
// why it is there.
func foundScenarios() (all []scenario) {
	const ms = time.Millisecond
	fixed := tuning{stream: true, nodelay: [4]int{1, 10, 2, 0}, window: 1024}
	auto := tuning{untuned: true}
	lowLatency := tuning{stream: true, nodelay: [4]int{1, 10, 2, 0}}
	for _, p := range []struct {
		name        string // of the path
		there, back netem.Path
		tuning      tuning
		time        time.Duration
		floor, goal target
	}{
		// A sender that its window limits is not limited by the application, or startup never ends.
		{"12.5 MB/s, 200 ms, 0.2% lost, half a BDP of queue",
			netem.Path{Delay: 100 * ms, Bandwidth: 12_500_000, Queue: 1_250_000, Loss: 0.002}, netem.Path{Delay: 100 * ms},
			auto, 30 * time.Second, target{goodput: 11, wire: 1.08}, target{goodput: 11.8, wire: 1.04}},
		// Windows that follow the path have to hold what it does.
		{"125 MB/s, 200 ms, 0.2% lost",
			netem.Path{Delay: 100 * ms, Bandwidth: 125_000_000, Queue: 25_000_000, Loss: 0.002}, netem.Path{Delay: 100 * ms},
			auto, 10 * time.Second, target{goodput: 80}, target{goodput: 110}},
		// What jitter makes late is not lost, and the shortest round trip is not the path's.
		{"1.25 MB/s, 50 ms + 0 to 100 ms each way, 10% lost",
			netem.Path{Delay: 50 * ms, Jitter: 100 * ms, Bandwidth: 1_250_000, Queue: 125_000, Loss: 0.1},
			netem.Path{Delay: 50 * ms, Jitter: 100 * ms, Loss: 0.1},
			fixed, 60 * time.Second, target{goodput: 0.95, wire: 1.16}, target{goodput: 1.05, wire: 1.13}},
		// Few overtaken segments are not as many lost ones, with resend 2 as well.
		{"2 MB/s, a fifth 25 ms late",
			netem.Path{Delay: halfRTT, Bandwidth: 2 * mb, Queue: 120_000, Reorder: 0.2, ReorderDelay: 25 * ms},
			netem.Path{Delay: halfRTT},
			lowLatency, 30 * time.Second, target{goodput: 1.8, wire: 1.06}, target{goodput: 1.9, wire: 1.03}},
		// Where half of everything is lost, the other half is what the path carries.
		{"5 MB/s, 50% lost",
			netem.Path{Delay: halfRTT, Bandwidth: 5 * mb, Queue: 300_000, Loss: 0.5}, netem.Path{Delay: halfRTT, Loss: 0.5},
			fixed, 60 * time.Second, target{goodput: 1.2}, target{goodput: 2}},
		// Acknowledgements have to fit through a thin way back.
		{"10 MB/s, 60 KB/s back",
			netem.Path{Delay: halfRTT, Bandwidth: 10 * mb, Queue: 600_000}, netem.Path{Delay: halfRTT, Bandwidth: 60_000, Queue: 6_000},
			auto, 30 * time.Second, target{goodput: 9}, target{goodput: 9.6}},
		{"20 MB/s, 100 KB/s back",
			netem.Path{Delay: halfRTT, Bandwidth: 20 * mb, Queue: 1_200_000}, netem.Path{Delay: halfRTT, Bandwidth: 100_000, Queue: 10_000},
			auto, 30 * time.Second, target{goodput: 5.6}, target{}},
	} {
		add := func(transport string, open opener, floor, goal target) {
			all = append(all, scenario{
				Path: "found, " + p.name, Transport: transport, open: open,
				net: emulation{there: p.there, back: p.back}, load: bulkLoad{time: p.time}, floor: floor, goal: goal,
			})
		}
		add("kcp", kcpOpener(p.tuning), p.floor, p.goal)
		nc1 := p.tuning
		if nc1.untuned {
			nc1 = tuning{stream: true, window: 1024}
		}
		nc1.nodelay = [4]int{1, 10, 2, 1}
		add("kcp nc=1", kcpOpener(nc1), target{}, target{})
		add("quic-go", quicOpen, target{}, target{})
	}
	return append(all, answerScenarios()...)
}

// answerScenarios returns those of a large answer after a small one: what an application sends too slowly
// says nothing about the path, and the first round trips have to be large.
func answerScenarios() (all []scenario) {
	path := netem.Path{Delay: halfRTT, Bandwidth: 5 * mb, Queue: 300_000}
	for _, a := range []struct {
		size        int
		floor, goal float64
	}{{10_000, 66, 64}, {50_000, 130, 125}, {200_000, 210, 180}} {
		for _, t := range []sharer{{"kcp", kcpOpener(tuning{untuned: true})}, {"quic-go", quicOpen}} {
			s := scenario{
				Path: fmt.Sprintf("answers, %d KB after one byte", a.size/1000), Transport: t.name, open: t.open,
				net: emulation{there: path, back: path}, load: answerLoad{size: a.size},
			}
			if t.name == "kcp" {
				s.floor, s.goal = target{p99: a.floor}, target{p99: a.goal}
			}
			all = append(all, s)
		}
	}
	return all
}

// answerLoad is an answer of size bytes to a request, the first thing after the sessions' byte each way.
type answerLoad struct{ size int }

func (a answerLoad) shortened() load { return a }

func (a answerLoad) run(w *world, open opener) (r pathResult, err error) {
	c, err := w.dial(open, time.Minute)
	if err != nil {
		return r, err
	}
	wire := w.wire()
	failed := make(chan error, 1)
	go func() {
		request := make([]byte, 100)
		if _, err := io.ReadFull(c.near, request); err != nil {
			failed <- err
			return
		}
		_, err := c.near.Write(make([]byte, a.size))
		failed <- err
	}()
	begin := time.Now()
	if _, err := c.far.Write(make([]byte, 100)); err != nil {
		return r, err
	}
	if _, err := io.ReadFull(c.far, make([]byte, a.size)); err != nil {
		return r, err
	}
	took := time.Since(begin).Seconds() * 1000
	r.P50, r.P99, r.Mean = took, took, took
	wire(&r, int64(a.size))
	return r, <-failed
}

func (a answerLoad) heading() string { return "path\ttransport\tms\tfloor\tgoal\twire\tis at\t" }

func (a answerLoad) row(s scenario, r pathResult) string {
	return fmt.Sprintf("%s\t%.2f\t%s\t", against("%.0f", r.P99, s.floor.p99, s.goal.p99), r.Wire, s.verdict(r))
}
