package main

import (
	"fmt"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// fairnessScenarios returns those of flows out of the box through slow and fast bottlenecks, near and far,
// and of near and far ones side by side. The queue holds what arrives in the shortest round trip, 60 ms at
// least.
func fairnessScenarios() (all []scenario) {
	const ms, sec = time.Millisecond, time.Second
	ours := sharer{"kcp", kcpOpener(tuning{untuned: true})}
	cubic := sharer{"quic-go", quicOpen}
	tcp := func(control string) sharer { return sharer{"TCP " + control, tcpOpener(control)} }
	for _, rate := range []int64{5, 50} {
		for _, rtt := range []time.Duration{20 * ms, 200 * ms} {
			add := func(name string, apart time.Duration, floor float64, flows ...sharer) *scenario {
				all = append(all, scenario{
					Path:  fmt.Sprintf("fairness, %d MB/s, %v: %s", rate, rtt, name),
					floor: target{share: floor},
					net: emulation{
						there:  netem.Path{Delay: rtt / 2},
						back:   netem.Path{Delay: rtt / 2},
						shared: netem.Path{Bandwidth: rate * mb, Queue: int(rate * mb * int64(max(rtt, 60*ms)) / int64(sec))},
					},
					load: sharing{flows: flows, apart: apart, time: apart + 60*sec},
				})
				return &all[len(all)-1]
			}
			add("two kcp, 10 s apart", 10*sec, 0.4, ours, ours)
			add("five kcp, 5 s apart", 5*sec, 0, ours, ours, ours, ours, ours)
			add("kcp after CUBIC (quic-go)", 10*sec, 0.25, cubic, ours)
			add("CUBIC (quic-go) after kcp", 10*sec, 0.25, ours, cubic)
			add("two CUBIC (quic-go)", 10*sec, 0, cubic, cubic)
			add("kcp after TCP bbr", 10*sec, 0.25, tcp("bbr"), ours).tcp = []string{"bbr"}
			add("two TCP bbr", 10*sec, 0, tcp("bbr"), tcp("bbr")).tcp = []string{"bbr"}
			if rtt == 20*ms {
				for _, flow := range []sharer{ours, cubic} {
					s := add(fmt.Sprintf("two %s, one of 200 ms", flow.name), 10*sec, 0, flow, flow)
					s.net.farther = []time.Duration{90 * ms}
				}
			}
		}
	}
	return all
}
