package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
)

// warmup is how long a measurement runs before anything is counted.
var warmup = 300 * time.Millisecond

// speedTable returns all measurements of the subcommand speed.
func speedTable() []measurement {
	key := make([]byte, 16)
	aes := func() (kcp.BlockCrypt, error) { return kcp.NewAESBlockCrypt(key) }
	gcm := func() (kcp.BlockCrypt, error) { return kcp.NewAESGCMCrypt(key) }
	tuned := bulk{conns: 1, window: 1024}
	with := func(change func(*bulk)) func(time.Duration) (result, error) {
		b := tuned
		change(&b)
		return b.run
	}
	return append(yardsticks(),
		measurement{plain, tuned.run, yardstick{yardTCP, 0.6, 1}},
		measurement{"window 8192", with(func(b *bulk) { b.window = 8192 }), yardstick{plain, 0.9, 1}},
		measurement{"window 32768", with(func(b *bulk) { b.window = 32768 }), yardstick{plain, 0.9, 1}},
		measurement{"AES-128 (CFB), unsealed", with(func(b *bulk) { b.crypt = aes }), yardstick{yardTCP, 0.4, 0.5}},
		measurement{"AES-128-GCM, unsealed", with(func(b *bulk) { b.crypt = gcm }), yardstick{yardQUIC, 2, 3}},
		measurement{"sealed", with(func(b *bulk) { b.crypt, b.seal = aes, kcp.SealRequired }), yardstick{yardTCP, 0.85, 1.1}},
		measurement{"FEC 10/3", with(func(b *bulk) { b.data, b.parity = 10, 3 }), yardstick{yardTCP, 0.3, 0.6}},
		measurement{"64 connections, window 256", with(func(b *bulk) { b.conns, b.window = 64, 256 }), yardstick{yardTCP, 0.5, 1}},
		measurement{"out of the box", with(func(b *bulk) { b.untuned = true }), yardstick{yardTCP, 0.3, 1}},
		measurement{"echo, 64 bytes", echo(false), yardstick{yardHandoff, 1.6, 1.2}},
		measurement{"echo, 64 bytes, ACKNoDelay", echo(true), yardstick{yardHandoff, 1.6, 1.2}},
	)
}

// plain is the name of the measurement that those of other windows are compared with.
const plain = "no cipher, window 1024"

// bulk is a transfer in one direction with both ends in this process.
type bulk struct {
	conns        int
	window       int // segments, in both directions
	crypt        func() (kcp.BlockCrypt, error)
	seal         kcp.SealMode // SealAuto means SealOff here: a cipher by itself is measured
	data, parity int          // FEC shards, 0 for none
	untuned      bool         // no setter is called
}

// settings are those of both ends. The parity is what is measured, so it does not adapt.
func (b bulk) settings() (kcp.Settings, error) {
	s := kcp.Settings{DataShards: b.data, ParityShards: b.parity, MinParity: b.parity, RepairBudget: -1, Seal: b.seal}
	if b.seal == kcp.SealAuto {
		s.Seal = kcp.SealOff
	}
	if b.crypt == nil {
		return s, nil
	}
	var err error
	s.Block, err = b.crypt()
	return s, err
}

func (b bulk) tune(s *kcp.UDPSession) {
	if b.untuned {
		return
	}
	s.SetStreamMode(true)
	s.SetNoDelay(1, 10, 2, 1)
	s.SetWindowSize(b.window, b.window)
}

// open returns the two ends of a connection. The caller closes them.
func (b bulk) open(l *kcp.Listener) (client, server *kcp.UDPSession, err error) {
	settings, err := b.settings()
	if err != nil {
		return nil, nil, err
	}
	d := kcp.Dialer{Settings: settings}
	conn, err := d.Dial("udp", l.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	client = conn.(*kcp.UDPSession)
	b.tune(client)
	if _, err = client.Write([]byte{0}); err != nil {
		return nil, nil, err
	}
	l.SetDeadline(time.Now().Add(10 * time.Second))
	server, err = l.AcceptKCP()
	if err != nil {
		return nil, nil, err
	}
	b.tune(server)
	_, err = io.ReadFull(server, make([]byte, 1))
	return client, server, err
}

func (b bulk) run(d time.Duration) (r result, err error) {
	settings, err := b.settings()
	if err != nil {
		return r, err
	}
	lc := kcp.ListenConfig{Settings: settings}
	ln, err := lc.Listen(context.Background(), "udp", "127.0.0.1:0")
	if err != nil {
		return r, err
	}
	l := ln.(*kcp.Listener)
	defer l.Close()
	var (
		received, sent atomic.Int64
		stop           atomic.Bool
		writers, wg    sync.WaitGroup
	)
	defer wg.Wait()
	for range b.conns {
		client, server, err := b.open(l)
		if err != nil {
			return r, err
		}
		defer client.Close()
		defer server.Close()
		writers.Go(func() {
			buf := make([]byte, 64<<10)
			for !stop.Load() {
				n, err := client.Write(buf)
				sent.Add(int64(n))
				if err != nil {
					return
				}
			}
		})
		wg.Go(func() {
			buf := make([]byte, 256<<10)
			for {
				n, err := server.Read(buf)
				received.Add(int64(n))
				if err != nil {
					return
				}
			}
		})
	}
	m := startMeter(&received)
	time.Sleep(d)
	r = m.stop()
	stop.Store(true)
	writers.Wait()
	for end := time.Now().Add(10 * time.Second); received.Load() < sent.Load(); {
		if time.Now().After(end) {
			return r, fmt.Errorf("%d of %d bytes arrived", received.Load(), sent.Load())
		}
		time.Sleep(10 * time.Millisecond)
	}
	return r, nil
}

// meter compares a counter of bytes, the process's CPU time, allocations and retransmissions at two
// times.
type meter struct {
	bytes  *atomic.Int64
	start  time.Time
	cpu    time.Duration
	had    int64
	allocs uint64
	snmp   *kcp.Snmp
}

// startMeter starts to count after the warm-up.
func startMeter(bytes *atomic.Int64) *meter {
	time.Sleep(warmup)
	return &meter{bytes, time.Now(), cpuTime(), bytes.Load(), allocations(), kcp.DefaultSnmp.Copy()}
}

func (m *meter) stop() result {
	mb := float64(m.bytes.Load()-m.had) / 1e6
	snmp := kcp.DefaultSnmp.Copy()
	r := result{
		MBps:        mb / time.Since(m.start).Seconds(),
		CPUPerGB:    (cpuTime() - m.cpu).Seconds() / (mb / 1000),
		AllocsPerMB: float64(allocations()-m.allocs) / mb,
		RSSMB:       rss() / 1e6,
	}
	if sent := mb * 1e6 / 1376; snmp.RetransSegs > m.snmp.RetransSegs {
		r.Resent = float64(snmp.RetransSegs-m.snmp.RetransSegs) / sent
	}
	return r
}

func allocations() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// echo measures round trips of 64 bytes, with SetACKNoDelay as given.
func echo(ackNoDelay bool) func(d time.Duration) (result, error) {
	return func(d time.Duration) (r result, err error) {
		l, err := kcp.ListenWithOptions("127.0.0.1:0", nil, 0, 0)
		if err != nil {
			return r, err
		}
		defer l.Close()
		client, server, err := bulk{window: 1024}.open(l)
		if err != nil {
			return r, err
		}
		defer client.Close()
		defer server.Close()
		client.SetACKNoDelay(ackNoDelay)
		server.SetACKNoDelay(ackNoDelay)
		go func() {
			buf := make([]byte, 64)
			for {
				if _, err := io.ReadFull(server, buf); err != nil {
					return
				}
				server.Write(buf)
			}
		}()
		return pingPong(d, func(buf []byte) error {
			if _, err := client.Write(buf); err != nil {
				return err
			}
			_, err := io.ReadFull(client, buf)
			return err
		})
	}
}

// pingPong measures round trips by trip for the time d.
func pingPong(d time.Duration, trip func(buf []byte) error) (r result, err error) {
	buf := make([]byte, 64)
	for begin := time.Now(); time.Since(begin) < warmup; {
		if err := trip(buf); err != nil {
			return r, err
		}
	}
	times := make([]float64, 0, 1<<20)
	allocs := allocations()
	for begin := time.Now(); time.Since(begin) < d && len(times) < cap(times); {
		start := time.Now()
		if err := trip(buf); err != nil {
			return r, err
		}
		times = append(times, float64(time.Since(start).Nanoseconds())/1000)
	}
	r.AllocsPerOp, r.RSSMB = float64(allocations()-allocs)/float64(len(times)), rss()/1e6
	if len(times) == 0 {
		return r, fmt.Errorf("no round trip in %v", d)
	}
	slices.Sort(times)
	r.P50us, r.P99us = times[len(times)/2], times[len(times)*99/100]
	return r, nil
}
