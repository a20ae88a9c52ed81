package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"time"
)

// load is data that a transport has to carry.
type load interface {
	run(w *world, open opener) (pathResult, error)
	shortened() load // for a quick run

	heading() string // of the table that row adds a line to
	row(s scenario, r pathResult) string
}

// messages is count messages of size bytes, one every so often. If frame is set, so many are written
// together, as of a video frame, and what counts is when the last of them is there.
type messages struct {
	size  int
	every time.Duration
	count int
	frame int
}

func (m messages) due(i int) time.Duration { return time.Duration(i/max(m.frame, 1)) * m.every }
func (m messages) shortened() load         { m.count = max(50, m.frame); return m }

func (m messages) run(w *world, open opener) (r pathResult, err error) {
	c, err := w.dial(open, m.due(m.count))
	if err != nil {
		return r, err
	}
	wire := w.wire()
	start := time.Now()
	wrote := make(chan error, 1)
	go func() {
		b := make([]byte, m.size)
		for i := range m.count {
			time.Sleep(m.due(i) - time.Since(start))
			binary.BigEndian.PutUint32(b, uint32(i))
			if _, err := c.Write(b); err != nil {
				wrote <- err
				return
			}
		}
		wrote <- nil
	}()
	b := make([]byte, m.size)
	var late []float64
	var delivered int64
	for i := range m.count {
		switch _, err := io.ReadFull(c, b); {
		case c.gaveUp.Load(): // counts as if it arrived now
		case err != nil:
			return r, fmt.Errorf("message %d: %w", i, err)
		case binary.BigEndian.Uint32(b) != uint32(i):
			return r, fmt.Errorf("message %d arrived as number %d", i, binary.BigEndian.Uint32(b))
		default:
			delivered += int64(m.size)
		}
		if m.frame == 0 || i%m.frame == m.frame-1 {
			late = append(late, (time.Since(start)-m.due(i)).Seconds()*1000)
		}
	}
	if err := <-wrote; err != nil && !c.gaveUp.Load() {
		return r, err
	}
	wire(&r, delivered)
	r.latencies(late)
	return r, nil
}

// latencies takes the latencies of all messages, in ms.
func (r *pathResult) latencies(late []float64) {
	for _, ms := range late {
		r.Mean += ms / float64(len(late))
	}
	slices.Sort(late)
	at := func(percent int) float64 { return late[(len(late)-1)*percent/100] }
	r.P50, r.P95, r.P99, r.Max = at(50), at(95), at(99), at(100)
}

func (m messages) heading() string {
	return "path\ttransport\tp50 ms\tp95\tp99\tfloor\tgoal\tmax\tmean\twire\tfloor\tgoal\treverse\tis at\t"
}

func (m messages) row(s scenario, r pathResult) string {
	return fmt.Sprintf("%.1f\t%.1f\t%s\t%.0f\t%.1f\t%s\t%.2f\t%s\t", r.P50, r.P95,
		against("%.0f", r.P99, s.floor.p99, s.goal.p99), r.Max, r.Mean,
		against("%.2f", r.Wire, s.floor.wire, s.goal.wire), r.Reverse, s.verdict(r))
}
