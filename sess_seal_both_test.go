package kcp

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// dialBoth makes two sessions that dial each other, over transports or sockets of their own.
func (w *world) dialBoth(over bool, configs [2]*config) (ends [2]*UDPSession) {
	w.Helper()
	conv := w.convs.next()
	addrs := [2]string{"10.0.0.1:1000", "10.0.0.2:2000"}
	for i := range ends {
		sock := newSocket(w.bind(addrs[i]), true)
		if !over {
			ends[i] = configs[i].dial(conv, udpAddr(addrs[1-i]), sock)
			continue
		}
		t := newTransport(w.sched, w.snmp, sock)
		t.start()
		w.accepts(t, configs[i]) // does not take the peer's HELLO
		ends[i] = w.over(t, configs[i], conv, udpAddr(addrs[1-i]))
		go func(s *UDPSession) { <-s.Done(); t.Close() }(ends[i])
	}
	return ends
}

// Two diallers whose datagrams cross get a sealed session where both ask for that, whoever is first and
// whatever is lost, and nothing of either arrives twice, or in clear.
func TestSimultaneous(t *testing.T) {
	for _, c := range []struct {
		name  string
		fec   int
		after time.Duration // when the second one begins
		only  bool          // the second one says nothing until it has heard the first
		loss  float64
	}{
		{name: "at once"}, {name: "lossy", loss: 0.2}, {name: "fec", fec: 2, loss: 0.1}, {name: "copies", fec: 1},
		{name: "crossing", after: 5 * time.Millisecond}, {name: "later", after: time.Second},
		{name: "one speaks", only: true, loss: 0.1},
	} {
		for seed := range uint64(lighter(6, 3)) {
			over := seed%2 == 1
			t.Run(fmt.Sprintf("%s/%d", c.name, seed), func(t *testing.T) {
				path := netem.Path{Delay: 20 * time.Millisecond, Loss: c.loss}
				virtualSeed(t, seed+testSeed, path, func(w *world) {
					cfg := w.settle(Settings{
						Block: mustCrypt(t, cipherSpecs[0], random(seed, cipherSpecs[0].keySize)), Seal: SealRequired,
						DataShards: c.fec, ParityShards: c.fec, StreamMode: true,
					}, PrivateKey{})
					cfg.simultaneous = true
					ends := w.dialBoth(over, [2]*config{cfg, cfg})
					if c.only {
						w.check(ignore(ends[0].Write([]byte("hello"))))
						w.check(ignore(io.ReadFull(ends[1], make([]byte, 5))))
					} else {
						w.check(ignore(ends[0].Write(random(1, 20_000))))
						time.Sleep(c.after)
						w.check(ignore(ends[1].Write(random(2, 20_000))))
						for i, s := range ends {
							got := make([]byte, 20_000)
							s.SetReadDeadline(time.Now().Add(patience()))
							if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, random(uint64(2-i), 20_000)) {
								w.Errorf("end %d: not what was sent, %v", i, err)
							}
						}
					}
					w.check(exchange(ends[0], ends[1], 50_000))
					for i, s := range ends {
						if st := s.Stats(); !st.Sealed {
							w.Errorf("end %d: not sealed", i)
						}
						s.Close()
					}
					for _, s := range ends {
						<-s.Done()
					}
				})
			})
		}
	}
}

// Where only one of two diallers asks for it, or none, the session is not sealed, or fails where it has to be.
func TestSimultaneousOneSided(t *testing.T) {
	virtual(t, netem.Path{Delay: 20 * time.Millisecond}, func(w *world) {
		cfg := w.config(mustCrypt(t, cipherSpecs[0], make([]byte, cipherSpecs[0].keySize)), 0, 0)
		ends := w.dialBoth(false, [2]*config{cfg, cfg})
		for _, s := range ends {
			w.check(ignore(s.Write([]byte("hello"))))
		}
		for _, s := range ends {
			w.check(ignore(io.ReadFull(s, make([]byte, 5))))
		}
		if ends[0].Stats().Sealed || ends[1].Stats().Sealed {
			w.Error("sealed")
		}
		closeAll(ends[0], ends[1])
	})
}

// A peer that was restarted dials again, and the session that it had ends.
func TestSimultaneousRestart(t *testing.T) {
	virtual(t, netem.Path{Delay: 20 * time.Millisecond}, func(w *world) {
		cfg := w.config(mustCrypt(t, cipherSpecs[0], make([]byte, cipherSpecs[0].keySize)), 0, 0)
		cfg.simultaneous = true
		ends := w.dialBoth(false, [2]*config{cfg, cfg})
		for _, s := range ends {
			w.check(ignore(s.Write([]byte("hello"))))
		}
		for _, s := range ends {
			w.check(ignore(io.ReadFull(s, make([]byte, 5))))
		}
		crashed := ends[1]
		local := crashed.LocalAddr()
		crashed.path().sock.conn.Close()
		w.check(ignore(ends[0].Write([]byte("anybody there?"))))
		again := cfg.dial(crashed.conv, ends[0].LocalAddr(), newSocket(w.bind(local.String()), true))
		w.check(ignore(again.Write([]byte("hello"))))
		ends[0].SetReadDeadline(time.Now().Add(20 * time.Second))
		_, err := ends[0].Read(make([]byte, 1))
		wantError(t, "read", err, errReset)
		closeAll(ends[0], crashed, again)
	})
}

// Nothing in clear is taken from a peer that has sent HELLO: an attacker with the shared key cannot speak
// for it.
func TestSimultaneousTakesNothingUnsealed(t *testing.T) {
	virtual(t, netem.Path{Delay: 20 * time.Millisecond}, func(w *world) {
		cfg := w.config(mustCrypt(t, cipherSpecs[0], make([]byte, cipherSpecs[0].keySize)), 0, 0)
		cfg.simultaneous = true
		ends := w.dialBoth(false, [2]*config{cfg, cfg})
		first := true
		w.watch(func(_, to netip.AddrPort, b []byte) bool {
			if cut := first; to == netip.MustParseAddrPort("10.0.0.1:1000") {
				first = false
				return cut // its HELLO arrives, and nothing else
			}
			return true
		})
		for _, s := range ends {
			w.check(ignore(s.Write([]byte("hello"))))
		}
		w.sleep(30 * time.Millisecond)
		victim := ends[0]
		p := packets.get()
		p.data = p.mem[:cfg.env.head]
		p.appendHeader(&header{conv: victim.conv, cmd: IKCP_CMD_PUSH, sn: 0, len: 4})
		p.data = append(p.data, "evil"...)
		one := []outbound{{p.data, p, nil, nil}}
		cfg.env.sealAll(one)
		w.watch(func(netip.AddrPort, netip.AddrPort, []byte) bool { return true })
		ends[1].path().sock.conn.WriteTo(one[0].data, victim.LocalAddr())
		got := make([]byte, 5)
		victim.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.ReadFull(victim, got); err != nil || string(got) != "hello" {
			w.Errorf("%q, %v", got, err)
		}
		closeAll(ends[0], ends[1])
	})
}
