package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/xtaci/smux"
)

// streamsLoad is two streams of smux over one session, from its sender: one with as much data as there is room
// for, and one with a message of size bytes every so often, whose latency counts.
type streamsLoad struct {
	size  int
	every time.Duration
	time  time.Duration
}

func (l streamsLoad) shortened() load { l.time = 50 * l.every; return l }

func (l streamsLoad) run(w *world, open opener) (r pathResult, err error) {
	c, err := w.dial(open, l.time)
	if err != nil {
		return r, err
	}
	bulk, out, in, end, err := l.streams(c)
	if err != nil {
		return r, err
	}
	defer end()
	wire, received := w.wire(), new(atomic.Int64)
	go bulk.fill(received)
	start := time.Now()
	failed := make(chan error, 1)
	n := int(l.time / l.every)
	go func() {
		b := make([]byte, l.size)
		for i := range n {
			time.Sleep(time.Duration(i)*l.every - time.Since(start))
			binary.BigEndian.PutUint32(b, uint32(i))
			if _, err := out.Write(b); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	late := make([]float64, n)
	b := make([]byte, l.size)
	for i := range late {
		if _, err := io.ReadFull(in, b); err != nil || binary.BigEndian.Uint32(b) != uint32(i) {
			return r, fmt.Errorf("message %d, %d: %w", i, binary.BigEndian.Uint32(b), err)
		}
		late[i] = (time.Since(start) - time.Duration(i)*l.every).Seconds() * 1000
	}
	delivered := received.Load()
	wire(&r, delivered+int64(n*l.size))
	r.Goodput = float64(delivered) / mb / time.Since(start).Seconds()
	r.latencies(late)
	return r, <-failed
}

// bulkStream is both ends of a stream.
type bulkStream struct {
	w io.Writer
	r io.Reader
}

// fill writes until the stream ends, and counts what has arrived.
func (s bulkStream) fill(received *atomic.Int64) {
	go func() {
		b := make([]byte, 64<<10)
		for {
			if _, err := s.w.Write(b); err != nil {
				return
			}
		}
	}()
	b := make([]byte, 64<<10)
	for {
		n, err := s.r.Read(b)
		if received.Add(int64(n)); err != nil {
			return
		}
	}
}

// streams opens both streams: that of the bulk, and the ends of the other one. A first byte tells the receiver
// of each. end closes what they share.
func (streamsLoad) streams(c *conn) (bulk bulkStream, out io.Writer, in io.Reader, end func(), err error) {
	cfg := smux.DefaultConfig()
	cfg.Version, cfg.MaxFrameSize, cfg.MaxStreamBuffer, cfg.MaxReceiveBuffer = 2, 4096, 8<<20, 16<<20
	client, err := smux.Client(rwc{c.near}, cfg)
	if err != nil {
		return bulk, nil, nil, nil, err
	}
	server, err := smux.Server(rwc{c.far}, cfg)
	if err != nil {
		return bulk, nil, nil, nil, err
	}
	var from, to [2]*smux.Stream
	for i := range from {
		for _, step := range []func() error{
			func() (err error) { from[i], err = client.OpenStream(); return err },
			func() error { _, err := from[i].Write([]byte{0}); return err },
			func() (err error) { to[i], err = server.AcceptStream(); return err },
			func() error { _, err := to[i].Read(make([]byte, 1)); return err },
		} {
			if err := step(); err != nil {
				return bulk, nil, nil, nil, err
			}
		}
	}
	return bulkStream{from[0], to[0]}, from[1], to[1], func() { client.Close(); server.Close() }, nil
}

// rwc is a stream that is closed by who opened it.
type rwc struct{ io.ReadWriter }

func (rwc) Close() error { return nil }

func (l streamsLoad) heading() string {
	return "path\ttransport\tp50 ms\tp95\tp99\tmean\tbulk MB/s\twire\t"
}

func (l streamsLoad) row(_ scenario, r pathResult) string {
	return fmt.Sprintf("%.1f\t%.1f\t%.0f\t%.1f\t%.2f\t%.2f\t", r.P50, r.P95, r.P99, r.Mean, r.Goodput, r.Wire)
}
