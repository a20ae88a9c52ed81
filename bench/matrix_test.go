package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// asProgram makes the test binary be the program, for runs in processes of their own.
const asProgram = "BENCH_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// matrixSamples are cases of which none may collapse. Those listed as known do today, or come near: a
// run depends on the times at which the controllers probe, which are random.
var matrixSamples = []struct {
	options matrixOptions
	known   []int
}{
	{matrixOptions{seed: 1, plain: true, count: 60}, []int{}},
	{matrixOptions{seed: 2, plain: true, count: 60}, []int{}},
	{matrixOptions{seed: 3, count: 60}, []int{42, 55}},
}

// sampleBytes bounds what a case of the samples moves, as that is what takes time.
const sampleBytes = 300 * mb

// No path of the samples is used by less than a third.
func TestMatrixCollapse(t *testing.T) {
	if testing.Short() {
		t.Skip("takes many seconds of computing")
	}
	t.Setenv(asProgram, "1")
	for _, s := range matrixSamples {
		o := s.options
		o.transport, o.match = "kcp", regexp.MustCompile("")
		indices, err := o.indices()
		if err != nil {
			t.Fatal(err)
		}
		indices = slices.DeleteFunc(indices, func(i int) bool {
			c := o.draw(i)
			return c.Load != "bulk" || c.Bandwidth*c.duration().Seconds() > sampleBytes
		})
		if len(indices) < o.count/3 {
			t.Fatalf("seed %d has %d cases of %d", o.seed, len(indices), o.count)
		}
		for _, r := range o.runAll(indices) {
			if r.Share < halfUsed {
				t.Logf("%.2f of what is attainable: %s\n%s", r.Share, r.About, o.command(r.Index))
			}
			switch {
			case r.Failed == "" && r.Share >= collapsed:
			case r.Failed == "" && slices.Contains(s.known, r.Index):
				t.Log("which is known")
			default:
				t.Errorf("%.2f of what is attainable: %s\n%s\n%s", r.Share, r.About, o.command(r.Index), r.Failed)
			}
		}
	}
}

// A case depends on its seed and index alone, and is within the bounds.
func TestMatrixDraw(t *testing.T) {
	seen := make(map[string]bool)
	for _, plain := range []bool{true, false} {
		for i := range 2000 {
			c := drawCase(9, i, plain)
			if again := drawCase(9, i, plain); again.String() != c.String() {
				t.Fatalf("case %d is %v, and then %v", i, c, again)
			}
			if c.Bandwidth < leastBandwidth || c.Bandwidth > mostBandwidth || c.Loss > mostLoss || c.Queue < fewestQueued*mtu ||
				c.RTT < 2*time.Millisecond || c.RTT > 600*time.Millisecond || c.Jitter > c.RTT/2 {
				t.Errorf("case %d is out of bounds: %v", i, c)
			}
			if a := c.attainable(0); a <= 0 || a > mostBandwidth {
				t.Errorf("case %d has %v attainable: %v", i, a, c)
			}
			extras := []bool{c.Change != nil, c.Cross != nil, c.Back != nil, c.Policer != nil, c.Burst != nil, c.Stall != nil, c.Unmarked > 0}
			for k, has := range extras {
				seen[fmt.Sprintf("%v %d %v", plain, k, has)] = true
			}
			for _, drawn := range []string{c.Load, c.Profile} {
				seen[fmt.Sprintf("%v %s", plain, drawn)] = true
			}
		}
	}
	for _, want := range []string{"false 0 true", "false 6 true", "false thin", "false answers", "false nc=1", "false FEC 10/3", "true LowLatency"} {
		if !seen[want] {
			t.Errorf("nothing has %q", want)
		}
	}
	for _, none := range []string{"true thin", "true nc=1", "true 0 true", "true 6 true"} {
		if seen[none] {
			t.Errorf("something has %q", none)
		}
	}
}

// What the formulas give for paths that are reckoned by hand.
func TestMatrixFormulas(t *testing.T) {
	c := matrixCase{Bandwidth: 1.4 * mb, RTT: 99 * time.Millisecond, Queue: 140_000, Load: "bulk"}
	check := func(what string, got, want float64) {
		t.Helper()
		if got < want*0.9999 || got > want*1.0001 {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	check("base", ms(c.baseRTT()), 100)
	check("attainable", c.attainable(0), 1.376*mb)
	check("with parity", c.attainable(0.25), 1.376*mb/1.25)
	c.Loss = 0.1
	check("with loss", c.attainable(0), 0.9*1.376*mb)
	c.tuning.window = 30
	check("with a window that loses often", c.attainable(0), 30*mss/0.1/3)
	c.Loss = 0.05
	check("with a window that loses", c.attainable(0), 30*mss/0.1/2)
	c.Loss = 0.01
	check("with a window that loses little", c.attainable(0), 30*mss/0.1)
	c.tuning.window = 0
	c.Change = &pathChange{At: 0.5, Bandwidth: 0.7 * mb, RTT: c.RTT}
	check("over a change", c.attainableFrom(0.25, 0), 0.99*1.376*mb*(1./3+2./3/2))
	c.Change = nil
	c.Policer = &tokenBucket{Rate: 0.28 * mb}
	check("policed", c.attainable(0), 0.99*0.2*1.376*mb)
	c.Policer = nil
	c.Cross = &crossTraffic{Rate: 0.7 * mb, On: time.Second, Off: 3 * time.Second}
	check("beside cross traffic", c.attainable(0), 0.99*1.376*mb*(1-0.125))
	c.Policer = &tokenBucket{Rate: 0.7 * mb} // of which the cross traffic takes nothing
	check("policed beside cross traffic", c.attainable(0), 0.99*1.376*mb/2)
	c.Policer, c.Cross, c.Loss = nil, nil, 0
	check("waste", c.waste(1540, 0, mss, 0), 1.1)
	check("waste of what the path lost", c.waste(1540, 0.2, mss, 0), 0.88)
	check("waste beside parity", c.waste(1540, 0, mss, 0.1), 1)
	c.Size = 10_000
	check("an answer of one round", ms(c.idealAnswer()), 100+1e4/1376)
	c.Size = 200_000 // 32, 64 and 50 datagrams, where a round trip has 100
	check("an answer of three", ms(c.idealAnswer()), 300+(2e5-96*mss)/1376)
}

// reached finds when the goodput has become what it should, and does not look behind a change.
func TestMatrixReached(t *testing.T) {
	c := matrixCase{Bandwidth: mb, RTT: 10 * time.Millisecond}
	var received []float64
	total := 0.0
	for i := range 200 { // of 10 ms: a second of 0.5 MB/s, then 0.95
		total += map[bool]float64{true: 5000, false: 9500}[i < 100]
		received = append(received, total)
	}
	for _, q := range []struct {
		at, least, most time.Duration
	}{{2 * time.Second, 900 * time.Millisecond, time.Second}, {1400 * time.Millisecond, -1, -1}} {
		c.Change = &pathChange{At: q.at.Seconds() / 2, Bandwidth: mb, RTT: c.RTT}
		if got := c.reached(received, 10*time.Millisecond, mb); got < q.least || got > q.most {
			t.Errorf("with a change at %v, reached after %v, want %v to %v", q.at, got, q.least, q.most)
		}
	}
}

// The table shows what fails, and how to repeat the worst.
func TestMatrixTable(t *testing.T) {
	o := matrixOptions{seed: 5, plain: true, transport: "kcp"}
	var results []matrixResult
	for i := range 30 {
		c := o.draw(i)
		results = append(results, matrixResult{matrixCase: c, About: c.String(), Share: 1, Waste: 1, Reached: 1})
	}
	results[7].Share = 0.3
	results[8].Failed = "it broke"
	before := slices.Clone(results)
	before[7].Share, before[8].Failed = 1, ""
	table := printed(t, func() { o.print(results, before) })
	for _, want := range []string{"3.4% (1/29)", "0.0% (0/30)", "worse than before", "it broke",
		"go -C bench run . matrix -plain -seed=5 -only=7\n", "-only=8\n"} {
		if !strings.Contains(table, want) {
			t.Errorf("%q is missing in\n%s", want, table)
		}
	}
}
