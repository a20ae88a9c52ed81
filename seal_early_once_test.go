package kcp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// Early data that was taken is not taken again when the path was cut for longer than its session was kept,
// and its client, which has heard nothing, still says HELLO: not if it does so for ever.
func TestEarlyDataOnceAfterItsSession(t *testing.T) {
	for timeout, cut := range map[time.Duration]time.Duration{5 * time.Minute: 90 * time.Second, -1: 12 * time.Minute} {
		virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
			cfg := w.config(newCrypt(t, "aes"), 0, 0)
			l := w.listen(cfg, "10.0.0.2:2000")
			first := w.dial(cfg, l) // which gets a ticket
			go echo(l)
			if err := ask(first, "hello"); err != nil {
				t.Fatal(err)
			}
			closeAll(first)
			w.sleep(10 * time.Second)
			w.watch(func(from, _ netip.AddrPort, _ []byte) bool { return from.Port() != 2000 }) // nothing gets back
			late := w.dial(cfg, l)
			w.check(late.SetUserTimeout(timeout))
			before := w.snmp.Copy()
			if _, err := late.Write([]byte("once")); err != nil {
				t.Fatal(err)
			}
			w.sleep(cut) // the session is given up
			w.watch(func(netip.AddrPort, netip.AddrPort, []byte) bool { return true })
			w.sleep(5 * time.Minute)
			after := w.snmp.Copy()
			if n := after.PassiveOpens - before.PassiveOpens; n != 1 {
				t.Errorf("timeout %v: %d sessions of one request", timeout, n)
			}
			if n := after.BytesReceived - before.BytesReceived; n != 4 {
				t.Errorf("timeout %v: %d bytes were read, want those of one request", timeout, n)
			}
			late.Abort()
			closeAll(late, l)
		})
	}
}
