package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
)

// acceptedResult is what many sessions of one listener cost. Their peers send a first message and
// are silent from then on.
type acceptedResult struct {
	Accepted           int     `json:"accepted"`
	HeapPerSession     float64 `json:"heap_bytes_per_session"`
	HeapMB             float64 `json:"heap_MB"`
	RSSMB              float64 `json:"rss_MB"`
	PeakRSSMB          float64 `json:"peak_rss_MB"` // while they were accepted
	Goroutines         int     `json:"goroutines"`  // more than before, the listener's included
	IdleCPU            float64 `json:"idle_cpu_share_of_a_core"`
	SetupMicroseconds  float64 `json:"setup_us"` // socket, first message, Accept and Read
	CloseMicroseconds  float64 `json:"close_us"`
	LeftoverGoroutines int     `json:"goroutines_left"`
	LeftoverHeapMB     float64 `json:"heap_MB_left"`
}

const (
	// fakeBatch is the number of fake clients at a time, fewer than may wait for Accept.
	fakeBatch = 100
	// Each loopback address is the source of fakePorts clients, from port fakeFirstPort on. The
	// ports are below those that systems choose by themselves.
	fakePorts, fakeFirstPort = 20000, 10000
)

// accepted makes one listener accept n sessions and leaves them idle for the given time. The
// clients are fake: each is a datagram with a first message, from an address and port of its own,
// and has an open socket only until the listener has read the message.
func accepted(n int, idle time.Duration) (r acceptedResult, err error) {
	// The clients are no sessions: they prove nothing, and are not asked whether they are there.
	lc := kcp.ListenConfig{MaxUnproven: -1, MaxUnprovenPerPrefix: -1, UnprovenTimeout: -1}
	nl, err := lc.Listen(context.Background(), "udp", "127.0.0.1:0")
	if err != nil {
		return r, err
	}
	l := nl.(*kcp.Listener)
	heap, goroutines := liveHeap(), runtime.NumGoroutine()
	sessions := make([]*kcp.UDPSession, 0, n)
	fake := fakeClients{to: l.Addr().(*net.UDPAddr).AddrPort()}
	begin := time.Now()
	for len(sessions) < n {
		if sessions, err = fake.connect(l, sessions, min(fakeBatch, n-len(sessions))); err != nil {
			return r, fmt.Errorf("after %d sessions: %w", len(sessions), err)
		}
		progress("%d/%d accepted", len(sessions), n)
	}
	progress("")
	r.SetupMicroseconds = float64(time.Since(begin).Microseconds()) / float64(n)
	r.Accepted, r.PeakRSSMB = n, peakRSS()/1e6
	time.Sleep(min(settled, idle))
	r.HeapMB = float64(liveHeap()-heap) / 1e6
	r.HeapPerSession, r.RSSMB = r.HeapMB*1e6/float64(n), rss()/1e6
	r.Goroutines = runtime.NumGoroutine() - goroutines
	cpu := cpuTime()
	time.Sleep(idle)
	r.IdleCPU = (cpuTime() - cpu).Seconds() / idle.Seconds()
	begin = time.Now()
	for _, s := range sessions {
		if err := s.Close(); err != nil {
			return r, err
		}
	}
	r.CloseMicroseconds = float64(time.Since(begin).Microseconds()) / float64(n)
	sessions = nil
	if err := l.Close(); err != nil {
		return r, err
	}
	waitFor(goroutines)
	r.LeftoverHeapMB = float64(liveHeap()-heap) / 1e6
	r.LeftoverGoroutines = max(0, runtime.NumGoroutine()-goroutines)
	return r, nil
}

// fakeClients are peers that send one message each.
type fakeClients struct {
	to   netip.AddrPort
	used int // addresses and ports used so far
}

// connect makes l accept n sessions from as many new clients, and appends them to sessions.
func (f *fakeClients) connect(l *kcp.Listener, sessions []*kcp.UDPSession, n int) ([]*kcp.UDPSession, error) {
	for range n {
		c, err := f.socket()
		if err != nil {
			return sessions, err
		}
		defer c.Close()
		if _, err := c.WriteToUDPAddrPort(firstMessage(uint32(f.used)), f.to); err != nil {
			return sessions, err
		}
	}
	l.SetDeadline(time.Now().Add(10 * time.Second))
	for range n {
		s, err := l.AcceptKCP()
		if err != nil {
			return sessions, err
		}
		sessions = append(sessions, s)
		if _, err := io.ReadFull(s, make([]byte, len(hello))); err != nil {
			return sessions, err
		}
	}
	return sessions, nil
}

// socket opens the socket of the next client.
func (f *fakeClients) socket() (*net.UDPConn, error) {
	for {
		host, port := 1+f.used/fakePorts, fakeFirstPort+f.used%fakePorts
		f.used++
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, byte(host>>8), byte(host)), Port: port})
		if err == nil || host > 1 { // another program may use a port of the first address
			return c, err
		}
	}
}

const hello = "hello"

// firstMessage returns the first datagram of a conversation: a PUSH with serial number 0.
func firstMessage(conv uint32) []byte {
	b := make([]byte, kcp.IKCP_OVERHEAD, kcp.IKCP_OVERHEAD+len(hello))
	binary.LittleEndian.PutUint32(b, conv)
	b[4] = kcp.IKCP_CMD_PUSH
	binary.LittleEndian.PutUint16(b[6:], kcp.IKCP_WND_RCV)
	binary.LittleEndian.PutUint32(b[20:], uint32(len(hello)))
	return append(b, hello...)
}

func (r acceptedResult) print() {
	printLines([]line{
		{"accepted sessions", fmt.Sprint(r.Accepted), "100000", "100000"},
		{"heap per session", fmt.Sprintf("%.2f KB", r.HeapPerSession/1e3), "12", "4"},
		{"heap of all", fmt.Sprintf("%.0f MB", r.HeapMB), "1200", "500"},
		{"RSS, and peak", fmt.Sprintf("%.0f MB, %.0f MB", r.RSSMB, r.PeakRSSMB), "1200", "500"},
		{"goroutines for all", fmt.Sprint(r.Goroutines), "", ""},
		{"CPU of all, idle", fmt.Sprintf("%.3f%% of a core", 100*r.IdleCPU), "", ""},
		{"to set one up, to close it", fmt.Sprintf("%.0f µs, %.1f µs", r.SetupMicroseconds, r.CloseMicroseconds), "200", "80"},
		{"left after closing", fmt.Sprintf("%d goroutines, %.1f MB", r.LeftoverGoroutines, r.LeftoverHeapMB), "0, 20", "0, 5"},
	})
}
