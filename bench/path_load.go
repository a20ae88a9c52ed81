package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"
)

// load is what a transport is given to carry.
type load interface {
	// run returns what was measured and how many bytes the receiver has read.
	run(c *conn) (r pathResult, delivered int64, err error)
	duration() time.Duration
	shortened() load // for a quick run

	heading() string // of the table that row gives a line of
	row(s scenario, r pathResult) string
}

// messages is count messages of size bytes, one every so often.
type messages struct {
	size  int
	every time.Duration
	count int
}

func (m messages) duration() time.Duration { return time.Duration(m.count) * m.every }
func (m messages) shortened() load         { m.count = 50; return m }

func (m messages) run(c *conn) (r pathResult, delivered int64, err error) {
	start := time.Now()
	due := func(i int) time.Duration { return time.Duration(i) * m.every }
	wrote := make(chan error, 1)
	go func() {
		b := make([]byte, m.size)
		for i := range m.count {
			time.Sleep(due(i) - time.Since(start))
			binary.BigEndian.PutUint32(b, uint32(i))
			if _, err := c.Write(b); err != nil {
				wrote <- err
				return
			}
		}
		wrote <- nil
	}()
	b := make([]byte, m.size)
	late := make([]float64, m.count)
	sum := 0.0
	for i := range m.count {
		if _, err := io.ReadFull(c, b); err == nil {
			delivered += int64(m.size)
		} else if !c.gaveUp.Load() {
			return r, 0, fmt.Errorf("message %d: %w", i, err)
		} else {
			binary.BigEndian.PutUint32(b, uint32(i))
		}
		if n := binary.BigEndian.Uint32(b); n != uint32(i) {
			return r, 0, fmt.Errorf("message %d arrived as number %d", n, i)
		}
		late[i] = (time.Since(start) - due(i)).Seconds() * 1000
		sum += late[i]
	}
	if err := <-wrote; err != nil && !c.gaveUp.Load() {
		return r, 0, err
	}
	slices.Sort(late)
	at := func(percent int) float64 { return late[(len(late)-1)*percent/100] }
	r.P50, r.P95, r.P99, r.Max, r.Mean = at(50), at(95), at(99), at(100), sum/float64(len(late))
	return r, delivered, nil
}

func (m messages) heading() string {
	return "path\ttransport\tp50 ms\tp95\tp99\tfloor\tgoal\tmax\tmean\twire\tfloor\tgoal\treverse\tis at\t"
}

func (m messages) row(s scenario, r pathResult) string {
	return fmt.Sprintf("%.1f\t%.1f\t%s\t%.0f\t%.1f\t%s\t%.2f\t%s\t", r.P50, r.P95,
		against("%.0f", r.P99, s.floor.p99, s.goal.p99), r.Max, r.Mean,
		against("%.2f", r.Wire, s.floor.wire, s.goal.wire), r.Reverse, s.verdict(r))
}

// bulkLoad is as many bytes as go through in that time.
type bulkLoad time.Duration

func (b bulkLoad) duration() time.Duration { return time.Duration(b) }
func (b bulkLoad) shortened() load         { return bulkLoad(500 * time.Millisecond) }

func (b bulkLoad) run(c *conn) (r pathResult, delivered int64, err error) {
	var sent, received atomic.Int64
	var stop atomic.Bool
	wrote, read := make(chan error, 1), make(chan error, 1)
	all := make(chan struct{}, 1) // something was read after stop
	go func() {
		buf := make([]byte, 64<<10)
		for !stop.Load() {
			n, err := c.Write(buf)
			sent.Add(int64(n))
			if err != nil {
				wrote <- err
				return
			}
		}
		wrote <- nil
	}()
	go func() {
		buf := make([]byte, 256<<10)
		for {
			n, err := c.Read(buf)
			received.Add(int64(n))
			if err != nil {
				read <- err
				return
			}
			if stop.Load() {
				select {
				case all <- struct{}{}:
				default:
				}
			}
		}
	}()
	time.Sleep(time.Duration(b))
	r.Goodput = float64(received.Load()) / mb / time.Duration(b).Seconds()
	// What is on its way still counts as delivered in the end, as it counts as sent.
	stop.Store(true)
	if err := <-wrote; err != nil && !c.gaveUp.Load() {
		return r, 0, err
	}
	for received.Load() < sent.Load() {
		select {
		case <-all:
		case err := <-read:
			if c.gaveUp.Load() {
				return r, received.Load(), nil
			}
			return r, 0, fmt.Errorf("%d of %d bytes arrived: %w", received.Load(), sent.Load(), err)
		}
	}
	return r, received.Load(), nil
}

func (b bulkLoad) heading() string {
	return "path\ttransport\tgoodput MB/s\tfloor\tgoal\twire\tfloor\tgoal\treverse\tis at\t"
}

func (b bulkLoad) row(s scenario, r pathResult) string {
	return fmt.Sprintf("%s\t%s\t%.4f\t%s\t", against("%.2f", r.Goodput, s.floor.goodput, s.goal.goodput),
		against("%.2f", r.Wire, s.floor.wire, s.goal.wire), r.Reverse, s.verdict(r))
}
