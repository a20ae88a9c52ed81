package kcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// ends is what a test of the end of a stream runs over.
var ends = []struct {
	name         string
	crypt        string
	data, parity int
	path         netem.Path
}{
	{"plain", "plain", 0, 0, netem.Path{Delay: 20 * time.Millisecond}},
	{"lossy", "plain", 0, 0, netem.Path{Delay: 20 * time.Millisecond, Loss: 0.1, Reorder: 0.05, Duplicate: 0.05}},
	{"lossy gcm fec", "gcm", 5, 2, netem.Path{Delay: 20 * time.Millisecond, Loss: 0.1, Reorder: 0.05}},
}

// bothWays runs f with either end of a pair as the one that ends.
func bothWays(t *testing.T, f func(w *world, s, peer *UDPSession)) {
	for _, e := range ends {
		for _, accepted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/accepted=%t", e.name, accepted), func(t *testing.T) {
				virtual(t, e.path, func(w *world) {
					s, peer := w.pair(w.config(newCrypt(t, e.crypt), e.data, e.parity))
					hurry(256, s, peer)
					if accepted {
						s, peer = peer, s
					}
					for _, s := range []*UDPSession{s, peer} {
						s.SetDeadline(time.Now().Add(10 * time.Minute))
					}
					f(w, s, peer)
				})
			})
		}
	}
}

// wantError checks that err is target in a *net.OpError of op.
func wantError(t testing.TB, op string, err, target error) {
	t.Helper()
	var oe *net.OpError
	if !errors.Is(err, target) || !errors.As(err, &oe) || oe.Op != op {
		t.Errorf("%s: %v (%T), want %v", op, err, err, target)
	}
}

// What was written before Close arrives, and then the end of the stream. Neither end is
// remembered when both have closed.
func TestEndOfStream(t *testing.T) {
	for _, size := range []int{0, 1, 1376, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			bothWays(t, func(w *world, s, peer *UDPSession) {
				data := random(1, size)
				go func() {
					s.Write(data)
					w.check(s.Close())
				}()
				got, err := io.ReadAll(peer)
				if err != nil || !bytes.Equal(got, data) {
					t.Errorf("%d of %d bytes, %v", len(got), size, err)
				}
				if n, err := peer.Read(make([]byte, 1)); n != 0 || err != io.EOF {
					t.Errorf("read again: %d, %v", n, err)
				}
				w.check(peer.Close())
				w.sleep(lingerTime / 2)
				w.wantGone(s)
				w.wantGone(peer)
			})
		})
	}
}

// Each direction ends by itself.
func TestHalfClose(t *testing.T) {
	bothWays(t, func(w *world, s, peer *UDPSession) {
		question, answer := random(1, 100_000), random(2, 300_000)
		go func() {
			got, err := io.ReadAll(peer)
			if err != nil || !bytes.Equal(got, question) {
				t.Errorf("question: %d bytes, %v", len(got), err)
			}
			time.Sleep(20 * time.Second)
			_, err = peer.Write(answer)
			w.check(err)
			w.check(peer.CloseWrite())
		}()
		_, err := s.Write(question)
		w.check(err)
		w.check(s.CloseWrite())
		w.check(s.CloseWrite()) // is already
		_, err = s.Write([]byte("more"))
		wantError(t, "write", err, syscall.EPIPE)
		got, err := io.ReadAll(s)
		if err != nil || !bytes.Equal(got, answer) {
			t.Errorf("answer: %d bytes, %v", len(got), err)
		}
		w.check(s.Close())
		w.check(peer.Close())
		w.settle()
		w.wantGone(s)
		w.wantGone(peer)
		if st := s.Stats(); !st.PeerFIN || st.BytesReceived != uint64(len("hello")+len(answer)) {
			t.Errorf("%+v", st)
		}
	})
}

// A CloseWrite ends a Write that is under way.
func TestCloseWriteWakes(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		s := w.full(w.config(nil, 0, 0))
		errs := make(chan error)
		go func() { _, err := s.Write(make([]byte, 1)); errs <- err }()
		synctest.Wait()
		w.check(s.CloseWrite())
		wantError(t, "write", <-errs, syscall.EPIPE)
		s.SetLinger(0)
		w.check(s.Close())
		w.wantGone(s)
		wantClosed(t, s.CloseWrite())
		wantClosed(t, s.CloseRead())
		wantClosed(t, s.SetLinger(1))
	})
}

// After CloseRead the peer's writes go on, and nothing is kept.
func TestCloseRead(t *testing.T) {
	bothWays(t, func(w *world, s, peer *UDPSession) {
		peer.Write(random(1, 1000))
		w.settle()
		w.check(s.CloseRead())
		if n, err := s.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("%d, %v", n, err)
		}
		_, err := peer.Write(random(1, 1<<20))
		w.check(err)
		_, err = s.Write([]byte("still"))
		w.check(err)
		_, err = io.ReadFull(peer, make([]byte, 5))
		w.check(err)
		w.check(peer.Close())
		w.check(s.Close())
		w.sleep(lingerTime)
		w.wantGone(s)
		w.wantGone(peer)
	})
}

// Both ends close at once, with data under way in both directions.
func TestSimultaneousClose(t *testing.T) {
	bothWays(t, func(w *world, s, peer *UDPSession) {
		closeAll(s, peer)
		w.sleep(lingerTime / 2)
		w.wantGone(s)
		w.wantGone(peer)
	})
}

// isFIN says whether a plain datagram carries a segment with that cmd.
func carries(b []byte, cmd uint8) bool {
	for _, h := range segmentsOf(b) {
		if h.cmd == cmd {
			return true
		}
	}
	return false
}

// A FIN that is lost is sent again, and so is the peer's whose acknowledgement is lost: that
// one is answered though the session has ended, and stops.
func TestLostFIN(t *testing.T) {
	for _, accepted := range []bool{false, true} {
		t.Run(fmt.Sprintf("accepted=%t", accepted), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				s, peer := w.pair(w.config(nil, 0, 0))
				hurry(32, s, peer)
				if accepted {
					s, peer = peer, s
				}
				w.settle()
				fins, acks := 0, 0
				from := peerAddrOf(s.LocalAddr()).udp
				w.watch(func(src, _ netip.AddrPort, b []byte) bool {
					if carries(b, cmdFIN) {
						fins++
						return fins > 2 // of the first
					}
					if fins >= 4 && src == from && carries(b, IKCP_CMD_ACK) { // of the second
						acks++
						return acks > 1
					}
					return true
				})
				s.Write([]byte("x"))
				s.Close()
				got, err := io.ReadAll(peer)
				if string(got) != "x" || err != nil {
					t.Errorf("%q, %v", got, err)
				}
				peer.Close()
				w.sleep(lingerTime - time.Second)
				w.wantGone(s)
				w.wantGone(peer)
				if fins != 5 || acks != 2 {
					t.Errorf("%d FINs, %d acknowledgements, want 5 and 2", fins, acks)
				}
			})
		})
	}
}

// Parity repairs a lost FIN as it does data.
func TestFINThroughFEC(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		s, peer := w.pair(w.config(nil, 1, 1))
		w.settle()
		from, n := peerAddrOf(s.LocalAddr()).udp, 0
		w.watch(func(src, _ netip.AddrPort, b []byte) bool {
			if h, ok := parseFEC(b); ok && src == from && h.kind == fecTypeData && carries(b[fecHeaderSize:], cmdFIN) {
				n++
				return false
			}
			return true
		})
		start := time.Now()
		s.Close()
		if _, err := peer.Read(make([]byte, 1)); err != io.EOF || time.Since(start) != 10*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if n != 1 {
			t.Errorf("%d FINs, want one, and its parity", n)
		}
		w.net.SetTap(nil)
		peer.Close()
	})
}

// A peer that closes while we write reads what came before, and resets us.
func TestPeerClosesWhileWeWrite(t *testing.T) {
	bothWays(t, func(w *world, s, peer *UDPSession) {
		go func() {
			peer.Write([]byte("enough"))
			peer.Close()
		}()
		var err error
		for err == nil {
			_, err = s.Write(make([]byte, 10_000))
		}
		wantError(t, "write", err, syscall.ECONNRESET)
		if got, err := io.ReadAll(s); string(got) != "enough" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		_, err = s.Write(nil)
		wantError(t, "write", err, syscall.ECONNRESET)
		w.check(s.Close())
		w.sleep(lingerTime)
		w.wantGone(s)
		w.wantGone(peer)
	})
}

// A linger of 0 resets at once. The peer reads what had come, and then the reset.
func TestAbort(t *testing.T) {
	for _, accepted := range []bool{false, true} {
		t.Run(fmt.Sprintf("accepted=%t", accepted), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				s, peer := w.pair(w.config(nil, 3, 1))
				hurry(8, s, peer)
				if accepted {
					s, peer = peer, s
				}
				s.Write([]byte("arrives"))
				w.settle()
				var late error
				done := make(chan bool)
				go func() { _, late = peer.Write(make([]byte, 100_000)); close(done) }() // fills the window
				w.settle()
				s.Write(make([]byte, 100)) // under way, and lost for the peer? it comes before
				w.check(s.SetLinger(0))
				start := time.Now()
				w.check(s.Close())
				w.wantGone(s)
				<-done
				if took := time.Since(start); took != 10*time.Millisecond {
					t.Errorf("reset after %v", took)
				}
				wantError(t, "write", late, syscall.ECONNRESET)
				got := make([]byte, 107)
				if _, err := io.ReadFull(peer, got); err != nil || string(got[:7]) != "arrives" {
					t.Errorf("%q, %v", got, err)
				}
				_, err := peer.Read(got)
				wantError(t, "read", err, syscall.ECONNRESET)
				w.check(peer.Close())
				w.wantGone(peer)
			})
		})
	}
}

// A reset has to know where the session is.
func TestForgedReset(t *testing.T) {
	l := newLine(t, 0)
	l.both(func(n *node) { n.caps = capMark | capFIN })
	n := l.a
	n.write(3)
	for _, una := range []uint32{4, n.snd.una - 1, 1 << 31} {
		n.input(l.now, segmentOf(header{conv: testConv, cmd: cmdRST, frg: n.caps, sn: una, una: una}), true)
		if n.reset {
			t.Fatalf("una %d resets", una)
		}
	}
	if n.count.KCPInErrors != 3 {
		t.Errorf("%d counted, want 3", n.count.KCPInErrors)
	}
	n.input(l.now, segmentOf(header{conv: testConv, cmd: cmdRST, frg: n.caps, sn: 2, una: 2}), true)
	if !n.reset {
		t.Error("no reset")
	}
	n.caps = 0
	if code := n.input(l.now, segmentOf(header{conv: testConv, cmd: cmdFIN}), true); code != -3 {
		t.Errorf("without extensions a FIN is %d, want -3", code)
	}
}

func segmentOf(h header) []byte {
	b := make([]byte, IKCP_OVERHEAD)
	h.put(b)
	return b
}

// A FIN counts where it is in order only, and nothing behind it.
func TestFINInOrder(t *testing.T) {
	l := newLine(t, 0)
	n := l.a
	n.caps = capMark | capFIN
	in := func(cmd uint8, sn uint32, data string) {
		h := header{conv: testConv, cmd: cmd, sn: sn, len: uint32(len(data))}
		n.input(l.now, append(segmentOf(h), data...), true)
	}
	in(IKCP_CMD_PUSH, 3, "beyond")
	in(cmdFIN, 2, "")
	in(IKCP_CMD_PUSH, 1, "b")
	if n.rcv.fin {
		t.Fatal("out of order")
	}
	in(IKCP_CMD_PUSH, 0, "a")
	if !n.rcv.fin || n.rcv.una() != 3 || n.rcv.held != 2 || n.finished() {
		t.Fatalf("fin %t, una %d, %d held", n.rcv.fin, n.rcv.una(), n.rcv.held)
	}
	in(IKCP_CMD_PUSH, 3, "beyond")
	in(cmdFIN, 2, "")
	if n.rcv.held != 2 || n.count.RepeatSegs != 1 {
		t.Errorf("%d held, %d repeated", n.rcv.held, n.count.RepeatSegs)
	}
	b := make([]byte, 10)
	if k := n.read(b, true); string(b[:k]) != "ab" || !n.finished() {
		t.Errorf("%q, finished %t", b[:k], n.finished())
	}
}

// A message that the end of the stream cuts short is an error.
func TestFINWithinMessage(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		l := w.listen(w.config(nil, 0, 0), "10.0.0.2:2000")
		from := w.bind("10.0.0.1:1000")
		h := header{conv: 1, cmd: IKCP_CMD_PUSH, frg: 1, len: 1}
		from.WriteTo(append(append(segmentOf(h), 'x'), segmentOf(header{conv: 1, cmd: cmdFIN, sn: 1})...), l.Addr())
		s, err := l.AcceptKCP()
		w.check(err)
		if n, err := s.Read(make([]byte, 9)); n != 0 || err != io.ErrUnexpectedEOF {
			t.Errorf("%d, %v", n, err)
		}
		s.SetStreamMode(true)
		if n, err := s.Read(make([]byte, 9)); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if n, err := s.Read(make([]byte, 9)); n != 0 || err != io.EOF {
			t.Errorf("%d, %v", n, err)
		}
		closeAll(s, l)
	})
}

// To a peer without extensions nothing goes that it does not know; Close delivers and is silent.
func TestDeployedPeer(t *testing.T) {
	for _, dialled := range []bool{false, true} {
		t.Run(fmt.Sprintf("dialled=%t", dialled), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond, Loss: 0.1}, func(w *world) {
				new, old := w.config(nil, 3, 1), deployed(w.config(nil, 3, 1))
				var s, peer *UDPSession
				if dialled {
					s, peer = w.join(new, old)
				} else {
					peer, s = w.join(old, new)
				}
				hurry(64, s, peer)
				ours := peerAddrOf(s.LocalAddr()).udp
				w.watch(func(src, _ netip.AddrPort, b []byte) bool {
					if h, ok := parseFEC(b); ok {
						if h.kind == fecTypeParity {
							return true
						}
						b = b[fecHeaderSize:]
					}
					for _, h := range segmentsOf(b) {
						switch {
						case h.cmd > IKCP_CMD_WINS, h.cmd < IKCP_CMD_PUSH:
							t.Errorf("sent %+v", h)
						case h.isControl() && (h.frg == capMark|capFIN) != (src == ours):
							t.Errorf("capabilities %#x", h.frg)
						}
					}
					return true
				})
				data := random(3, 100_000)
				peer.Write(make([]byte, 1000)) // not read
				_, err := s.Write(data)
				w.check(err)
				w.check(s.CloseWrite())
				_, err = s.Write(data)
				wantError(t, "write", err, syscall.EPIPE)
				w.check(s.Close())
				peer.SetReadDeadline(time.Now().Add(time.Minute))
				got := make([]byte, len(data))
				if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, data) {
					t.Error(err)
				}
				w.sleep(lingerTime)
				w.wantGone(s)
				peer.Write([]byte("nobody"))
				_, err = peer.Read(got)
				wantTimeout(t, err)
				peer.Close()
			})
		})
	}
}

// An accepted session learns what its peer can do from the first datagram, or else asks: Close
// without a Write ends the peer's stream also when that mark was lost.
func TestAcceptedAsks(t *testing.T) {
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprintf("mark lost=%t", lost), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				l := w.listen(w.config(nil, 0, 0), "10.0.0.2:2000")
				c := w.dial(w.config(nil, 0, 0), l)
				asked := 0
				w.watch(func(_, _ netip.AddrPort, b []byte) bool {
					if carries(b, IKCP_CMD_WASK) {
						asked++
						return asked > 1
					}
					return !lost || len(b) != IKCP_OVERHEAD || !carries(b, IKCP_CMD_WINS) || asked > 1
				})
				c.Write(make([]byte, 1376)) // fills the datagram, the mark goes in another
				s, err := l.AcceptKCP()
				w.check(err)
				if !lost {
					w.settle()
				}
				_, err = io.ReadFull(s, make([]byte, 1376))
				w.check(err)
				w.check(s.Close())
				c.SetReadDeadline(time.Now().Add(time.Minute))
				if _, err := c.Read(make([]byte, 1)); err != io.EOF {
					t.Error(err)
				}
				if lost != (asked == 2) {
					t.Errorf("asked %d times", asked)
				}
				closeAll(c, l)
			})
		})
	}
}

// What comes for a session that a listener remembers is answered: a first write after the end
// with a reset, for a minute.
func TestWriteAfterPeersEnd(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		l := w.listen(w.config(newCrypt(t, "aes"), 3, 1), "10.0.0.2:2000")
		c := w.dial(l.cfg, l)
		c.Write([]byte("hello"))
		s, err := l.AcceptKCP()
		w.check(err)
		io.ReadFull(s, make([]byte, 5))
		s.Close()
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Fatal(err)
		}
		w.sleep(50 * time.Second)
		w.wantGone(s)
		_, err = c.Write([]byte("anybody?"))
		w.check(err)
		w.settle()
		_, err = c.Write([]byte("no"))
		wantError(t, "write", err, syscall.ECONNRESET)
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Error(err)
		}
		w.wantSessions(l, 0)
		closeAll(c, l)
	})
}

// A negative linger makes Close wait for the delivery, or say why there was none.
func TestLingerWaits(t *testing.T) {
	virtual(t, netem.Path{Delay: 100 * time.Millisecond, Loss: 0.2}, func(w *world) {
		s, peer := w.pair(w.config(nil, 0, 0))
		hurry(32, s, peer)
		go io.Copy(io.Discard, peer)
		w.check(s.SetLinger(-1))
		s.SetDeadline(time.Now().Add(time.Minute))
		s.Write(random(1, 30_000))
		start := time.Now()
		w.check(s.Close())
		if n := peer.Stats().BytesReceived; n != 30_005 || time.Since(start) < 200*time.Millisecond {
			t.Errorf("%d bytes after %v", n, time.Since(start))
		}
		peer.Close()
		s = w.full(w.config(nil, 0, 0))
		s.SetLinger(-1)
		start = time.Now()
		err := s.Close()
		wantError(t, "close", err, syscall.ETIMEDOUT)
		if took := time.Since(start); took != userTimeout {
			t.Errorf("gave up after %v", took)
		}
	})
}

// Ten thousand times a byte and Close, dialled and accepted, on a path that loses a tenth.
func TestByteAndClose(t *testing.T) {
	const count = 10_000
	for _, accepted := range []bool{false, true} {
		t.Run(fmt.Sprintf("accepted=%t", accepted), func(t *testing.T) {
			t.Parallel()
			virtual(t, netem.Path{Delay: 20 * time.Millisecond, Loss: 0.1}, func(w *world) {
				cfg := w.config(nil, 0, 0)
				l := w.listen(cfg, "10.0.0.2:2000")
				arrived, ended := 0, 0
				var mu sync.Mutex
				one := func(s *UDPSession) {
					s.SetReadDeadline(time.Now().Add(time.Minute))
					n, err := s.Read(make([]byte, 9))
					_, end := s.Read(make([]byte, 1))
					s.Close()
					mu.Lock()
					defer mu.Unlock()
					if n == 1 && err == nil {
						arrived++
					}
					if end == io.EOF {
						ended++
					}
				}
				go func() {
					for {
						s, err := l.AcceptKCP()
						if err != nil {
							return
						}
						if accepted {
							s.Write([]byte{1})
							s.Close()
						} else {
							go one(s)
						}
					}
				}()
				for range count {
					s := w.dial(cfg, l)
					s.Write([]byte{1})
					if accepted {
						go one(s)
					} else {
						s.Close()
					}
					time.Sleep(time.Millisecond)
				}
				w.sleep(time.Minute)
				mu.Lock()
				defer mu.Unlock()
				if arrived != count {
					t.Errorf("%d of %d arrived", arrived, count)
				}
				if ended < count*999/1000 {
					t.Errorf("%d of %d ended", ended, count)
				}
				t.Logf("%d bytes and %d ends of %d", arrived, ended, count)
				w.wantSessions(l, 0)
				l.Close()
			})
		})
	}
}
