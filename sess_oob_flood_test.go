package kcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// flood sends out-of-band datagrams of 1000 bytes, so many each millisecond, until stop is called,
// which returns how many.
func flood(s *UDPSession, perMillisecond int) (stop func() int) {
	var over atomic.Bool
	sent := make(chan int)
	go func() {
		n := 0
		for b := make([]byte, 1000); !over.Load(); time.Sleep(time.Millisecond) {
			for range perMillisecond {
				if s.SendOOB(b) == nil {
					n++
				}
			}
		}
		sent <- n
	}()
	return func() int { over.Store(true); return <-sent }
}

// A flood of out-of-band datagrams that the path does not carry does not end the stream beside it.
// What is held back is counted.
func TestOOBFloodOfPath(t *testing.T) {
	for _, nc := range []int{0, 1} {
		path := netem.Path{Delay: 10 * time.Millisecond, Bandwidth: 30_000, Queue: 10_000}
		virtual(t, path, func(w *world) {
			c, s := w.pair(w.config(nil, 10, 3))
			c.SetNoDelay(1, 10, 2, nc)
			s.SetNoDelay(1, 10, 2, nc)
			var heard atomic.Int64
			w.check(s.SetOOBHandler(func([]byte) { heard.Add(1) }))
			go func() {
				b := make([]byte, 2000)
				for {
					n, err := s.Read(b)
					if err != nil {
						return
					}
					s.Write(b[:n])
				}
			}()
			stop := flood(c, 2)
			asked := 0
			const length = userTimeout + 30*time.Second
			for start := time.Now(); time.Since(start) < length; asked++ {
				if err := ask(c, string(random(1, 1000))); err != nil {
					t.Errorf("after %d answers and %v: %v", asked, time.Since(start), err)
					break
				}
			}
			sent, dropped := stop(), int(c.Stats().OOBDropped)
			t.Logf("nc=%d: %d answers, %d of %d datagrams dropped, %d heard", nc, asked, dropped, sent, heard.Load())
			if asked < 20 {
				t.Errorf("%d answers in %v", asked, length)
			}
			if heard.Load() < 1000 || dropped == 0 {
				t.Errorf("%d datagrams are heard, %d dropped", heard.Load(), dropped)
			}
			closeAll(c, s)
		})
	}
}

// The stream's datagrams go ahead of out-of-band ones that wait for the socket, of which there are
// oobSendMax at most and as many on their way.
func TestOOBFloodOfSocket(t *testing.T) {
	const takes = time.Millisecond
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		cfg := w.config(nil, 10, 3)
		l := w.listen(cfg, "10.0.0.2:2000")
		go echo(l)
		v := w.valve("10.0.0.1:0")
		c := cfg.dial(1, l.Addr(), newSocket(v, true))
		c.SetNoDelay(1, 10, 2, 1)
		w.check(ask(c, "hello"))
		v.shut(takes)
		stop := flood(c, 10)
		w.sleep(time.Second)
		for range 100 {
			start := time.Now()
			w.check(ask(c, "message"))
			if took := time.Since(start); took > (2*oobSendMax+10)*takes {
				t.Errorf("the answer took %v", took)
			}
			if n := c.kept(); n > 4*oobSendMax {
				t.Errorf("%d packets are kept", n)
			}
		}
		sent, st := stop(), c.Stats()
		if snmp := w.snmp.Copy(); st.OOBDropped == 0 || snmp.OutErrs < st.OOBDropped {
			t.Errorf("of %d datagrams %d were dropped, %d counted", sent, st.OOBDropped, snmp.OutErrs)
		}
		v.open()
		closeAll(c, l)
	})
}

// A first datagram that is out-of-band makes a session, as at deployed listeners; a late one of a
// session that has ended does not, nor one at a listener without FEC or with another seqid.
func TestOOBOpensSession(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		var heard []string
		cfg := w.config(newCrypt(t, "aes"), 10, 3)
		cfg.oobHandler = func(s *UDPSession, b []byte) {
			heard = append(heard, string(b))
			w.check(s.SendOOB([]byte("back")))
		}
		l := w.listen(cfg, "10.0.0.2:2000")
		c := w.dial(cfg, l)
		var first []byte
		w.watch(func(_, _ netip.AddrPort, b []byte) bool {
			if first == nil {
				first = bytes.Clone(b)
			}
			return true
		})
		w.check(c.SendOOB([]byte("first")))
		w.awaitIdle()
		l.SetDeadline(time.Now().Add(time.Second))
		s, err := l.AcceptKCP()
		if err != nil {
			t.Fatal(err)
		}
		if len(heard) < 2 || heard[0] != "first" || heard[1] != "back" { // which is answered, too
			t.Errorf("heard %q", heard)
		}
		c.SetOOBHandler(func([]byte) {})
		w.check(s.SetOOBHandler(func([]byte) {}))
		_, err = s.Write([]byte("stream"))
		w.check(err)
		b := make([]byte, 10)
		if n, err := c.Read(b); string(b[:n]) != "stream" {
			t.Errorf("%q, %v", b[:n], err)
		}
		w.check(s.SetLinger(0))
		w.check(s.Close())
		w.awaitIdle()
		c.path().sock.conn.WriteTo(first, l.Addr())
		w.awaitIdle()
		w.wantSessions(l, 0)
		closeAll(c, l)
	})
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		plain, fec := w.listen(w.config(nil, 0, 0), "10.0.0.2:2000"), w.listen(w.config(nil, 10, 3), "10.0.0.3:2000")
		c := w.bind("10.0.0.1:0")
		conv := binary.LittleEndian.AppendUint32(nil, 7)
		c.WriteTo(framed(oobSeqid, fecTypeOOB, conv), plain.Addr())
		c.WriteTo(framed(5, fecTypeOOB, conv), fec.Addr())
		c.WriteTo(framed(oobSeqid, fecTypeOOB, conv[:3]), fec.Addr())
		w.awaitIdle()
		w.wantSessions(plain, 0)
		w.wantSessions(fec, 0)
		for i := range 2 * acceptBacklog { // within the limit of all sessions
			c.WriteTo(framed(oobSeqid, fecTypeOOB, binary.LittleEndian.AppendUint32(nil, uint32(i))), fec.Addr())
		}
		w.awaitIdle()
		w.wantSessions(fec, acceptBacklog)
		closeAll(c, plain, fec)
	})
}

// Without FEC a handler is refused, as a program may ask that way whether it can send.
func TestOOBHandlerWithoutFEC(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		c, s := w.join(w.config(nil, 0, 0), w.config(nil, 3, 2))
		for _, h := range []OOBCallBackType{func([]byte) { t.Error("it is called") }, nil} {
			if err := c.SetOOBHandler(h); !errors.Is(err, errors.ErrUnsupported) || !bytes.Contains([]byte(err.Error()), []byte("FEC")) {
				t.Errorf("without FEC: %v", err)
			}
		}
		w.check(s.SendOOB([]byte("x")))
		w.awaitIdle()
		w.check(s.SetOOBHandler(nil))
		closeAll(c, s)
	})
}
