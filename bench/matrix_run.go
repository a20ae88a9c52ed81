package main

import (
	"fmt"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// matrixResult is what a case came to. Times are in ms, rates in bytes a second.
type matrixResult struct {
	matrixCase
	About   string  `json:"about"`
	Seconds float64 `json:"seconds"`         // of the run
	Failed  string  `json:"error,omitempty"` // why there are no figures

	Attainable float64 `json:"attainable"`
	Goodput    float64 `json:"goodput"`
	Share      float64 `json:"share"` // of Goodput in Attainable
	Waste      float64 `json:"waste"`

	Base     float64 `json:"base_ms"`    // mean round trip without a queue
	Standing float64 `json:"queue_ms"`   // mean smoothed round trip over that
	Reached  float64 `json:"reached_ms"` // when the goodput first was what is aimed at, -1 for never

	Samples []matrixSample `json:"samples,omitempty"`
}

// matrixSample is a moment of a run. Counters are those since the run began.
type matrixSample struct {
	At       time.Duration  `json:"at_ns"`
	Received float64        `json:"received"` // bytes read
	Stats    transportStats `json:"stats"`
	Path     netem.Stats    `json:"path"` // of the way there
}

// Numbers of samples in a run: what figures are taken from, and what is printed of them.
const (
	matrixSteps = 2000
	matrixLines = 40
)

// run runs the case once, over open.
func (c matrixCase) run(open opener) (r matrixResult, err error) {
	w := &world{Network: netem.New(c.Seed<<32 + uint64(c.Index)), emulation: c.emulation()}
	total := c.duration()
	conn, err := w.dial(open, total)
	if err != nil {
		return r, err
	}
	r = matrixResult{matrixCase: c, About: c.String(), Seconds: total.Seconds()}
	samples, err := c.carry(w, conn, total)
	if err != nil {
		return r, err
	}
	c.judge(&r, samples)
	return r, nil
}

// carry carries bulk for the time total, and takes a sample before and after each step.
func (c *matrixCase) carry(w *world, conn *conn, total time.Duration) ([]matrixSample, error) {
	from, to := w.flows[0][0].LocalAddr(), w.flows[0][1].LocalAddr()
	t := startTransfer(conn)
	start, step := time.Now(), total/matrixSteps
	samples := make([]matrixSample, 0, matrixSteps+1)
	for i := range matrixSteps + 1 {
		time.Sleep(time.Duration(i)*step - time.Since(start))
		s := matrixSample{At: time.Duration(i) * step, Received: float64(t.received.Load()), Path: w.Stats(from, to)}
		if conn.stats != nil {
			s.Stats = conn.stats()
		}
		samples = append(samples, s)
		select {
		case err := <-t.failed:
			return nil, fmt.Errorf("after %v: %w", s.At, err)
		default:
		}
	}
	return samples, nil
}

// judge sets r's figures by samples.
func (c *matrixCase) judge(r *matrixResult, samples []matrixSample) {
	first, last := &samples[len(samples)/warmupPart], &samples[len(samples)-1]
	span := (last.At - first.At).Seconds()
	r.Attainable = c.attainable()
	r.Goodput = (last.Received - first.Received) / span
	r.Share = r.Goodput / r.Attainable
	r.Waste = wasted(first, last)
	r.Base = ms(c.baseRTT())
	var rtt, n float64
	for _, s := range samples[len(samples)/warmupPart:] {
		if s.Stats.RTT > 0 {
			rtt += ms(s.Stats.RTT)
			n++
		}
	}
	if n > 0 {
		r.Standing = rtt/n - r.Base
	}
	received := make([]float64, 0, matrixSteps)
	for _, s := range samples[1:] {
		received = append(received, s.Received)
	}
	r.Reached = -1
	if at := c.reached(received, samples[1].At, r.Attainable); at >= 0 {
		r.Reached = ms(at)
	}
	every := (len(samples) - 1) / matrixLines
	for i := 0; i < len(samples); i += every {
		r.Samples = append(r.Samples, samples[i])
	}
}

// wasted returns the waste between two samples. Data counts when it is sent first, as what is on its
// way at the first sample would count for nothing; where the transport does not tell, when it is
// read.
func wasted(first, last *matrixSample) float64 {
	data := last.Stats.fresh() - first.Stats.fresh()
	if last.Stats.BytesSent == 0 {
		data = last.Received - first.Received
	}
	p, q := first.Path, last.Path
	carried := float64(q.Sent-p.Sent) - float64(q.QueueDrops-p.QueueDrops)
	lost := 0.0
	if carried > 0 {
		lost = float64(q.Lost-p.Lost) / carried
	}
	return waste(float64(q.SentBytes-p.SentBytes), data, lost)
}

// fresh is the bytes that were sent at least once.
func (s *transportStats) fresh() float64 { return s.BytesSent - s.BytesQueued }

func ms(d time.Duration) float64 { return d.Seconds() * 1e3 }
