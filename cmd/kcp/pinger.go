package main

import (
	"context"
	"encoding/binary"
	"io"
	"sync"
	"time"

	"github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/cmd/kcp/format"
)

// A pinger sends messages and takes what comes back.
type pinger struct {
	*pingRun
	s    *kcp.UDPSession
	show func(format string, args ...any)

	mu    sync.Mutex // guards the rest
	sent  int
	open  map[uint64]time.Time // sent, by serial number, and neither back nor given up
	times []time.Duration
}

func newPinger(p *pingRun, s *kcp.UDPSession) *pinger {
	return &pinger{pingRun: p, s: s, open: map[uint64]time.Time{}, show: func(string, ...any) {}}
}

// run returns once all messages are back or lost, ctx is done, or the session has failed.
func (b *pinger) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed, back := make(chan error, 1), make(chan struct{}, 1)
	go func() { failed <- b.receive(ctx, back) }()
	ticks := time.NewTicker(b.interval)
	defer ticks.Stop()
	if err := b.send(); err != nil {
		return err
	}
	for !b.finished() {
		select {
		case <-ctx.Done():
			b.giveUp(0)
			return nil
		case err := <-failed:
			return err
		case <-back:
		case <-ticks.C:
			b.giveUp(b.wait)
			if b.count > 0 && b.sent == b.count {
				continue
			}
			if err := b.send(); err != nil {
				return err
			}
		}
	}
	return nil
}

// send sends the next message.
func (b *pinger) send() error {
	m := make([]byte, b.size)
	b.mu.Lock()
	b.sent++
	seq := uint64(b.sent)
	b.open[seq] = time.Now()
	b.mu.Unlock()
	binary.BigEndian.PutUint64(m, seq)
	if b.stream {
		_, err := b.s.Write(m)
		return err
	}
	return b.s.SendDatagram(m)
}

// receive takes the messages that come back, and puts a token into back for each.
func (b *pinger) receive(ctx context.Context, back chan<- struct{}) error {
	m := make([]byte, b.size)
	for {
		var err error
		if b.stream {
			_, err = io.ReadFull(b.s, m)
		} else {
			m, err = b.s.ReceiveDatagram(ctx)
		}
		if err != nil {
			return err
		}
		if len(m) == b.size {
			b.returned(binary.BigEndian.Uint64(m))
		}
		select {
		case back <- struct{}{}:
		default:
		}
	}
}

// returned notes that a message is back.
func (b *pinger) returned(seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, ok := b.open[seq]
	if !ok {
		return // twice, or too late
	}
	delete(b.open, seq)
	took := time.Since(at)
	b.times = append(b.times, took)
	b.show("%d: %s ms", seq, format.Milliseconds(took))
}

// giveUp gives up the messages that are older than that. On an interrupt those that are younger than -wait
// are as if they were never sent.
func (b *pinger) giveUp(age time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for seq, at := range b.open {
		switch waited := time.Since(at); {
		case waited < age:
		case waited < b.wait:
			delete(b.open, seq)
			b.sent--
		default:
			delete(b.open, seq)
			b.show("%d: not back within %s", seq, format.Short(b.wait))
		}
	}
}

// finished says whether all that was to be sent is, and is back or lost.
func (b *pinger) finished() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count > 0 && b.sent == b.count && len(b.open) == 0
}
