package kcp

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
	"github.com/xtaci/kcp-go/v5/internal/unmarked"
)

// A session with a peer without extensions takes no reset from whoever guesses una: such a peer sends none.
func TestForgedResetUnmarked(t *testing.T) {
	for _, lead := range []bool{false, true} {
		for _, accepted := range []bool{false, true} {
			t.Run(fmt.Sprintf("lead=%t/accepted=%t", lead, accepted), func(t *testing.T) {
				virtual(t, netem.Path{Delay: 20 * time.Millisecond}, func(w *world) {
					var s *UDPSession
					var p *unmarked.Session
					var cl io.Closer
					if accepted {
						l := w.listen(w.config(nil, 0, 0), "10.0.0.2:2000")
						p = unmarked.Dial(unmarked.Config{}, w.bind("10.0.0.1:1000"), l.Addr(), 7)
						p.Write([]byte("hello"))
						var err error
						s, err = l.AcceptKCP()
						w.check(err)
						cl = l
						_, err = io.ReadFull(s, make([]byte, 5))
						w.check(err)
					} else {
						l := unmarked.Listen(unmarked.Config{}, w.bind("10.0.0.2:2000"))
						s = w.config(nil, 0, 0).dial(7, l.Addr(), newSocket(w.bind("10.0.0.1:1000"), true))
						s.Write([]byte("hello"))
						p, _ = l.Accept()
						io.ReadFull(p, make([]byte, 5))
						defer l.Kill()
					}
					w.check(pingPong(s, p, 20))
					w.awaitIdle()
					for una := uint32(0); una < 4096; una += 57 {
						var b []byte
						h := header{conv: 7, cmd: IKCP_CMD_WINS, frg: capMark | capFIN, wnd: 100, ts: 12345}
						if lead {
							b = append(b, segmentOf(h)...)
						}
						for i := range uint32(57) {
							h.cmd, h.una, h.sn, h.ts = cmdRST, una+i, una+i, 0
							b = append(b, segmentOf(h)...)
						}
						s.inject(b)
						// and one at a time
						for i := range uint32(57) {
							h.cmd, h.una, h.sn, h.ts = cmdRST, una+i, una+i, 0
							c := segmentOf(h)
							if lead {
								g := h
								g.cmd, g.ts, g.una = IKCP_CMD_WINS, 12345, 0
								c = append(segmentOf(g), c...)
							}
							s.inject(c)
						}
					}
					w.awaitIdle()
					w.check(pingPong(s, p, 3))
					s.Close()
					if cl != nil {
						cl.Close()
					}
					p.Kill()
				})
			})
		}
	}
}

// The same for two of ours.
func TestForgedResetMarked(t *testing.T) {
	virtual(t, netem.Path{Delay: 20 * time.Millisecond}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		w.awaitIdle()
		for una := uint32(0); una < 4096; una++ {
			for _, v := range []*UDPSession{c, s} {
				h := header{conv: c.conv, cmd: IKCP_CMD_WINS, frg: capMark | capFIN, wnd: 100, ts: 12345}
				g := h
				g.cmd, g.una = cmdRST, una
				v.inject(append(segmentOf(h), segmentOf(g)...))
				v.inject(segmentOf(g))
			}
		}
		w.awaitIdle()
		w.check(exchange(c, s, 3000))
		closeAll(c, s)
	})
}

// The dialled session is idle before its peer has said anything.
func TestForgedResetEarly(t *testing.T) {
	virtual(t, netem.Path{Delay: 200 * time.Millisecond}, func(w *world) {
		l := w.listen(w.config(nil, 0, 0), "10.0.0.2:2000")
		go echo(l)
		c := w.dial(w.config(nil, 0, 0), l)
		c.Write([]byte("hello"))
		for una := uint32(0); una < 4096; una++ {
			h := header{conv: c.conv, cmd: IKCP_CMD_WINS, frg: capMark | capFIN, wnd: 100, ts: 12345}
			g := h
			g.cmd, g.una = cmdRST, una
			c.inject(append(segmentOf(h), segmentOf(g)...))
			c.inject(segmentOf(g))
		}
		c.SetDeadline(time.Now().Add(time.Minute))
		_, err := io.ReadFull(c, make([]byte, 5))
		w.check(err)
		for i := range 10 {
			w.check(ask(c, fmt.Sprint(i)))
			w.sleep(3 * time.Second)
		}
		closeAll(c, l)
	})
}
