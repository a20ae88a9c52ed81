package kcp

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// Segments with little data take little memory, whether they can be read or wait for a gap to be
// filled: not more than twice what has come for them.
func TestSmallSegments(t *testing.T) {
	const perDatagram = 56
	for _, crypt := range []string{"plain", "aes"} {
		for _, c := range []struct {
			size, wnd, first int
			wide             bool // the window is set, else it follows
		}{
			{0, wndLimit, 0, true}, {0, wndLimit, 1, true}, {1, wndLimit, 0, true}, {1, wndLimit, 1, true},
			{40, wndLimit, 1, true}, {400, 20_000, 1, true}, {600, 20_000, 1, true}, {1, autoWindowMax, 1, false},
		} {
			if raceEnabled && c.size == 1 && c.wide {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d bytes from sn %d", crypt, c.size, c.first), func(t *testing.T) {
				virtual(t, netem.Path{}, func(w *world) {
					cfg := w.config(newCrypt(t, crypt), 0, 0)
					if c.wide {
						cfg.rcvWnd = c.wnd
					}
					peer, victim := w.bind("10.0.0.2:2000"), newSocket(w.bind("10.0.0.1:0"), true)
					s := cfg.dial(1, peer.LocalAddr(), victim)
					defer closeAll(s, peer)
					s.SetLinger(0)
					s.confirm()
					go func() { // what comes back is not kept
						for b := make([]byte, mtuLimit); ; {
							if _, _, err := peer.ReadFrom(b); err != nil {
								return
							}
						}
					}()
					w.awaitIdle()
					before, sent := heapInUse(), 0
					body := make([]byte, c.size)
					for sn := c.first; sn < c.wnd; {
						b := make([]byte, cfg.env.head, mtuLimit)
						for range perDatagram {
							if sn == c.wnd || len(b)+IKCP_OVERHEAD+c.size+cfg.env.tail > IKCP_MTU_DEF {
								break
							}
							h := header{conv: 1, cmd: IKCP_CMD_PUSH, wnd: 128, sn: uint32(sn), len: uint32(c.size)}
							b = append(b, make([]byte, IKCP_OVERHEAD)...)
							h.put(b[len(b)-IKCP_OVERHEAD:])
							b = append(b, body...)
							sn++
						}
						b = cfg.env.seal(b)
						sent += len(b)
						peer.WriteTo(b, s.LocalAddr())
						if c.wide && sn/perDatagram%100 != 0 {
							continue
						}
						w.sleep(atOnce)
					}
					w.awaitIdle()
					held := heapInUse() - before
					if n := s.received(); n != c.wnd-c.first {
						t.Fatalf("%d segments have been taken of %d", n, c.wnd-c.first)
					}
					t.Logf("%d kB came, %d kB are held", sent>>10, held>>10)
					if held > int64(2*sent)+64<<10 && c.size < 100 || held > int64(4*sent) {
						t.Errorf("%d kB came, and %d kB are held", sent>>10, held>>10)
					}
				})
			})
		}
	}
}

// A segment at the far end of a large window takes no table for all of it: it is as lost until more has
// arrived.
func TestFarSegment(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		s := w.full(cfg)
		s.confirm()
		s.SetWindowSize(4, wndLimit)
		before := heapInUse()
		for _, sn := range []uint32{wndLimit - 1, recvReach, recvReach - 1} {
			s.receives(segment(s.GetConv(), IKCP_CMD_PUSH, sn, []byte("x")))
		}
		if held := heapInUse() - before; held > 150<<10 || s.received() != 1 {
			t.Errorf("%d kB are held for %d segments", held>>10, s.received())
		}
		var b []byte
		for sn := range uint32(recvReach) {
			b = append(b[:0], segment(s.GetConv(), IKCP_CMD_PUSH, sn, []byte("x"))...)
			s.receives(b)
		}
		s.receives(segment(s.GetConv(), IKCP_CMD_PUSH, wndLimit-1, []byte("x")))
		if n := s.received(); n != recvReach+1 {
			t.Errorf("%d segments have been taken", n)
		}
		s.SetLinger(0)
		s.Close()
	})
}

// What small segments carry is what is read, in whichever order they come and however they are read,
// and their packets are given back.
func TestSmallSegmentsRead(t *testing.T) {
	for _, stream := range []bool{false, true} {
		for _, way := range []string{"Read", "short reads", "WriteTo", "WriteTo copying"} {
			t.Run(fmt.Sprintf("stream=%t/%s", stream, way), func(t *testing.T) {
				path := netem.Path{Delay: 5e6, Jitter: 5e6, Reorder: 0.3, Loss: 0.05, Duplicate: 0.05}
				virtual(t, path, func(w *world) {
					cfg := w.config(nil, 0, 0)
					c, s := w.pair(cfg)
					s.SetStreamMode(stream)
					data := random(4, 200_000)
					go func() {
						rest, size := data, 1
						for len(rest) > 0 {
							n, err := c.Write(rest[:min(size, len(rest))])
							if w.check(err); err != nil {
								return
							}
							rest, size = rest[n:], size*7%1201
						}
						w.check(c.CloseWrite())
					}()
					var got bytes.Buffer
					var err error
					switch way {
					case "Read":
						_, err = got.ReadFrom(struct{ io.Reader }{s})
					case "short reads":
						_, err = io.CopyBuffer(struct{ io.Writer }{&got}, struct{ io.Reader }{s}, make([]byte, 11))
					case "WriteTo":
						_, err = s.WriteTo(gatherer{&got})
					case "WriteTo copying":
						_, err = s.WriteTo(&got)
					}
					w.check(err)
					if !bytes.Equal(got.Bytes(), data) {
						t.Errorf("%d of %d bytes, changed", got.Len(), len(data))
					}
					closeAll(c, s)
					w.sleep(closeTimeout)
					w.wantGone(s)
				})
			})
		}
	}
}

// gatherer takes many slices at once.
type gatherer struct{ to *bytes.Buffer }

func (g gatherer) Write(b []byte) (int, error) { return g.to.Write(b) }
func (g gatherer) WriteBuffers(v [][]byte) (n int, err error) {
	for _, b := range v {
		m, _ := g.to.Write(b)
		n += m
	}
	return n, nil
}
