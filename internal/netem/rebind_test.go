package netem

import (
	"errors"
	"net"
	"testing"
)

func TestRebind(t *testing.T) {
	onWire(t, 1, Path{Delay: 10 * ms}, func(w *wire) {
		shared, err := w.NewBottleneck(Path{Bandwidth: 1000})
		if err != nil {
			w.Fatal(err)
		}
		if err := w.SetRoute(w.a.LocalAddr(), w.b.LocalAddr(), shared); err != nil {
			w.Fatal(err)
		}
		old := w.a.LocalAddr()
		w.b.WriteTo([]byte("buffered"), old)
		w.SetPath(w.b.LocalAddr(), old, Path{Delay: 10 * ms})
		w.b.WriteTo([]byte("on the way"), old)
		if err := w.a.Rebind("192.0.2.9:0"); err != nil {
			w.Fatal(err)
		}
		w.send(1, 100) // over the same path: 100 ms in the bottleneck, and 10 more
		w.want(arrival{0, 110 * ms})
		if got := w.a.LocalAddr().String() + " " + w.a.Bound().String(); got != "192.0.2.1:1000 192.0.2.9:49152" {
			w.Errorf("local and bound addresses %v", got)
		}
		if s := w.Stats(w.a.Bound(), w.b.LocalAddr()); s.Delivered != 1 {
			w.Errorf("from the new address %+v", s)
		}
		if s := w.Stats(w.b.LocalAddr(), old); s.Unbound != 1 || s.Delivered != 1 {
			w.Errorf("to the old address %+v", s)
		}
		b := make([]byte, 100)
		if n, _, err := w.a.ReadFrom(b); string(b[:n]) != "buffered" || err != nil {
			w.Errorf("read %q, %v, want what had arrived", b[:n], err)
		}
		w.b.WriteTo([]byte("answer"), w.a.Bound())
		if n, _, err := w.a.ReadFrom(b); string(b[:n]) != "answer" || err != nil {
			w.Errorf("read %q, %v, want what was sent to the new address", b[:n], err)
		}
		if c := w.listen(old.String()); c.Close() != nil { // it is free
			w.Error("no Close")
		}
	})
}

func TestRebindErrors(t *testing.T) {
	onWire(t, 1, Path{}, func(w *wire) {
		for addr, want := range map[string]error{"192.0.2.2:1000": ErrAddrInUse, "192.0.2.9": nil, "0.0.0.0:1": nil} {
			var op *net.OpError
			if err := w.a.Rebind(addr); !errors.As(err, &op) || want != nil && !errors.Is(err, want) {
				w.Errorf("%s: %v", addr, err)
			}
		}
		w.a.Close()
		if err := w.a.Rebind("192.0.2.9:1"); !errors.Is(err, net.ErrClosed) {
			w.Errorf("after Close: %v", err)
		}
		c := w.listen("192.0.2.9:1") // which nothing has taken
		if err := c.Rebind("192.0.2.9:2"); err != nil {
			w.Fatal(err)
		}
		c.Close()
		w.listen("192.0.2.9:2").Close()
	})
}
