package kcp

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// flaky is a valve whose calls also fail at times.
type flaky struct {
	*valve
	mu    sync.Mutex
	rnd   *rand.Rand
	fails bool
}

func (f *flaky) roll(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.fails {
		return -1
	}
	return f.rnd.IntN(n)
}

func (f *flaky) WriteTo(b []byte, to net.Addr) (int, error) {
	switch f.roll(20) {
	case 0:
		return 0, io.ErrUnexpectedEOF
	case 1:
		return len(b) / 2, nil
	case 2:
		return -1, nil
	case 3:
		time.Sleep(time.Millisecond)
	}
	return f.valve.WriteTo(b, to)
}

// Programs that call everything at once, in any order, while sockets get stuck and free again, end
// without a deadlock, and nothing is left.
func TestStorm(t *testing.T) {
	for seed := range uint64(lighter(20, 2)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			path := netem.Path{Delay: 5 * time.Millisecond, Loss: 0.05}
			virtualSeed(t, seed, path, func(w *world) { storm(w, seed) })
		})
	}
}

func storm(w *world, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 7))
	w.sched.Close()
	w.sched = NewTimedSched(2)
	data, parity := []int{0, 3, 10, 1}[rnd.IntN(4)], []int{3, 1, 20}[rnd.IntN(3)]
	cfg := w.config([]BlockCrypt{nil, slowCipher(0), slowCipher(50 * time.Microsecond)}[rnd.IntN(3)], data, parity)
	cfg.oobHandler = func(s *UDPSession, b []byte) {
		switch rand.IntN(30) {
		case 0:
			s.Close()
		case 1:
			s.Abort()
		case 2:
			time.Sleep(100 * time.Millisecond)
		case 3:
			s.SetOOBHandler(nil)
		default:
			s.SendOOB(b)
		}
	}
	if rnd.IntN(3) == 0 {
		cfg.linger = -1
		cfg.user = int64(10 * time.Second)
	}
	sv := &flaky{valve: w.valve("10.0.0.2:2000"), rnd: rand.New(rand.NewPCG(seed, 8))}
	owned := rnd.IntN(2) == 0
	l := newListener(cfg, newSocket(sv, owned))
	var mu sync.Mutex
	var all []*UDPSession
	var valves []*valve
	valves = append(valves, sv.valve)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			s, err := l.AcceptKCP()
			if err != nil {
				return
			}
			mu.Lock()
			all = append(all, s)
			mu.Unlock()
		}
	})
	for i := range 6 {
		v := w.valve("10.0.0.1:0")
		valves = append(valves, v)
		f := &flaky{valve: v, rnd: rand.New(rand.NewPCG(seed, uint64(10+i)))}
		c := cfg.dial(uint32(i), l.Addr(), newSocket(f, true))
		c.Write([]byte("hello"))
		mu.Lock()
		all = append(all, c)
		mu.Unlock()
		f.mu.Lock()
		f.fails = rnd.IntN(3) == 0
		f.mu.Unlock()
	}
	w.sleep(100 * time.Millisecond)
	sv.mu.Lock()
	sv.fails = rnd.IntN(3) == 0
	sv.mu.Unlock()
	pick := func(r *rand.Rand) *UDPSession {
		mu.Lock()
		defer mu.Unlock()
		return all[r.IntN(len(all))]
	}
	end := time.Now().Add(5 * time.Second)
	for i := range 12 {
		r := rand.New(rand.NewPCG(seed, uint64(100+i)))
		wg.Go(func() {
			for time.Now().Before(end) {
				stormStep(r, pick(r))
				time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
			}
		})
	}
	wg.Go(func() {
		r := rand.New(rand.NewPCG(seed, 99))
		for time.Now().Before(end) {
			v := valves[r.IntN(len(valves))]
			v.shut([]time.Duration{0, time.Millisecond, 20 * time.Millisecond}[r.IntN(3)])
			time.Sleep(time.Duration(r.IntN(500)) * time.Millisecond)
			if r.IntN(4) > 0 {
				v.open()
			}
		}
	})
	time.Sleep(time.Until(end))
	if rnd.IntN(2) == 0 {
		for _, v := range valves {
			v.open()
		}
	}
	go l.Close()
	mu.Lock()
	rest := append([]*UDPSession(nil), all...)
	mu.Unlock()
	for _, s := range rest {
		s.SetDeadline(time.Now())
		go s.Close()
	}
	w.sleep(6 * time.Second)
	mu.Lock()
	rest = append([]*UDPSession(nil), all...)
	mu.Unlock()
	for _, s := range rest {
		within(w, time.Second, "Abort", func() { s.Abort() })
	}
	for _, s := range rest {
		within(w, 20*time.Second, "Done", func() { <-s.Done() })
	}
	within(w, 20*time.Second, "Listener.Done", func() { <-l.Done() })
	for _, v := range valves {
		v.open()
	}
	within(w, 20*time.Second, "everything", func() { wg.Wait() })
	w.sleep(time.Second)
	for _, s := range rest {
		if n := s.kept(); n != 0 {
			w.Errorf("an ended session refers to %d packets", n)
		}
	}
	sv.Close()
}

func stormStep(r *rand.Rand, s *UDPSession) {
	switch r.IntN(36) {
	case 0:
		s.SetMtu([]int{50, 30, 1500, 1400, -1, math.MinInt, math.MaxInt, 200}[r.IntN(8)])
	case 1:
		s.SetDUP([]int{0, 16, -1, math.MaxInt, 1}[r.IntN(5)])
	case 2:
		s.SetWindowSize([]int{1, 65535, -1, 32, math.MaxInt}[r.IntN(5)], []int{1, 65535, 0, 32}[r.IntN(4)])
	case 3:
		s.SetNoDelay(r.IntN(3)-1, []int{-1, 0, 10, math.MaxInt}[r.IntN(4)], []int{-1, 0, 2, math.MaxInt}[r.IntN(4)], r.IntN(3)-1)
	case 4:
		s.SetWriteDelay(r.IntN(2) == 0)
	case 5:
		s.SetStreamMode(r.IntN(2) == 0)
	case 6:
		s.SetACKNoDelay(r.IntN(2) == 0)
	case 7:
		s.SetRateLimit([]uint32{0, 1, 1000, math.MaxUint32, 0}[r.IntN(5)])
	case 8:
		s.SetRedundancy([]int{0, 100, 101, -5}[r.IntN(4)])
	case 9:
		s.SetMinParity(r.IntN(22) - 1)
	case 10:
		s.SetCongestionControl([]CongestionControl{nil, NewCubic(), NewBBR(), NewConservation()}[r.IntN(4)])
	case 11:
		s.SetKeepAlivePeriod([]time.Duration{0, 10 * time.Millisecond, math.MaxInt64, -1}[r.IntN(4)])
	case 12:
		s.SetIdleTimeout([]time.Duration{0, math.MaxInt64, -1, time.Hour}[r.IntN(4)])
	case 13:
		s.SetUserTimeout([]time.Duration{0, math.MaxInt64, -1, math.MinInt64, time.Hour}[r.IntN(5)])
	case 14:
		s.SetLinger([]int{5, math.MaxInt, 1, 3}[r.IntN(4)])
	case 15, 16:
		s.SendOOB(make([]byte, r.IntN(60)))
	case 17:
		if r.IntN(6) == 0 {
			s.CloseWrite()
		}
	case 18:
		if r.IntN(6) == 0 {
			s.CloseRead()
		}
	case 19:
		if r.IntN(8) == 0 {
			s.Close()
		}
	case 20:
		if r.IntN(8) == 0 {
			s.Abort()
		}
	case 21:
		s.SetOOBHandler(func(b []byte) { s.SendOOB(b) })
	case 22:
		s.Stats()
		s.Cause()
		s.GetRTO()
		s.GetOOBMaxSize()
		s.RemoteAddr()
		s.Done()
	case 23:
		s.Control(func(net.PacketConn) error { s.SetDUP(1); return nil })
	case 24, 25, 26, 27:
		s.SetReadDeadline(time.Now().Add(time.Duration(r.IntN(50)) * time.Millisecond))
		s.Read(make([]byte, r.IntN(4000)))
	case 28:
		s.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		s.WriteTo(struct{ io.Writer }{io.Discard})
	case 29:
		s.SetDeadline([]time.Time{{}, time.Unix(1, 0), time.Unix(1<<40, 0), time.Unix(-1<<40, 0)}[r.IntN(4)])
		s.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	default:
		s.SetWriteDeadline(time.Now().Add(time.Duration(r.IntN(100)) * time.Millisecond))
		var v [][]byte
		for range r.IntN(4) {
			v = append(v, make([]byte, r.IntN(20000)))
		}
		s.WriteBuffers(v)
	}
}
