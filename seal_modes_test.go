package kcp

import (
	"bytes"
	"context"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// settle resolves settings for this world; private is a listener's key.
func (w *world) settle(s Settings, private PrivateKey) *config {
	w.Helper()
	cfg, err := s.resolveFor(private)
	if err != nil {
		w.Fatal(err)
	}
	cfg.sched, cfg.snmp = w.sched, w.snmp
	return cfg
}

// Whatever the two ends are set to, they talk, sealed or not, or the dialler says why they do not.
func TestSealModes(t *testing.T) {
	gcm, aes := newCrypt(t, "gcm"), newCrypt(t, "aes")
	xor := mustCrypt(t, cipherSpec{"xor", 16, NewSimpleXORBlockCrypt}, random(1, 16))
	sm4 := mustCrypt(t, cipherSpec{"sm4", 16, NewSM4BlockCrypt}, random(1, 16))
	key, otherKey := PrivateKey{8}, PrivateKey{16} // X25519 ignores the lowest three bits
	for _, tt := range []struct {
		name       string
		dial       Settings
		listen     Settings
		private    PrivateKey
		old        bool // the listener is a deployed one
		sealed     bool
		dialFails  string
		roundTrips int // until the first answer; 0 for what it is
	}{
		{name: "auto", dial: Settings{Block: gcm}, listen: Settings{Block: gcm}, sealed: true, roundTrips: 2},
		{name: "block cipher", dial: Settings{Block: aes}, listen: Settings{Block: aes}, sealed: true, roundTrips: 2},
		{name: "none", roundTrips: 1},
		{name: "cheap", dial: Settings{Block: xor}, listen: Settings{Block: xor}, roundTrips: 1},
		{name: "standard", dial: Settings{Block: sm4}, listen: Settings{Block: sm4}, roundTrips: 1},
		{name: "cheap, required", dial: Settings{Block: xor, Seal: SealRequired}, listen: Settings{Block: xor, Seal: SealRequired}, sealed: true, roundTrips: 2},
		{name: "dialler off", dial: Settings{Block: gcm, Seal: SealOff}, listen: Settings{Block: gcm}, roundTrips: 1},
		{name: "listener off", dial: Settings{Block: gcm}, listen: Settings{Block: gcm, Seal: SealOff}, roundTrips: 1},
		{name: "both required", dial: Settings{Block: gcm, Seal: SealRequired}, listen: Settings{Block: gcm, Seal: SealRequired}, sealed: true, roundTrips: 2},
		{name: "no early data", dial: Settings{Block: gcm, NoEarlyData: true}, listen: Settings{Block: gcm}, sealed: true, roundTrips: 2},
		{name: "with FEC", dial: Settings{Block: aes, DataShards: 3, ParityShards: 2}, listen: Settings{Block: aes}, sealed: true, roundTrips: 2},
		{name: "key", dial: Settings{Block: gcm, ServerKey: key.Public()}, listen: Settings{Block: gcm}, private: key, sealed: true, roundTrips: 2},
		{name: "key, no cipher", dial: Settings{ServerKey: key.Public()}, private: key, sealed: true, roundTrips: 3},
		{name: "key, cheap cipher", dial: Settings{Block: sm4, ServerKey: key.Public()}, listen: Settings{Block: sm4}, private: key, sealed: true, roundTrips: 2},
		{name: "small MTU", dial: Settings{Block: gcm, MTU: 300}, listen: Settings{Block: gcm}, roundTrips: 1},
		{name: "deployed listener", dial: Settings{Block: gcm}, listen: Settings{Block: gcm}, old: true, roundTrips: 1},
		{name: "another key", dial: Settings{Block: gcm, ServerKey: otherKey.Public()}, listen: Settings{Block: gcm}, private: key, dialFails: "another key"},
		{name: "another key, no cipher", dial: Settings{ServerKey: otherKey.Public()}, private: key, dialFails: "another key"},
		{name: "listener has no key", dial: Settings{Block: gcm, ServerKey: key.Public()}, listen: Settings{Block: gcm}, dialFails: "another key"},
		{name: "required, listener off", dial: Settings{Block: gcm, Seal: SealRequired}, listen: Settings{Block: gcm, Seal: SealOff}, dialFails: "does not seal"},
		{name: "required, deployed listener", dial: Settings{Block: gcm, Seal: SealRequired}, listen: Settings{Block: gcm}, old: true, dialFails: "no answer"},
		{name: "required, another cipher key", dial: Settings{Block: gcm, Seal: SealRequired}, listen: Settings{Block: mustCrypt(t, cipherSpec{"gcm", 16, NewAESGCMCrypt}, random(2, 16))}, dialFails: "no answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
				listening := w.settle(tt.listen, tt.private)
				if tt.old {
					deployed(unsealed(listening))
				}
				l := w.listen(listening, "10.0.0.2:2000")
				var count requestCount
				count.serve(l)
				dialling := w.settle(tt.dial, PrivateKey{})
				c := w.dial(dialling, l)
				if tt.dialFails != "" {
					ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
					defer cancel()
					if err := c.awaitPeer(ctx); err == nil || !strings.Contains(err.Error(), tt.dialFails) {
						t.Errorf("dialling: %v, want %q", err, tt.dialFails)
					}
					c.Abort()
					l.Close()
					return
				}
				w.limitMtu(max(dialling.mtu, listening.mtu))
				start := time.Now()
				w.check(request(c, "one"))
				if took := time.Since(start); took > time.Duration(tt.roundTrips)*20*time.Millisecond+5*time.Millisecond {
					t.Errorf("the first answer takes %v", took)
				}
				if st := c.Stats(); st.Sealed != tt.sealed || (st.Cipher != "") != tt.sealed {
					t.Errorf("%+v", st)
				}
				w.check(request(c, "two"))
				count.want(t, map[string]int{"one": 1, "two": 1})
				c.Close()
				c = w.dial(dialling, l)
				if !tt.old { // this one does not answer a dialler's probe
					w.check(c.awaitPeer(context.Background()))
				}
				w.check(request(c, "three"))
				if c.Stats().Sealed != tt.sealed {
					t.Errorf("sealed is %t", !tt.sealed)
				}
				c.Close()
				l.Close()
			})
		})
	}
}

// A listener that requires it makes no session that is not sealed.
func TestSealRequiredListener(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		l := w.listen(w.settle(Settings{Block: newCrypt(t, "gcm"), Seal: SealRequired}, PrivateKey{}), "10.0.0.2:2000")
		c := w.dial(deployed(unsealed(w.config(newCrypt(t, "gcm"), 0, 0))), l)
		io.WriteString(c, "x")
		w.sleep(10 * time.Second)
		w.wantSessions(l, 0)
		closeAll(c, l)
	})
}

// A session that has to be sealed, and says nothing for long, is not taken for one whose peer does not seal:
// its keepalive probes are answered by who knows of no session.
func TestSealRequiredKeepsAlive(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.settle(Settings{Block: newCrypt(t, "gcm"), Seal: SealRequired}, PrivateKey{})
		l := w.listen(cfg, "10.0.0.2:2000")
		go echo(l)
		c := w.dial(cfg, l)
		w.check(c.SetKeepAlivePeriod(time.Second))
		w.sleep(time.Minute)
		if err := ask(c, "hello"); err != nil || !c.Stats().Sealed {
			t.Errorf("%v, sealed %t", err, c.Stats().Sealed)
		}
		closeAll(c, l)
	})
}

// Settings that say two things are refused, with the reason.
func TestSealSettings(t *testing.T) {
	key := PrivateKey{1}
	none := mustCrypt(t, cipherSpec{"none", 16, NewNoneBlockCrypt}, nil)
	for want, s := range map[string]Settings{
		"Seal 3":                    {Seal: 3},
		"Seal -1":                   {Seal: -1},
		"needs a cipher":            {Seal: SealRequired},
		"gives no key":              {Block: none, Seal: SealRequired},
		"SealOff with a key":        {Seal: SealOff, ServerKey: key.Public()},
		"MTU 500: must be at least": {Block: newCrypt(t, "gcm"), Seal: SealRequired, MTU: 500},
	} {
		if _, err := s.resolve(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", s, err, want)
		}
	}
}

// The second session of a process to a listener has its first answer as early as one that is not sealed, and
// the first one a round trip later; with the clocks apart, each.
func TestSealedFirstAnswer(t *testing.T) {
	const rtt = 60 * time.Millisecond
	for _, size := range []int{100, 5 << 10, 20 << 10} {
		for _, loss := range []float64{0, 0.05} {
			var took [4][]time.Duration // unsealed, first, second, clocks apart
			var sent [4]int             // bytes, both ways, until the answer is there
			for seed := range uint64(lighter(20, 5)) {
				if loss == 0 && seed > 0 {
					break
				}
				virtualSeed(t, seed, netem.Path{Delay: rtt / 2, Loss: loss}, func(w *world) {
					bytesSent := 0
					w.watch(func(_, _ netip.AddrPort, b []byte) bool { bytesSent += len(b); return true })
					for _, sealed := range []bool{false, true} {
						cfg := w.config(newCrypt(t, "gcm"), 0, 0)
						if !sealed {
							unsealed(cfg)
						}
						l := w.listen(cfg, map[bool]string{false: "10.0.0.2:2000", true: "10.0.0.3:2000"}[sealed])
						go answerAll(l, size)
						first := func(kind int) {
							c := w.dial(cfg, l)
							start := time.Now()
							w.look(func() { bytesSent = 0 })
							c.Write(bytes.Repeat([]byte("x"), size))
							c.SetReadDeadline(start.Add(time.Minute))
							_, err := c.Read(make([]byte, 1))
							w.check(err)
							took[kind] = append(took[kind], time.Since(start))
							w.look(func() { sent[kind] = bytesSent })
							c.Close()
						}
						if sealed {
							first(1)
							first(2)
							l.seal.hs.clock.wall = l.seal.hs.clock.wall.Add(-time.Hour)
							first(3)
						} else {
							first(0)
						}
						l.Close()
						w.awaitIdle()
					}
				})
			}
			for kind, what := range []string{"unsealed", "sealed, first session", "sealed, later", "sealed, clocks apart"} {
				t.Logf("%d bytes, %v lost, %s: median %v, 90%% within %v; %d bytes on the wire at last", size, loss, what,
					quantile(took[kind], 0.5), quantile(took[kind], 0.9), sent[kind])
			}
			if loss > 0 {
				continue
			}
			for kind, trips := range []time.Duration{0, 1, 0, 1} {
				if extra := took[kind][0] - took[0][0]; extra > trips*rtt+5*time.Millisecond {
					t.Errorf("%d bytes, kind %d: %v, unsealed %v", size, kind, took[kind][0], took[0][0])
				}
			}
		}
	}
}

// answerAll answers each session's request of so many bytes with a byte.
func answerAll(l *Listener, size int) {
	for {
		s, err := l.AcceptKCP()
		if err != nil {
			return
		}
		go func() {
			s.SetDeadline(time.Now().Add(time.Minute))
			io.ReadFull(s, make([]byte, size))
			s.Write([]byte("x"))
			time.Sleep(5 * time.Second)
			s.Close()
		}()
	}
}

// quantile returns the time that so large a part of times is within.
func quantile(times []time.Duration, part float64) time.Duration {
	return slices.Sorted(slices.Values(times))[int(part*float64(len(times)))]
}

// Toward a deployed listener every datagram is as it was, but for records; and to a deployed client so is
// every answer.
func TestSealedTowardDeployed(t *testing.T) {
	for _, crypt := range sealCiphers {
		virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
			sealing := w.config(newCrypt(t, crypt), 0, 0)
			old := deployed(unsealed(w.config(newCrypt(t, crypt), 0, 0)))
			opened := func(b []byte) []byte {
				payload, ok := old.env.open(bytes.Clone(b))
				if !ok {
					t.Fatal("a datagram that a deployed peer cannot open")
				}
				return payload
			}
			for _, dials := range []bool{true, false} {
				records, total := 0, 0
				w.watch(func(from, to netip.AddrPort, b []byte) bool {
					payload := opened(b)
					ours := (from.Port() == 2000) != dials
					total++
					for h, rest, ok := nextSegment(segmentConv(payload), payload); ok; h, rest, ok = nextSegment(h.conv, rest) {
						if ours && (h.cmd > IKCP_CMD_WINS || h.len > 0 && h.cmd != IKCP_CMD_PUSH && h.cmd != IKCP_CMD_WINS && h.cmd != IKCP_CMD_WASK) {
							t.Errorf("cmd %d with %d bytes", h.cmd, h.len)
						}
						if ours && h.cmd != IKCP_CMD_PUSH && h.len > 0 {
							records++
						}
					}
					return true
				})
				var c, s *UDPSession
				if dials {
					c, s = w.join(sealing, old)
				} else {
					c, s = w.join(old, sealing)
				}
				w.check(exchange(c, s, 100_000))
				if records > 3 || !dials && records > 0 {
					t.Errorf("%d segments with records, of %d datagrams", records, total)
				}
				wantPhase(t, sealUnsealed, c, s)
				if dials && c.core.segmentSize() != 1400-c.cfg.env.head-c.cfg.env.tail-IKCP_OVERHEAD {
					t.Errorf("segments of %d bytes", c.core.segmentSize())
				}
				closeAll(c, s)
				w.awaitIdle()
			}
		})
	}
}

// Out-of-band datagrams that come before all else make a session that stays as it is, and so does its stream;
// later ones are sealed, also while what was written is held back.
func TestSealedOOB(t *testing.T) {
	for i := range 4 {
		first, delay := i%2 == 1, i/2 == 1
		virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
			l := w.listen(w.config(newCrypt(t, "gcm"), 3, 1), "10.0.0.2:2000")
			c := w.dial(l.cfg, l)
			c.SetWriteDelay(delay)
			if first {
				w.check(c.SendOOB([]byte("x")))
			}
			io.WriteString(c, "hello")
			w.check(c.SendOOB([]byte("x"))) // may be dropped
			s, err := l.AcceptKCP()
			w.check(err)
			heard := 0
			w.check(s.SetOOBHandler(func(b []byte) { heard++ }))
			_, err = io.ReadFull(s, make([]byte, 5))
			w.check(err)
			w.check(exchange(c, s, 10_000))
			for range 10 {
				w.check(c.SendOOB([]byte("x")))
			}
			w.awaitIdle()
			if heard < 10 || s.Stats().Sealed == first {
				t.Errorf("heard %d, sealed %t", heard, s.Stats().Sealed)
			}
			w.wantSessions(l, 1)
			closeAll(c, s, l)
		})
	}
}
