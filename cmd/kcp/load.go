package main

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"github.com/xtaci/kcp-go/v5"
)

// A testSpec is what a client asks a server to do, as the options of kcp perf say.
type testSpec struct {
	Sessions  int           `json:"sessions"`
	Direction string        `json:"direction"` // up, down or both, as the client sees it
	Time      time.Duration `json:"time"`      // 0 where Bytes says how long
	Bytes     int64         `json:"bytes"`     // each session, each way; 0 where Time says how much
	TCP       bool          `json:"tcp"`       // then the same with TCP

	// For the server's ends of the sessions.
	Profile    string `json:"profile"`
	Congestion string `json:"congestion"`
	Window     int    `json:"window"`
	Rate       int64  `json:"rate"`
}

const (
	maxTestSessions = 64
	maxTestTime     = time.Hour
)

// check returns why a server does not do that.
func (t *testSpec) check() string {
	switch {
	case t == nil:
		return "a test without a description"
	case t.Sessions < 1 || t.Sessions > maxTestSessions:
		return "a test has 1 to 64 sessions"
	case t.Time < 0 || t.Time > maxTestTime || t.Bytes < 0 || t.Bytes > mostBytes || (t.Time == 0) == (t.Bytes == 0):
		return "a test lasts up to an hour, or sends up to 1 PB"
	}
	return ""
}

func (t *testSpec) up() bool   { return t.Direction != "down" }
func (t *testSpec) down() bool { return t.Direction != "up" }

// A flow is one connection's load. Its counters may be read while it runs.
type flow struct {
	conn           duplex
	sent, received atomic.Int64
	wrote          atomic.Bool   // all that it is to send
	took           time.Duration // until all was received, or sent
}

// A flowResult is how a flow went at one end.
type flowResult struct {
	Sent     int64         `json:"sent"`
	Received int64         `json:"received"`
	Took     time.Duration `json:"took"`
	Error    string        `json:"error,omitempty"`
	Stats    *kcp.Stats    `json:"stats,omitempty"` // nil for TCP
}

// flowResults are those of one end.
type flowResults []flowResult

func (f flowResults) sent() (n int64) {
	for _, r := range f {
		n += r.Sent
	}
	return n
}

func (f flowResults) received() (n int64) {
	for _, r := range f {
		n += r.Received
	}
	return n
}

// run sends and receives as the test says, until both ends have all, and closes the connection. After ctx
// it sends no more.
func (f *flow) run(ctx context.Context, t *testSpec, send, receive bool) (flowResult, error) {
	defer f.conn.Close()
	start := time.Now()
	sent := make(chan error, 1)
	if send {
		go func() {
			err := f.send(ctx, t)
			f.wrote.Store(true)
			sent <- errors.Join(err, f.conn.CloseWrite())
		}()
	}
	err := f.receive()
	if send {
		if err != nil {
			f.conn.SetWriteDeadline(time.Now())
		}
		err = errors.Join(err, <-sent)
	} else {
		err = errors.Join(err, f.conn.CloseWrite())
	}
	f.took = time.Since(start)
	r := flowResult{Sent: f.sent.Load(), Received: f.received.Load(), Took: f.took}
	if s, ok := f.conn.(*kcp.UDPSession); ok {
		stats := s.Stats()
		r.Stats = &stats
	}
	if err != nil {
		r.Error = err.Error()
	}
	return r, err
}

// flowBuffer is the size of a write and of a read.
const flowBuffer = 64 << 10

// send writes until it has written enough, or for long enough.
func (f *flow) send(ctx context.Context, t *testSpec) error {
	defer context.AfterFunc(ctx, func() { f.conn.SetWriteDeadline(time.Now()) })()
	if t.Time > 0 {
		f.conn.SetWriteDeadline(time.Now().Add(t.Time))
	}
	b := make([]byte, flowBuffer)
	rand.NewChaCha8([32]byte{}).Read(b) // nothing on the way is to compress it
	for {
		if t.Bytes > 0 {
			b = b[:min(int64(len(b)), t.Bytes-f.sent.Load())]
		}
		if len(b) == 0 {
			return nil
		}
		n, err := f.conn.Write(b)
		f.sent.Add(int64(n))
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return err
		}
	}
}

// receive reads until the other end has sent all.
func (f *flow) receive() error {
	b := make([]byte, flowBuffer)
	for {
		n, err := f.conn.Read(b)
		f.received.Add(int64(n))
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}
