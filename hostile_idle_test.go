package kcp

import (
	"fmt"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// A stuck session's timer does not spin, whatever it waits for.
func TestStuckTimers(t *testing.T) {
	for _, crowd := range []int{0, 10, 200} {
		for _, mode := range []string{"plain", "delay", "fec", "rate", "keepalive", "closewrite", "close", "peerdata", "wask", "closewait", "deadline"} {
			t.Run(fmt.Sprintf("%d/%s", crowd, mode), func(t *testing.T) {
				virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
					data, parity := 0, 0
					if mode == "fec" {
						data, parity = 10, 3
					}
					l := w.listen(w.config(nil, data, parity), "10.0.0.2:2000")
					v := w.valve("10.0.0.1:0")
					cfg := w.config(nil, data, parity)
					cfg.user = 0
					cfg.linger = time.Hour
					c := cfg.dial(1, l.Addr(), newSocket(v, true))
					runs := c.countTimer()
					c.Write([]byte("hello"))
					s, err := l.AcceptKCP()
					w.check(err)
					s.Write([]byte("hello"))
					c.Read(make([]byte, 10))
					w.awaitIdle()
					c.SetNoDelay(1, 10, 2, 1)
					c.SetWindowSize(1024, 1024)
					switch mode {
					case "delay":
						c.SetWriteDelay(true)
					case "rate":
						c.SetRateLimit(100_000)
					case "keepalive":
						c.SetKeepAlivePeriod(time.Second)
					case "deadline":
						c.SetReadDeadline(time.Now().Add(time.Hour * 2))
						go c.Read(make([]byte, 10))
					}
					v.shut(2 * time.Hour)
					c.SetWriteDeadline(time.Now().Add(time.Second))
					if crowd > 0 {
						c.Write(make([]byte, crowd*1376))
					}
					switch mode {
					case "closewrite":
						c.CloseWrite()
					case "close":
						c.Close()
					case "closewait":
						c.SetLinger(-1)
						go c.Close()
					case "peerdata":
						s.SetUserTimeout(-1)
						s.Write(make([]byte, 20000))
					case "wask":
						s.SetKeepAlivePeriod(10 * time.Millisecond)
					}
					w.sleep(10 * time.Second)
					before := runs.Load()
					w.sleep(50 * time.Minute)
					n := runs.Load() - before
					if n > 1000 {
						t.Errorf("the timer ran %d times in 50 minutes", n)
					} else if n > 20 {
						t.Logf("the timer ran %d times in 50 minutes", n)
					}
					v.open()
					c.Abort()
					s.Abort()
					l.Close()
				})
			})
		}
	}
}
