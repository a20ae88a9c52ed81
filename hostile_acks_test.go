package kcp

import (
	"encoding/binary"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// optimist acknowledges for ten seconds, at twice the rate of data, whatever a server may have sent
// to victim, and returns the bytes that it spent and those that the victim got.
func optimist(w *world, victim *netem.Conn, server *Listener, conv, una uint32, forge func(una uint32) []byte) (spent, drawn int) {
	w.watch(func(_, to netip.AddrPort, b []byte) bool {
		if to.Addr() == netip.MustParseAddr("10.0.0.1") {
			drawn += len(b)
		}
		return true
	})
	const step = 64 // segments; more than there are is ignored
	for range lighter(10_000, 1000) {
		for _, ahead := range []uint32{1, 8, step} {
			b := forge(una + ahead)
			spent += len(b)
			victim.WriteTo(b, server.Addr())
		}
		w.sleep(time.Millisecond)
		if s := server.knows(victim.LocalAddr(), conv); s != nil {
			una = s.acknowledged() // as good as a guess can be
		}
	}
	return spent, drawn
}

// acknowledged is the serial number up to which everything is acknowledged.
func (s *UDPSession) acknowledged() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.snd.una
}

// pour writes without an end to every session that l accepts.
func pour(l *Listener, tune func(*UDPSession)) {
	for {
		s, err := l.AcceptKCP()
		if err != nil {
			return
		}
		tune(s)
		go func() {
			for b := make([]byte, 1<<20); ; {
				if _, err := s.Write(b); err != nil {
					return
				}
			}
		}()
	}
}

// forgeries are acknowledgements by somebody who does not see what he acknowledges.
var forgeries = map[string]func(una uint32) []byte{
	"una alone": func(una uint32) []byte {
		return segmentOf(header{conv: 1, cmd: IKCP_CMD_WINS, wnd: 65535, una: una})
	},
	"acks and una": func(una uint32) []byte {
		return segmentOf(header{conv: 1, cmd: IKCP_CMD_ACK, wnd: 65535, sn: una - 1, ts: micros(clock()), una: una})
	},
	"ranges": func(una uint32) []byte {
		h := header{conv: 1, cmd: IKCP_CMD_ACK, frg: capMark | capRecords, wnd: 65535, sn: una, ts: micros(clock()), una: una}
		pair := binary.LittleEndian.AppendUint32(nil, una)
		return withRecords(h, binary.LittleEndian.AppendUint32(pair, 1<<32-1))
	},
	"acks of each": func(una uint32) (b []byte) {
		for sn := una - min(una, 8); sn != una; sn++ {
			b = append(b, segmentOf(header{conv: 1, cmd: IKCP_CMD_ACK, wnd: 65535, sn: sn, ts: sn, una: sn})...)
		}
		return b
	},
}

// Somebody who pretends to be at the victim's address, and acknowledges what the victim has not
// asked for, draws no more than a sender without any acknowledgement sends.
func TestOptimisticAcks(t *testing.T) {
	for name, forge := range forgeries {
		for _, nc := range []int{0, 1} {
			t.Run(name, func(t *testing.T) {
				virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
					l := w.listen(w.config(nil, 0, 0), "10.0.0.2:2000")
					go pour(l, func(s *UDPSession) {
						s.SetNoDelay(1, 10, 2, nc)
						s.SetWindowSize(1024, 1024)
					})
					victim := w.bind("10.0.0.1:1") // which never reads
					first := segment(1, IKCP_CMD_PUSH, 0, []byte("send me all"))
					victim.WriteTo(first, l.Addr())
					spent, drawn := optimist(w, victim, l, 1, 0, forge)
					w.Logf("nc=%d: %d bytes of forgeries draw %d bytes", nc, spent, drawn)
					if drawn > 2*unprovenWindow*IKCP_MTU_DEF {
						w.Errorf("nc=%d: %d bytes of forgeries draw %d bytes", nc, spent, drawn)
					}
					closeAll(l, victim)
				})
			})
		}
	}
}

// Nor does he where the victim has been a client: then it is at most a window.
func TestOptimisticAcksOfKnownClient(t *testing.T) {
	const wnd = 256
	for name, forge := range forgeries {
		t.Run(name, func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				l := w.listen(w.config(nil, 0, 0), "10.0.0.2:2000")
				go pour(l, func(s *UDPSession) { lowLatency(wnd, s) })
				sock := w.bind("10.0.0.1:1")
				client := w.config(nil, 0, 0).dial(1, l.Addr(), newSocket(sock, false))
				client.SetWindowSize(wnd, wnd)
				client.Write([]byte("send me all"))
				if _, err := io.ReadFull(client, make([]byte, 10<<20)); err != nil {
					w.Fatal(err)
				}
				w.watch(func(netip.AddrPort, netip.AddrPort, []byte) bool { return false }) // the client is gone
				client.Abort()
				s := l.knows(sock.LocalAddr(), 1)
				spent, drawn := optimist(w, sock, l, 1, s.acknowledged(), forge)
				w.Logf("%d bytes of forgeries draw %d bytes", spent, drawn)
				if drawn > 2*wnd*IKCP_MTU_DEF {
					w.Errorf("%d bytes of forgeries draw %d bytes", spent, drawn)
				}
				closeAll(l, sock)
			})
		})
	}
}
