package kcp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// However a session fails, what has arrived in order is read first, and then comes the error, to
// Read, WriteTo and both ends. After an end of the peer's stream it is the end, whatever comes then.
// Only what this side ends itself is over at once.
func TestReadBeforeError(t *testing.T) {
	const size = 20_000
	for _, c := range []struct {
		name string
		fail func(w *world, s, peer *UDPSession)
		want error // nil for the end of the stream
		lost bool  // the data
	}{
		{"idle timeout", func(w *world, s, peer *UDPSession) {
			w.check(s.SetIdleTimeout(10 * time.Millisecond))
		}, syscall.ETIMEDOUT, false},
		{"user timeout", func(w *world, s, peer *UDPSession) {
			w.watch(func(_, _ netip.AddrPort, b []byte) bool { return false })
			w.check(s.SetUserTimeout(10 * time.Millisecond))
			s.Write([]byte("x"))
		}, syscall.ETIMEDOUT, false},
		{"keepalive", func(w *world, s, peer *UDPSession) {
			w.watch(func(_, _ netip.AddrPort, b []byte) bool { return false })
			w.check(s.SetKeepAlivePeriod(10 * time.Millisecond))
		}, syscall.ETIMEDOUT, false},
		{"reset", func(w *world, s, peer *UDPSession) {
			w.check(peer.SetLinger(0))
			peer.Close()
		}, syscall.ECONNRESET, false},
		{"socket error", func(w *world, s, peer *UDPSession) {
			w.check(s.Control(func(c net.PacketConn) error { return c.Close() }))
		}, syscall.ECONNABORTED, false},
		{"end, then a timeout", func(w *world, s, peer *UDPSession) {
			w.check(peer.CloseWrite())
			w.awaitIdle()
			w.check(s.SetIdleTimeout(10 * time.Millisecond))
		}, nil, false},
		{"end, then a reset", func(w *world, s, peer *UDPSession) {
			w.check(peer.CloseWrite())
			w.awaitIdle()
			s.Write([]byte("x"))
			w.awaitIdle()
			w.check(peer.SetLinger(0))
			peer.Close()
		}, nil, false},
		{"abort by this side", func(w *world, s, peer *UDPSession) { s.Abort() }, net.ErrClosed, true},
		{"timeout, then Close", func(w *world, s, peer *UDPSession) {
			w.check(s.SetIdleTimeout(10 * time.Millisecond))
			w.sleep(20 * time.Millisecond)
			s.Close()
		}, net.ErrClosed, true},
		{"CloseRead", func(w *world, s, peer *UDPSession) { w.check(s.CloseRead()) }, nil, true},
	} {
		for _, way := range []string{"Read", "short reads", "WriteTo"} {
			for _, accepted := range []bool{false, true} {
				t.Run(c.name+"/"+way+map[bool]string{true: "/accepted"}[accepted], func(t *testing.T) {
					virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
						s, peer := w.pair(w.config(nil, 0, 0))
						if accepted {
							s, peer = peer, s
						}
						data := random(5, size)
						_, err := peer.Write(data)
						w.check(err)
						w.awaitIdle()
						c.fail(w, s, peer)
						w.sleep(time.Second)
						var got bytes.Buffer
						switch way {
						case "Read":
							_, err = io.Copy(struct{ io.Writer }{&got}, struct{ io.Reader }{s})
						case "short reads":
							_, err = io.CopyBuffer(struct{ io.Writer }{&got}, struct{ io.Reader }{s}, make([]byte, 100))
						case "WriteTo":
							_, err = s.WriteTo(&got)
						}
						if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
							t.Errorf("%v, want %v", err, c.want)
						}
						if c.lost && got.Len() > 0 || !c.lost && !bytes.Equal(got.Bytes(), data) {
							t.Errorf("%d bytes were read", got.Len())
						}
						s.SetLinger(0)
						peer.SetLinger(0)
						closeAll(s, peer)
					})
				})
			}
		}
	}
}

// Where several goroutines read, none gets the error while there is something to be read.
func TestReadersBeforeError(t *testing.T) {
	for range 20 {
		virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
			s, peer := w.pair(w.config(nil, 0, 0))
			lowLatency(32, s, peer)
			const readers = 3
			var mu sync.Mutex
			var got, failed int
			for range readers {
				go func() {
					n, err := s.Read(make([]byte, 100))
					mu.Lock()
					defer mu.Unlock()
					if got += n; err != nil {
						failed++
					}
				}()
			}
			synctest.Wait()
			var b []byte
			for range readers {
				b = append(b, segment(s.GetConv(), IKCP_CMD_PUSH, s.nextSn()+uint32(len(b)/25), []byte("x"))...)
			}
			s.receivesAndFails(syscall.ECONNRESET, b)
			synctest.Wait()
			if got != readers || failed > 0 {
				t.Errorf("%d of %d messages were read, and %d readers got an error", got, readers, failed)
			}
			if _, err := s.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("then: %v", err)
			}
			closeAll(s, peer)
		})
	}
}

// heldUp is a PacketConn whose reader gets nothing while it is held up.
type heldUp struct {
	*netem.Conn
	until atomic.Int64 // by clock
}

func (h *heldUp) hold(d time.Duration) { h.until.Store(clock() + int64(d)) }

func (h *heldUp) ReadFrom(b []byte) (int, net.Addr, error) {
	n, addr, err := h.Conn.ReadFrom(b)
	time.Sleep(time.Duration(h.until.Load() - clock()))
	return n, addr, err
}

// A process that did not run for longer than the idle timeout, so that its timers are late, reads
// first what has arrived meanwhile. A peer that was silent is still found.
func TestIdleTimeoutAfterStop(t *testing.T) {
	const (
		idle    = 10 * time.Millisecond
		stopped = 50 * time.Millisecond
	)
	for _, woken := range []string{"timer", "Write", "setter"} {
		for _, silent := range []bool{false, true} {
			t.Run(woken+map[bool]string{true: "/silent"}[silent], func(t *testing.T) {
				virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
					l := w.listen(w.config(nil, 0, 0), "10.0.0.2:2000")
					conn := &heldUp{Conn: w.bind("10.0.0.1:0")}
					s := w.config(nil, 0, 0).dial(1, l.Addr(), newSocket(conn, true))
					_, err := s.Write([]byte("question"))
					w.check(err)
					peer, err := l.AcceptKCP()
					w.check(err)
					w.awaitIdle()
					// Nothing of the process runs, and then its timers do before its reader.
					conn.hold(stopped + 200*time.Microsecond)
					w.sched.Put(func() { time.Sleep(stopped - 2*time.Millisecond) }, time.Now().Add(2*time.Millisecond))
					w.check(s.SetIdleTimeout(s.Stats().LastHeard + idle))
					if silent {
						w.watch(func(_, _ netip.AddrPort, b []byte) bool { return false })
					}
					peer.Write([]byte("answer"))
					time.Sleep(stopped)
					switch woken {
					case "Write":
						s.Write([]byte("x"))
					case "setter":
						s.SetStreamMode(true)
					}
					b := make([]byte, 10)
					start := time.Now()
					n, err := s.Read(b)
					if silent && !errors.Is(err, syscall.ETIMEDOUT) || !silent && string(b[:n]) != "answer" {
						t.Errorf("%q, %v", b[:n], err)
					}
					if took := time.Since(start); took > 2*time.Millisecond {
						t.Errorf("after %v", took)
					}
					s.SetLinger(0)
					peer.SetLinger(0)
					closeAll(s, peer, l)
				})
			})
		}
	}
}
