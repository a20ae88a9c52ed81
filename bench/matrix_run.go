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

	// Of bulk.
	Attainable float64 `json:"attainable,omitempty"`
	Goodput    float64 `json:"goodput"`
	Share      float64 `json:"share"` // of Goodput in Attainable
	Waste      float64 `json:"waste"`
	Parity     float64 `json:"parity,omitempty"`  // mean of the parity for each data shard
	Base       float64 `json:"base_ms,omitempty"` // mean round trip without a queue
	Standing   float64 `json:"queue_ms"`          // mean smoothed round trip over that
	Measured   bool    `json:"queue_measured,omitempty"`
	Reached    float64 `json:"reached_ms"` // when wellUsed was reached, -1 for never

	// Of thin and answers.
	Time  float64   `json:"time_ms,omitempty"`  // p99 of messages, median of answers
	Ideal float64   `json:"ideal_ms,omitempty"` // what that could be
	Ratio float64   `json:"ratio,omitempty"`    // of Time to Ideal
	First float64   `json:"first_ms,omitempty"` // median of the first answer of each session
	All   []float64 `json:"all_ms,omitempty"`   // messages or answers in order

	Samples []matrixSample `json:"samples,omitempty"`
}

// matrixSample is a moment of a run. Counters are those since the session began.
type matrixSample struct {
	At       time.Duration  `json:"at_ns"`
	Received float64        `json:"received"` // bytes read
	Stats    transportStats `json:"stats"`
	Path     netem.Stats    `json:"path"`   // of the way there
	Queued   int            `json:"queued"` // bytes at the bottleneck
}

// Numbers of samples in a run: what figures are taken from, and what is printed of them.
const (
	matrixSteps = 2000
	matrixLines = 40
)

// run runs the case once.
func (c matrixCase) run() (r matrixResult, err error) {
	w, err := c.newWorld()
	if err != nil {
		return r, err
	}
	r = matrixResult{matrixCase: c, About: c.String()}
	switch c.Load {
	case "answers":
		err = c.runAnswers(w, &r)
	case "thin":
		err = c.runThin(w, &r)
	default:
		err = c.runBulk(w, &r)
	}
	return r, err
}

// runBulk carries as much as the transport takes.
func (c *matrixCase) runBulk(w *world, r *matrixResult) error {
	total := c.duration()
	conn, err := c.dial(w, total)
	if err != nil {
		return err
	}
	t := startTransfer(conn)
	samples, err := watch(w, conn, total, &t.received, t.failed)
	if err != nil {
		return err
	}
	c.judge(r, samples)
	return nil
}

// dial opens the only stream of w, and begins what happens to the path in the time total.
func (c *matrixCase) dial(w *world, total time.Duration) (*conn, error) {
	conn, err := w.dial(c.opener(), total)
	if err != nil {
		return nil, err
	}
	return conn, c.begin(w, total)
}

// counter is a number that grows.
type counter interface{ Load() int64 }

// watch samples conn, the only one of w, before and after each step of the time total.
func watch(w *world, conn *conn, total time.Duration, received counter, failed <-chan error) ([]matrixSample, error) {
	from, to := w.flows[0][0].LocalAddr(), w.flows[0][1].LocalAddr()
	start, step := time.Now(), total/matrixSteps
	samples := make([]matrixSample, 0, matrixSteps+1)
	for i := range matrixSteps + 1 {
		time.Sleep(time.Duration(i)*step - time.Since(start))
		samples = append(samples, matrixSample{
			At: time.Duration(i) * step, Received: float64(received.Load()), Stats: conn.stats(),
			Path: w.Stats(from, to), Queued: w.Queued(from, to),
		})
		select {
		case err := <-failed:
			return nil, fmt.Errorf("after %v: %w", samples[i].At, err)
		default:
		}
	}
	return samples, nil
}

// judge sets r's figures of bulk by samples.
func (c *matrixCase) judge(r *matrixResult, samples []matrixSample) {
	begin := len(samples) / warmupPart
	first, last := &samples[begin], &samples[len(samples)-1]
	part := func(s *matrixSample) float64 { return float64(s.At) / float64(last.At) }
	var queue, queues, parity float64
	for i := range samples[begin:] {
		s := &samples[begin+i]
		if s.Stats.RTT > 0 {
			queue += ms(s.Stats.RTT - c.at(part(s)).baseRTT())
			queues++
		}
		if s.Stats.FECDataShards > 0 {
			parity += s.Stats.FECParityShards / s.Stats.FECDataShards
		}
	}
	r.Parity = parity / float64(len(samples)-begin)
	r.Seconds = last.At.Seconds()
	r.Attainable = c.attainableFrom(part(first), r.Parity)
	r.Goodput = (last.Received - first.Received) / (last.At - first.At).Seconds()
	r.Share = r.Goodput / r.Attainable
	r.Waste = min(c.wasted(first, last, r.Parity), 1000) // JSON has no infinity
	r.Base, r.Reached = ms(c.baseRTT()), -1
	r.Measured = queues > 0
	r.Standing = queue / max(queues, 1)
	received := make([]float64, 0, matrixSteps)
	for _, s := range samples[1:] {
		received = append(received, s.Received)
	}
	if at := c.reached(received, samples[1].At, c.attainable(r.Parity)); at >= 0 {
		r.Reached = ms(at)
	}
	r.keep(samples)
}

// keep keeps those samples that are printed.
func (r *matrixResult) keep(samples []matrixSample) {
	for i := 0; i < len(samples); i += matrixSteps / matrixLines {
		r.Samples = append(r.Samples, samples[i])
	}
}

// fresh is the bytes that were sent at least once.
func (s *transportStats) fresh() float64 { return s.BytesSent - s.BytesQueued }
