package main

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// binTime is the resolution of goodput over time.
const binTime = 100 * time.Millisecond

// transfer is a stream on which data is written as fast as the transport takes it.
type transfer struct {
	*conn
	sent, received atomic.Int64 // bytes
	stop           atomic.Bool
	failed         chan error // one result of the writer and one of the reader, when they end
}

func startTransfer(c *conn) *transfer {
	t := &transfer{conn: c, failed: make(chan error, 2)}
	go func() {
		buf := make([]byte, 64<<10)
		for !t.stop.Load() {
			n, err := t.Write(buf)
			t.sent.Add(int64(n))
			if err != nil {
				t.failed <- fmt.Errorf("writing after %d bytes: %w", t.sent.Load(), err)
				return
			}
		}
		t.failed <- nil
	}()
	go func() {
		buf := make([]byte, 256<<10)
		for {
			n, err := t.Read(buf)
			t.received.Add(int64(n))
			if err != nil {
				t.failed <- fmt.Errorf("reading after %d bytes: %w", t.received.Load(), err)
				return
			}
		}
	}()
	return t
}

// finish stops the writer and waits until everything that was written has arrived. Bytes that count
// as sent then count as delivered, too.
func (t *transfer) finish() error {
	t.stop.Store(true)
	err := <-t.failed
	for err == nil && !t.gaveUp.Load() && t.received.Load() < t.sent.Load() {
		select {
		case err = <-t.failed:
		case <-time.After(binTime):
		}
	}
	if t.gaveUp.Load() {
		return nil
	}
	return err
}

// bulkLoad is a stream on which data is written for the given time as fast as the transport takes
// it. The path may change meanwhile.
type bulkLoad struct {
	time   time.Duration
	events []event
}

// event is a change of the network.
type event struct {
	at       time.Duration // since the beginning of the load, a multiple of binTime
	net      emulation
	capacity float64 // MB/s that the path can carry from then on; 0 if the goodput is not checked
}

func (b bulkLoad) shortened() load {
	short := bulkLoad{time: b.time / 50 / binTime * binTime}
	for _, e := range b.events {
		e.at = e.at / 50 / binTime * binTime
		short.events = append(short.events, e)
	}
	return short
}

func (b bulkLoad) run(w *world, open opener) (r pathResult, err error) {
	c, err := w.dial(open, b.time)
	if err != nil {
		return r, err
	}
	wire := w.wire()
	t := startTransfer(c)
	bins := make([]float64, b.time/binTime)
	events, before := b.events, int64(0)
	for i := range bins {
		for len(events) > 0 && events[0].at == time.Duration(i)*binTime {
			if err := w.change(events[0].net); err != nil {
				return r, err
			}
			events = events[1:]
		}
		time.Sleep(binTime)
		now := t.received.Load()
		bins[i] = float64(now-before) / mb / binTime.Seconds()
		before = now
	}
	r.Goodput = float64(before) / mb / b.time.Seconds()
	r.Flows = []series{{Values: bins}}
	r.Back = b.recovered(bins)
	if err := t.finish(); err != nil {
		return r, err
	}
	wire(&r, t.received.Load())
	return r, nil
}

// recovered returns for each event with a capacity how many ms later the goodput over recoveredFor
// began to be at least 0.9 of the capacity; the time until the next event if it never did.
func (b bulkLoad) recovered(bins []float64) (ms []float64) {
	for i, e := range b.events {
		if e.capacity == 0 {
			continue
		}
		end := b.time
		if i+1 < len(b.events) {
			end = b.events[i+1].at
		}
		phase := bins[e.at/binTime : end/binTime]
		n := 0
		for ; n < len(phase); n++ {
			sum, over := 0.0, phase[n:min(n+recoveredFor, len(phase))]
			for _, v := range over {
				sum += v
			}
			if len(over) == recoveredFor && sum >= 0.9*e.capacity*recoveredFor {
				break
			}
		}
		ms = append(ms, float64(n)*binTime.Seconds()*1000)
	}
	return ms
}

// recoveredFor is the number of bins over which goodput has to be back.
const recoveredFor = 5

func (b bulkLoad) heading() string {
	if b.events != nil {
		return "path\ttransport\tgoodput MB/s\twire\treverse\tback after s\t"
	}
	return "path\ttransport\tgoodput MB/s\tfloor\tgoal\twire\tfloor\tgoal\treverse\tis at\t"
}

func (b bulkLoad) row(s scenario, r pathResult) string {
	if b.events != nil {
		return fmt.Sprintf("%.2f\t%.2f\t%.4f\t%s\t", r.Goodput, r.Wire, r.Reverse, b.times(r.Back))
	}
	return fmt.Sprintf("%s\t%s\t%.4f\t%s\t", against("%.2f", r.Goodput, s.floor.goodput, s.goal.goodput),
		against("%.2f", r.Wire, s.floor.wire, s.goal.wire), r.Reverse, s.verdict(r))
}

// times formats ms as seconds.
func (b bulkLoad) times(ms []float64) string {
	var s []string
	for _, v := range ms {
		s = append(s, fmt.Sprintf("%.1f", v/1000))
	}
	return strings.Join(s, ", ")
}
