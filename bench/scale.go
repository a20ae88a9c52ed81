package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
)

// scaleResult is what many idle connections cost.
type scaleResult struct {
	Connections        int     `json:"connections"`
	HeapPerSession     float64 `json:"heap_bytes_per_session"` // mean of both ends
	GoroutinesPerConn  float64 `json:"goroutines_per_connection"`
	IdleCPU            float64 `json:"idle_cpu_share_of_a_core"`
	SetupMicroseconds  float64 `json:"setup_us"` // from Dial to the first byte received
	LeftoverGoroutines int     `json:"goroutines_left"`
	LeftoverHeapMB     float64 `json:"heap_MB_left"`
}

// settled is how long connections are left alone before their memory is measured.
const settled = 3 * time.Second

// scale opens n connections, each dialled from a socket of its own, leaves them idle, and closes
// them.
func scale(n int, idle time.Duration) (r scaleResult, err error) {
	l, err := kcp.ListenWithOptions("127.0.0.1:0", nil, 0, 0)
	if err != nil {
		return r, err
	}
	heap, goroutines := liveHeap(), runtime.NumGoroutine()
	conns := make([]*kcp.UDPSession, 0, 2*n)
	begin := time.Now()
	for range n {
		client, server, err := bulk{untuned: true}.open(l)
		if err != nil {
			return r, fmt.Errorf("connection %d: %w (each needs a file descriptor)", len(conns)/2+1, err)
		}
		client.SetNoDelay(1, 20, 2, 1)
		server.SetNoDelay(1, 20, 2, 1)
		conns = append(conns, client, server)
	}
	r.Connections = n
	r.SetupMicroseconds = float64(time.Since(begin).Microseconds()) / float64(n)
	time.Sleep(min(settled, idle))
	r.HeapPerSession = float64(liveHeap()-heap) / float64(2*n)
	r.GoroutinesPerConn = float64(runtime.NumGoroutine()-goroutines) / float64(n)
	cpu := cpuTime()
	time.Sleep(idle)
	r.IdleCPU = (cpuTime() - cpu).Seconds() / idle.Seconds()
	for _, c := range conns {
		if err := c.Close(); err != nil && err != io.ErrClosedPipe {
			return r, err
		}
	}
	conns = nil
	l.Close()
	waitFor(goroutines)
	r.LeftoverHeapMB = float64(liveHeap()-heap) / 1e6
	r.LeftoverGoroutines = max(0, runtime.NumGoroutine()-goroutines)
	return r, nil
}

// waitFor waits until there are at most so many goroutines, or until closed sessions have had time
// to give up peers that do not answer.
func waitFor(goroutines int) {
	const lingering = 10 * time.Second
	for end := time.Now().Add(lingering); runtime.NumGoroutine() > goroutines && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
}

// liveHeap returns the bytes of heap that are in use after full collections: two, as pools keep a
// generation.
func liveHeap() int64 {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func (r scaleResult) print() {
	printLines([]line{
		{"connections", fmt.Sprint(r.Connections), "", ""},
		{"heap per session", fmt.Sprintf("%.1f KB", r.HeapPerSession/1e3), "12", "4"},
		{"goroutines per connection", fmt.Sprintf("%.2f", r.GoroutinesPerConn), "1", "1"},
		{"CPU of all, idle", fmt.Sprintf("%.3f%% of a core", 100*r.IdleCPU), "0.5%", "0.1%"},
		{"to set one up", fmt.Sprintf("%.0f µs", r.SetupMicroseconds), "200", "80"},
		{"left after closing", fmt.Sprintf("%d goroutines, %.1f MB", r.LeftoverGoroutines, r.LeftoverHeapMB), "0, 20", "0, 5"},
	})
}

// line is a line of a table.
type line struct{ name, value, floor, goal string }

func printLines(lines []line) {
	if quick {
		for _, l := range lines {
			fmt.Printf("%-27s%s\n", l.name, l.value)
		}
		return
	}
	fmt.Printf("%-27s%-27s%-10s%s\n", "", "", "floor", "goal")
	for _, l := range lines {
		fmt.Printf("%-27s%-27s%-10s%s\n", l.name, l.value, l.floor, l.goal)
	}
}
