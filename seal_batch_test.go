package kcp

import (
	"bytes"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// An answer that is read in one batch with WELCOME, before which there are no keys to open it, is not lost.
func TestAnswerInOneBatchWithWelcome(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		cfg := w.config(newCrypt(t, "aes"), 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		go func() {
			for {
				s, err := l.AcceptKCP()
				if err != nil {
					return
				}
				go io.Copy(s, s)
			}
		}()
		ask := func(c *UDPSession) {
			_, err := c.Write([]byte("hello"))
			w.check(err)
		}
		answered := func(c *UDPSession) {
			_, err := io.ReadFull(c, make([]byte, 5))
			w.check(err)
		}
		first := w.dial(cfg, l) // which brings the ticket: the second's request is answered at once
		ask(first)
		answered(first)
		second := w.dial(cfg, l)
		var batch []inbound
		w.watch(func(from, to netip.AddrPort, b []byte) bool {
			if to.String() != second.LocalAddr().String() {
				return true
			}
			batch = append(batch, inbound{data: bytes.Clone(b), from: peerAddrOf(l.Addr())})
			return false
		})
		ask(second)
		w.sleep(15 * time.Millisecond)
		var got []inbound
		w.look(func() { got = batch })
		if len(got) < 2 {
			t.Fatalf("%d datagrams in answer", len(got))
		}
		second.newReader(second.path()).receive(got, clock())
		w.check(second.SetReadDeadline(time.Now().Add(time.Millisecond)))
		answered(second)
		closeAll(first, second, l)
	})
}
