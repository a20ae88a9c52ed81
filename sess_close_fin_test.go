package kcp

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
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
					lowLatency(256, s, peer)
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

// What was written before Close arrives, and then the end of the stream. Neither end is remembered
// when both have closed.
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
				w.sleep(closeTimeout / 2)
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
		w.awaitIdle()
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
		w.awaitIdle()
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
		w.sleep(closeTimeout)
		w.wantGone(s)
		w.wantGone(peer)
	})
}

// Both ends close at once, with data under way in both directions.
func TestSimultaneousClose(t *testing.T) {
	bothWays(t, func(w *world, s, peer *UDPSession) {
		closeAll(s, peer)
		w.sleep(closeTimeout / 2)
		w.wantGone(s)
		w.wantGone(peer)
	})
}

// A FIN that is lost is sent again, and so is the peer's whose acknowledgement is lost: that one is
// answered though the session has ended, and stops.
func TestLostFIN(t *testing.T) {
	for _, accepted := range []bool{false, true} {
		t.Run(fmt.Sprintf("accepted=%t", accepted), func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				s, peer := w.pair(w.config(nil, 0, 0))
				lowLatency(32, s, peer)
				if accepted {
					s, peer = peer, s
				}
				w.awaitIdle()
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
				w.sleep(closeTimeout - time.Second)
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
		w.awaitIdle()
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
		w.sleep(closeTimeout)
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
				lowLatency(8, s, peer)
				if accepted {
					s, peer = peer, s
				}
				s.Write([]byte("arrives"))
				w.awaitIdle()
				var writeErr error
				done := make(chan bool)
				go func() { _, writeErr = peer.Write(make([]byte, 8<<20)); close(done) }() // fills the queue
				w.awaitIdle()
				s.Write(make([]byte, 100)) // is under way before the reset, and arrives before it
				w.check(s.SetLinger(0))
				start := time.Now()
				w.check(s.Close())
				w.wantGone(s)
				<-done
				if took := time.Since(start); took != 10*time.Millisecond {
					t.Errorf("reset after %v", took)
				}
				wantError(t, "write", writeErr, syscall.ECONNRESET)
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
				lowLatency(64, s, peer)
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
						case h.isControl() && (h.frg == capMark|capFIN|capRecords) != (src == ours):
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
				w.sleep(closeTimeout)
				w.wantGone(s)
				peer.Write([]byte("nobody"))
				_, err = peer.Read(got)
				wantTimeout(t, err)
				peer.Close()
			})
		})
	}
}

// A Close that waits for delivery does not wait for a peer that has read everything, has closed and
// gone, whatever became of the last datagrams of either. One over a PacketConn of the caller's
// answers them for a while.
func TestCloseWaitsForNobody(t *testing.T) {
	path := netem.Path{Delay: 2 * time.Millisecond, Jitter: 2 * time.Millisecond, Loss: 0.2}
	for _, linger := range []int{-1, 5} {
		late := 0
		for seed := testSeed; seed < testSeed+lighter[uint64](60, 10); seed++ {
			virtualSeed(t, seed, path, func(w *world) {
				cfg := w.config(newCrypt(t, "gcm"), 10, 3)
				l := w.listen(cfg, "10.0.0.2:2000")
				client := cfg.dial(w.convs.next(), l.Addr(), newSocket(w.bind("10.0.0.1:0"), false))
				server := acceptHello(t, client, l)
				lowLatency(64, client, server)
				answer := random(1, 32)
				go func() {
					client.SetLinger(linger)
					if got, err := io.ReadAll(io.LimitReader(client, 32)); err != nil || !bytes.Equal(got, answer) {
						t.Errorf("%x, %v", got, err)
					}
					w.check(client.Close())
				}()
				server.SetLinger(-1)
				server.Write(answer)
				began := time.Now()
				w.check(server.Close())
				switch took := time.Since(began); {
				case took > closeTimeout+time.Second:
					t.Errorf("seed %d: Close took %v", seed, took)
				case took > closeTimeout/2:
					late++
				}
				<-client.Done()
			})
		}
		if linger > 0 && late > 0 {
			t.Errorf("%d times the peer that answers its stragglers was not there", late)
		}
	}
}
