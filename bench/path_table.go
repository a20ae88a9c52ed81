package main

import (
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

const (
	halfRTT = 30 * time.Millisecond
	mb      = 1_000_000
)

// scenarios returns all that the subcommand path measures.
func scenarios() []scenario {
	return slices.Concat(messageScenarios(), bulkScenarios(), foundScenarios(), changeScenarios(),
		sharingScenarios())
}

// messageScenarios returns those of 500 bytes every 10 ms over bad paths without a bottleneck.
func messageScenarios() (all []scenario) {
	lossy := func(p float64) netem.Path { return netem.Path{Delay: halfRTT, Loss: p} }
	jittery := func(ms time.Duration) netem.Path {
		return netem.Path{Delay: halfRTT, Loss: 0.10, Jitter: ms * time.Millisecond}
	}
	tuned := tuning{nodelay: [4]int{1, 10, 2, 1}, window: 1024, ackNoDelay: true}
	withFEC := tuned
	withFEC.data, withFEC.parity = 10, 3
	for _, p := range []struct {
		name           string
		path           netem.Path
		floor, goal    target
		fecFl, fecGoal target
	}{
		{"no loss", lossy(0), target{p99: 31, wire: 1.06}, target{p99: 31, wire: 1.05},
			target{p99: 30.5, wire: 1.06}, target{p99: 30.5, wire: 1.05}},
		{"1% lost", lossy(0.01), target{p99: 95, wire: 1.09}, target{p99: 80},
			target{p99: 78, wire: 1.23}, target{p99: 60, wire: 1.25}},
		{"5% lost", lossy(0.05), target{p99: 120, wire: 1.25}, target{p99: 95},
			target{p99: 80, wire: 1.44}, target{p99: 60, wire: 1.42}},
		{"10% lost", lossy(0.10), target{p99: 130, wire: 1.40}, target{p99: 100},
			target{p99: 80, wire: 1.63}, target{p99: 70, wire: 1.60}},
		{"20% lost", lossy(0.20), target{p99: 158, wire: 1.70}, target{p99: 145},
			target{p99: 112, wire: 1.83}, target{p99: 100, wire: 1.80}},
		{"30% lost", lossy(0.30), target{p99: 190, wire: 1.97}, target{p99: 175},
			target{p99: 132, wire: 2.10}, target{p99: 115, wire: 2.05}},
		{"jitter 0 to 20 ms", netem.Path{Delay: halfRTT, Jitter: 20 * time.Millisecond},
			target{p99: 50, wire: 1.06}, target{p99: 50, wire: 1.05}, target{}, target{}},
		{"10% lost, jitter 0 to 2 ms", jittery(2), target{}, target{}, target{}, target{}},
		{"10% lost, jitter 0 to 10 ms", jittery(10), target{}, target{}, target{}, target{}},
		{"bursts", netem.Path{Delay: halfRTT, Burst: burst}, target{}, target{},
			target{p99: 125, wire: 1.35}, target{p99: 120, wire: 1.28}},
		{"5% reordered", reordering(netem.Path{Delay: halfRTT}), target{}, target{}, target{}, target{}},
	} {
		add := func(transport string, open opener, floor, goal target) {
			all = append(all, scenario{
				Path: "messages, " + p.name, Transport: transport, open: open,
				net:   emulation{there: p.path, back: p.path},
				load:  messages{size: 500, every: 10 * time.Millisecond, count: 12_000},
				floor: floor, goal: goal,
			})
		}
		add("kcp", kcpOpener(tuned), p.floor, p.goal)
		add("kcp FEC 10/3", kcpOpener(withFEC), p.fecFl, p.fecGoal)
		add("kcp untuned", kcpOpener(tuning{untuned: true}), target{}, target{})
		add("quic-go", quicOpen, target{}, target{})
		all = append(all, overTCP(all[len(all)-1], messages{size: 500, every: 10 * time.Millisecond, count: 3000})...)
	}
	return append(all, repairScenarios(tuned, withFEC)...)
}

// repairScenarios returns those of video frames and of a longer path, where losses are rebuilt from
// repairs.
func repairScenarios(tuned, withFEC tuning) (all []scenario) {
	video := messages{size: 1200, every: 16 * time.Millisecond, count: 18_000, frame: 3}
	chat := messages{size: 500, every: 10 * time.Millisecond, count: 12_000}
	for _, p := range []struct {
		loss       float64
		video, far target // floors with FEC
	}{
		{0, target{p99: 30.5, wire: 1.04}, target{p99: 100.5, wire: 1.06}},
		{0.01, target{p99: 82, wire: 1.15}, target{p99: 240, wire: 1.17}},
		{0.05, target{p99: 82, wire: 1.34}, target{p99: 235, wire: 1.35}},
		{0.1, target{p99: 84, wire: 1.51}, target{p99: 250, wire: 1.52}},
		{0.2, target{p99: 108, wire: 1.78}, target{p99: 275, wire: 1.83}},
		{0.3, target{p99: 125, wire: 2.00}, target{p99: 335, wire: 2.10}},
	} {
		for _, transport := range []struct {
			name string
			open opener
			fec  bool
		}{{"kcp", kcpOpener(tuned), false}, {"kcp FEC 10/3", kcpOpener(withFEC), true}} {
			for _, l := range []struct {
				name  string
				delay time.Duration
				load  messages
				floor target
			}{{"frames", halfRTT, video, p.video}, {"messages, 200 ms", 100 * time.Millisecond, chat, p.far}} {
				path := netem.Path{Delay: l.delay, Loss: p.loss}
				s := scenario{
					Path: fmt.Sprintf("%s, %g%% lost", l.name, 100*p.loss), Transport: transport.name, open: transport.open,
					net: emulation{there: path, back: path}, load: l.load,
				}
				if transport.fec {
					s.floor = l.floor
				}
				all = append(all, s)
			}
		}
	}
	return all
}

// overTCP returns s over the kernel's TCP, with another load, as it takes real time.
func overTCP(s scenario, l load) (all []scenario) {
	for _, control := range []string{"cubic", "bbr"} {
		s.Transport, s.open, s.tcp, s.load = "TCP "+control, tcpOpener(control), []string{control}, l
		all = append(all, s)
	}
	return all
}

// burst loses 5% of the datagrams, 5 in a row on average.
var burst = netem.Burst{Enter: 0.05 / 0.95 / 5, Leave: 1. / 5}

// reordering delays 5% of the datagrams so that later ones overtake them.
func reordering(p netem.Path) netem.Path {
	p.Reorder, p.ReorderDelay = 0.05, 15*time.Millisecond
	return p
}

// bulkScenarios returns those of bulk through a bottleneck, whose bytes are those of the datagrams'
// payload.
func bulkScenarios() (all []scenario) {
	for _, p := range []struct {
		name             string
		bandwidth, queue int
		loss             float64
		window           int
		floor, goal      target
	}{
		{"5 MB/s", 5 * mb, 300_000, 0, 1024, target{goodput: 4.6, wire: 1.06}, target{goodput: 4.8, wire: 1.03}},
		{"5 MB/s, 1% lost", 5 * mb, 300_000, 0.01, 1024, target{goodput: 4.5, wire: 1.08}, target{goodput: 4.7, wire: 1.04}},
		{"5 MB/s, 10% lost", 5 * mb, 300_000, 0.10, 1024, target{goodput: 3.9, wire: 1.25}, target{goodput: 4.2, wire: 1.16}},
		{"1 MB/s", 1 * mb, 60_000, 0, 1024, target{goodput: 0.92, wire: 1.08}, target{}},
		{"20 MB/s", 20 * mb, 1_200_000, 0, 4096, target{}, target{}},
		{"20 MB/s, 1% lost", 20 * mb, 1_200_000, 0.01, 4096, target{}, target{}},
		{"20 MB/s, 10% lost", 20 * mb, 1_200_000, 0.10, 4096, target{goodput: 15, wire: 1.25}, target{}},
	} {
		path := netem.Path{Delay: halfRTT, Loss: p.loss, Bandwidth: int64(p.bandwidth), Queue: p.queue}
		add := func(transport string, open opener, floor, goal target) {
			all = append(all, scenario{
				Path: "bulk, " + p.name, Transport: transport, open: open,
				net:  emulation{there: path, back: netem.Path{Delay: halfRTT, Loss: p.loss}},
				load: bulkLoad{time: 30 * time.Second}, floor: floor, goal: goal,
			})
		}
		add("kcp nc=0", kcpOpener(bulkTuning(0, p.window)), p.floor, p.goal)
		add("kcp nc=1", kcpOpener(bulkTuning(1, p.window)), target{}, target{})
		add("kcp untuned", kcpOpener(tuning{untuned: true}), p.floor, p.goal)
		add("quic-go", quicOpen, target{}, target{})
		all = append(all, overTCP(all[len(all)-1], all[len(all)-1].load)...)
	}
	return all
}

// bulkTuning is a common tuning for bulk.
func bulkTuning(nc, window int) tuning {
	return tuning{stream: true, nodelay: [4]int{1, 10, 2, nc}, window: window}
}

// changeScenarios returns those of bulk over paths that change.
func changeScenarios() (all []scenario) {
	steady := netem.Path{Delay: halfRTT, Bandwidth: 5 * mb, Queue: 300_000}
	over := func(p netem.Path) emulation {
		back := p
		back.Bandwidth, back.Queue = 0, 0
		return emulation{there: p, back: back}
	}
	with := func(change func(*netem.Path)) emulation {
		p := steady
		change(&p)
		return over(p)
	}
	delay := func(d time.Duration) emulation { return with(func(p *netem.Path) { p.Delay = d }) }
	slower := with(func(p *netem.Path) { p.Bandwidth = 1 * mb })
	dead := with(func(p *netem.Path) { p.Loss = 1 })
	const sec = time.Second
	for _, p := range []struct {
		name, plot string
		start      emulation
		time       time.Duration
		events     []event
		marks      []mark
	}{
		{"5% lost in bursts", "bursts", over(steady), 20 * sec,
			[]event{{5 * sec, with(func(p *netem.Path) { p.Burst = burst }), 0}, {15 * sec, over(steady), 5}},
			[]mark{{5, "bursts"}, {15, "none"}}},
		{"5% reordered", "reordering", over(steady), 20 * sec,
			[]event{{5 * sec, with(func(p *netem.Path) { *p = reordering(*p) }), 5}, {15 * sec, over(steady), 5}},
			[]mark{{5, "reordering"}, {15, "none"}}},
		{"jitter 0 to 20 ms", "jitter", over(steady), 20 * sec,
			[]event{{5 * sec, with(func(p *netem.Path) { p.Jitter = 20 * time.Millisecond }), 5}, {15 * sec, over(steady), 5}},
			[]mark{{5, "jitter"}, {15, "none"}}},
		{"RTT 20 to 200 to 20 ms", "rtt", delay(10 * time.Millisecond), 30 * sec,
			[]event{{10 * sec, delay(100 * time.Millisecond), 5}, {20 * sec, delay(10 * time.Millisecond), 5}},
			[]mark{{10, "200 ms"}, {20, "20 ms"}}},
		{"5 to 1 to 5 MB/s", "bandwidth", over(steady), 30 * sec,
			[]event{{10 * sec, slower, 1}, {20 * sec, over(steady), 5}},
			[]mark{{10, "1 MB/s"}, {20, "5 MB/s"}}},
		{"3 s outage", "outage", over(steady), 30 * sec,
			[]event{{10 * sec, dead, 0}, {13 * sec, over(steady), 5}},
			[]mark{{10, "outage"}, {13, "over"}}},
	} {
		add := func(transport string, open opener) {
			all = append(all, scenario{
				Path: "change, " + p.name, Transport: transport, open: open, net: p.start,
				load: bulkLoad{time: p.time, events: p.events}, plot: p.plot, marks: p.marks,
			})
		}
		add("kcp nc=0", kcpOpener(bulkTuning(0, 1024)))
		add("kcp nc=1", kcpOpener(bulkTuning(1, 1024)))
		add("kcp untuned", kcpOpener(tuning{untuned: true}))
		add("quic-go", quicOpen)
		all = append(all, overTCP(all[len(all)-1], all[len(all)-1].load)...)
	}
	return all
}

// sharingScenarios returns those of several flows through one bottleneck.
func sharingScenarios() (all []scenario) {
	ours := sharer{"kcp nc=0", kcpOpener(bulkTuning(0, 1024))}
	free := sharer{"kcp nc=1", kcpOpener(bulkTuning(1, 1024))}
	cubic := sharer{"quic-go", quicOpen}
	add := func(name, plot string, apart time.Duration, floor float64, flows ...sharer) {
		all = append(all, scenario{
			Path: "sharing, " + name, floor: target{share: floor}, plot: plot,
			net: emulation{
				there:  netem.Path{Delay: halfRTT},
				back:   netem.Path{Delay: halfRTT},
				shared: netem.Path{Bandwidth: 5 * mb, Queue: 300_000},
			},
			load: sharing{flows: flows, apart: apart, time: apart + 30*time.Second},
		})
	}
	const sec = time.Second
	add("two kcp at once", "", binTime, 0.4, ours, ours)
	add("a second kcp after 10 s", "two", 10*sec, 0.4, ours, ours)
	add("five kcp, 10 s apart", "five", 10*sec, 0, ours, ours, ours, ours, ours)
	add("kcp after CUBIC (quic-go)", "after-cubic", 10*sec, 0.25, cubic, ours)
	add("CUBIC (quic-go) after kcp", "cubic-after", 10*sec, 0.25, ours, cubic)
	add("kcp nc=1 after CUBIC (quic-go)", "", 10*sec, 0, cubic, free)
	add("two CUBIC (quic-go)", "", 10*sec, 0, cubic, cubic)
	addTCP := func(name, control string, floor float64, flows ...sharer) {
		add(name, "", 10*sec, floor, flows...)
		all[len(all)-1].tcp = []string{control}
	}
	tcp := func(control string) sharer { return sharer{"TCP " + control, tcpOpener(control)} }
	addTCP("kcp after TCP cubic", "cubic", 0.25, tcp("cubic"), ours)
	addTCP("TCP cubic after kcp", "cubic", 0.25, ours, tcp("cubic"))
	addTCP("kcp after TCP bbr", "bbr", 0, tcp("bbr"), ours)
	addTCP("TCP bbr after TCP cubic", "bbr", 0, tcp("cubic"), tcp("bbr"))
	return append(all, fairnessScenarios()...)
}

// printPaths prints the medians, with floors and goals beside them.
func printPaths(all []scenario, medians []pathResult) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	defer w.Flush()
	for i, s := range all {
		if i == 0 || s.load.heading() != all[i-1].load.heading() {
			w.Flush()
			fmt.Fprintf(w, "%s\n", s.load.heading())
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", s.Path, s.Transport, s.load.row(s, medians[i]))
	}
}

// against formats a figure with its floor and goal, which are left empty where they are 0.
func against(format string, v, floor, goal float64) string {
	s := fmt.Sprintf(format, v)
	for _, t := range []float64{floor, goal} {
		if t == 0 {
			s += "\t"
		} else {
			s += "\t" + fmt.Sprintf(format, t)
		}
	}
	return s
}

// verdict says which of its targets s has reached with r: goal, floor or below; nothing without
// targets.
func (s scenario) verdict(r pathResult) string {
	reaches := func(t target) bool {
		return (t.p99 == 0 || r.P99 < t.p99+0.5) && // targets are whole milliseconds
			(t.goodput == 0 || r.Goodput >= t.goodput) && (t.wire == 0 || r.Wire < t.wire+0.005) &&
			r.Smallest >= t.share
	}
	switch {
	case s.floor == target{} && s.goal == target{}:
		return ""
	case s.goal != target{} && reaches(s.goal) && reaches(s.floor):
		return "goal"
	case s.floor != target{} && reaches(s.floor):
		return "floor"
	}
	return "below"
}
