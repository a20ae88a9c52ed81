package main

import (
	"fmt"
	"os"
	"text/tabwriter"
	"time"
)

// print prints one case in detail: how it went over time, and what it came to.
func (r *matrixResult) print() {
	fmt.Printf("%s\n\n", r.About)
	r.printSamples()
	if r.Load != "bulk" {
		r.printTimes()
		return
	}
	fmt.Printf("goodput    %s of %s attainable: %.3f, from %.3g s on\nwaste      %.3f", rate(r.Goodput), rate(r.Attainable),
		r.Share, r.Seconds/warmupPart, r.Waste)
	if r.Parity > 0 {
		fmt.Printf(" beside %.2f of parity", r.Parity)
	}
	fmt.Printf("\nround trip %.1f ms without a queue, %.1f ms of standing queue, %.1f ms allowed\n",
		r.Base, r.Standing, ms(r.queueAllowed()))
	fmt.Printf("0.9        after %s allowed, over %v\n", r.reachText(), r.reachOver().Round(time.Millisecond))
	fmt.Printf("path       BDP %.4g KB, %.0f segments; queue %.4g KB, %.0f datagrams\n",
		r.bdp()/1e3, r.bdp()/mtu, float64(r.Queue)/1e3, float64(r.Queue)/mtu)
}

// printSamples prints a line for each part of the run.
func (r *matrixResult) printSamples() {
	if len(r.Samples) == 0 {
		return
	}
	fmt.Println("Bytes are those of the moment; counts and goodput those since the line before.")
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "t s\tKB/s\tshare\tsrtt ms\tmin\tqueue KB\tinflight\tcwnd\tpacing KB/s\tsndwnd\tpeerwnd\tunacked\t"+
		"sent\tresent\tfast\tearly\ttimeout\tspurious\tdropped\tlost\twaste\t\n")
	for i := range r.Samples[1:] {
		a, b := &r.Samples[i], &r.Samples[i+1]
		s, t, p, q := &a.Stats, &b.Stats, &a.Path, &b.Path
		goodput := (b.Received - a.Received) / (b.At - a.At).Seconds()
		share := goodput / r.at(b.At.Seconds()/r.Seconds).attainable(r.Parity)
		dropped := q.QueueDrops - p.QueueDrops + q.Policed - p.Policed + q.BufferDrops - p.BufferDrops
		fmt.Fprintf(w, "%.3g\t%.4g\t%.2f\t%.1f\t%.1f\t%.4g\t%.4g\t%.4g\t%.4g\t%.0f\t%.0f\t%.0f\t",
			b.At.Seconds(), goodput/1e3, share, ms(t.RTT), ms(t.MinRTT), float64(b.Queued)/1e3,
			t.BytesInFlight/1e3, t.CongestionWindow/1e3, t.PacingRate/1e3, t.SendWindow, t.PeerWindow, t.Unacknowledged)
		fmt.Fprintf(w, "%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%d\t%d\t%.2f\t\n", q.Sent-p.Sent,
			t.Resent-s.Resent, t.LostFast-s.LostFast, t.LostEarly-s.LostEarly, t.LostTimeout-s.LostTimeout,
			t.Spurious-s.Spurious, dropped, q.Lost-p.Lost, r.wasted(a, b, r.Parity))
	}
	w.Flush()
	fmt.Print("\ndropped: by queue, policer and receive buffer; lost: by the path at random\n\n")
}

// printTimes prints the times of messages or answers.
func (r *matrixResult) printTimes() {
	what := "p99"
	if r.Load == "answers" {
		what = "median"
		for i, t := range r.All {
			fmt.Printf("session %d, answer %d: %8.1f ms, %.2f of the ideal\n", i/answerExchanges+1, i%answerExchanges+1, t, t/r.Ideal)
		}
		fmt.Println()
	}
	for _, p := range []int{5, 50, 90, 95, 99, 100} {
		fmt.Printf("p%-3d %8.1f ms\n", p, percentile(r.All, p))
	}
	fmt.Printf("%s %.1f ms, ideal %.1f ms: %.2f\n", what, r.Time, r.Ideal, r.Ratio)
	if r.First > 0 {
		fmt.Printf("median of the first answers %.1f ms: %.2f\n", r.First, r.First/r.Ideal)
	}
}
