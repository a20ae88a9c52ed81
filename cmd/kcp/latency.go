package main

import (
	"context"
	"encoding/binary"
	"io"
	"slices"
	"time"
)

// A latency is how long round trips through a stream took.
type latency struct {
	Count  int           `json:"count"`
	Min    time.Duration `json:"min"`
	Mean   time.Duration `json:"mean"`
	Median time.Duration `json:"median"`
	P99    time.Duration `json:"p99"`
	Max    time.Duration `json:"max"`
}

// summarize sorts the times.
func summarize(times []time.Duration) (l latency) {
	if len(times) == 0 {
		return l
	}
	slices.Sort(times)
	var sum time.Duration
	for _, t := range times {
		sum += t
	}
	n := len(times)
	return latency{
		Count: n, Min: times[0], Mean: sum / time.Duration(n),
		Median: times[n/2], P99: times[(n*99+99)/100-1], Max: times[n-1],
	}
}

// A prober measures round trips through a connection whose other end returns all that comes.
type prober struct {
	conn duplex
	seq  uint64
}

// probeSize is the length of a probe in bytes.
const probeSize = 64

// once sends a probe and waits for it.
func (p *prober) once() (time.Duration, error) {
	var out, in [probeSize]byte
	p.seq++
	binary.BigEndian.PutUint64(out[:], p.seq)
	start := time.Now()
	if _, err := p.conn.Write(out[:]); err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(p.conn, in[:]); err != nil {
		return 0, err
	}
	if in != out {
		return 0, failf(codeFailed, "what was to be echoed came back different")
	}
	return time.Since(start), nil
}

// run measures n times, or until ctx is done where n is 0, at most once in each interval.
func (p *prober) run(ctx context.Context, n int, every time.Duration) (times []time.Duration, err error) {
	defer context.AfterFunc(ctx, func() { p.conn.SetReadDeadline(time.Now()) })()
	next := time.NewTimer(0)
	defer next.Stop()
	for i := 0; n == 0 || i < n; i++ {
		select {
		case <-ctx.Done():
			return times, nil
		case <-next.C:
		}
		next.Reset(every)
		d, err := p.once()
		switch {
		case ctx.Err() != nil:
			return times, nil
		case err != nil:
			return times, err
		}
		times = append(times, d)
	}
	return times, nil
}
