package netem

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestListen(t *testing.T) {
	n := New(1)
	defer n.Close()
	for _, c := range []struct {
		addr, want string // want "" stands for an error
	}{
		{"192.0.2.1:4000", "192.0.2.1:4000"},
		{"[2001:db8::1]:4000", "[2001:db8::1]:4000"},
		{"[fe80::1%eth0]:4000", "[fe80::1%eth0]:4000"},
		{"192.0.2.1:0", "192.0.2.1:49152"},
		{"192.0.2.1:49153", "192.0.2.1:49153"},
		{"192.0.2.1:0", "192.0.2.1:49154"},
		{"192.0.2.1:4000", ""},
		{"[::ffff:192.0.2.1]:4000", ""}, // the same address
		{"[::ffff:192.0.2.2]:4000", "192.0.2.2:4000"},
		{"0.0.0.0:4000", ""},
		{"[::]:0", ""},
		{":4000", ""},
		{"localhost:4000", ""},
		{"192.0.2.1", ""},
		{"192.0.2.1:65536", ""},
	} {
		conn, err := n.Listen(c.addr)
		var op *net.OpError
		switch {
		case c.want == "":
			if !errors.As(err, &op) || op.Op != "listen" {
				t.Errorf("Listen(%q): error %v, want a *net.OpError", c.addr, err)
			}
		case err != nil:
			t.Error(err)
		default:
			a := conn.LocalAddr()
			if a.String() != c.want || a.Network() != "udp" {
				t.Errorf("Listen(%q) is at %v, want %v", c.addr, a, c.want)
			}
		}
	}
	if _, err := n.Listen("192.0.2.1:4000"); !errors.Is(err, ErrAddrInUse) {
		t.Errorf("error %v, want ErrAddrInUse", err)
	}
}

func TestListenEphemeralPortsRunOut(t *testing.T) {
	n := New(1)
	defer n.Close()
	for range lastEphemeral - firstEphemeral + 1 {
		if _, err := n.Listen("192.0.2.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.Listen("192.0.2.1:0"); !errors.Is(err, ErrAddrInUse) {
		t.Errorf("error %v, want ErrAddrInUse", err)
	}
	c, err := n.Listen("192.0.2.2:0")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := n.Listen(c.LocalAddr().String()); err != nil {
		t.Errorf("after Close: %v", err)
	}
}

func TestAddressForms(t *testing.T) {
	n := New(1)
	defer n.Close()
	for _, ip := range []string{"192.0.2.1", "[2001:db8::1]", "[fe80::1%eth0]"} {
		a, err := n.Listen(ip + ":1")
		if err != nil {
			t.Fatal(err)
		}
		b, err := n.Listen(ip + ":2")
		if err != nil {
			t.Fatal(err)
		}
		to := b.LocalAddr().(*net.UDPAddr)
		mapped := netip.AddrPortFrom(netip.AddrFrom16(b.local.Addr().As16()).WithZone(b.local.Addr().Zone()), 2)
		a.WriteTo([]byte("4 or 16 bytes"), to)
		a.WriteTo([]byte("16 bytes"), &net.UDPAddr{IP: to.IP.To16(), Port: 2, Zone: to.Zone})
		a.WriteToUDPAddrPort([]byte("mapped"), mapped)
		p := make([]byte, 20)
		for range 3 {
			b.SetReadDeadline(time.Now().Add(time.Minute))
			if _, from, err := b.ReadFromUDPAddrPort(p); err != nil || from != a.local {
				t.Errorf("read from %v, %v, want %v", from, err, a.local)
			}
		}
		a.WriteToUDPAddrPort([]byte("again"), b.local)
		if _, from, err := b.ReadFrom(p); err != nil || from.String() != a.LocalAddr().String() {
			t.Errorf("read from %v, %v, want %v", from, err, a.LocalAddr())
		}
	}
}

func TestWriteErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, 1, Path{})
		check := func(what string, err, want error) {
			t.Helper()
			var op *net.OpError
			if !errors.As(err, &op) || op.Op != "write" || want != nil && !errors.Is(err, want) {
				t.Errorf("%s: error %v, want a *net.OpError of %v", what, err, want)
			}
		}
		write := func(n int, to net.Addr) error {
			_, err := w.a.WriteTo(make([]byte, n), to)
			return err
		}
		b := w.b.LocalAddr()
		check("nil address", write(1, nil), nil)
		check("TCP address", write(1, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 1000}), nil)
		check("no IP", write(1, &net.UDPAddr{Port: 1000}), nil)
		_, err := w.a.WriteToUDPAddrPort(nil, netip.AddrPort{})
		check("zero AddrPort", err, nil)
		check("too long", write(65508, b), errTooLong)
		if s := w.Total(); s.Sent != 0 {
			t.Errorf("sent %d, want 0", s.Sent)
		}
		if err := write(65507, b); err != nil {
			t.Error(err)
		}

		w.a.SetWriteDeadline(time.Now().Add(ms))
		if err := write(1, b); err != nil {
			t.Error(err)
		}
		time.Sleep(ms)
		err = write(1, b)
		check("deadline", err, os.ErrDeadlineExceeded)
		if !isTimeout(err) {
			t.Error("not a timeout")
		}
		w.a.SetDeadline(time.Time{})
		if err := write(1, b); err != nil {
			t.Error(err)
		}

		w.a.Close()
		check("closed", write(1, b), net.ErrClosed)
	})
}

func TestUnbound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, 1, Path{Delay: ms})
		w.send(1, 10)
		w.b.Close() // while one is in flight
		w.sleep(ms)
		w.send(1, 10)
		w.sleep(ms)
		if s := w.stats(); s.Unbound != 2 || s.Delivered != 0 {
			t.Errorf("stats = %+v", s)
		}
		// As on a real network, who binds the address gets what arrives.
		w.send(1, 10)
		var err error
		if w.b, err = w.Listen(w.b.LocalAddr().String()); err != nil {
			t.Fatal(err)
		}
		go w.record()
		w.want(arrival{2, 3 * ms})
	})
}

func TestDatagramsKeepTheirBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, 1, Path{Delay: ms, Duplicate: 1})
		sizes := []int{0, 1, 2047, 2048, 2049, 65507}
		for _, n := range sizes {
			p := bytes.Repeat([]byte{byte(n)}, n)
			w.a.WriteTo(p, w.b.LocalAddr())
			clear(p) // it has been copied
		}
		p := make([]byte, 1<<16)
		for _, size := range sizes {
			for range 2 {
				n, _, err := w.b.ReadFrom(p)
				if err != nil || !bytes.Equal(p[:n], bytes.Repeat([]byte{byte(size)}, size)) {
					t.Errorf("read %d bytes, %v, want %d as sent", n, err, size)
				}
			}
		}
	})
}

func TestShortReadTruncates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, 1, Path{})
		w.send(2, 100)
		p := make([]byte, 7)
		for range 2 {
			if n, _, err := w.b.ReadFrom(p); n != 7 || err != nil {
				t.Errorf("ReadFrom = %d, %v, want 7, nil", n, err)
			}
		}
	})
}

func TestReadBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, 1, Path{})
		if err := w.b.SetReadBuffer(0); err == nil {
			t.Error("SetReadBuffer(0) succeeded")
		}
		if err := w.b.SetReadBuffer(3 * (100 + bufferCost)); err != nil {
			t.Fatal(err)
		}
		w.send(5, 100)
		<-w.block() // reads one
		w.send(1, 100)
		if s := w.stats(); s.BufferDrops != 2 || s.Delivered != 4 {
			t.Errorf("stats = %+v", s)
		}
		w.b.SetReadBuffer(1)
		w.send(1, 4)
		go w.record()
		w.want(arrival{1, 0}, arrival{2, 0}, arrival{5, 0})
		w.send(2, 100) // an empty buffer takes any
		w.want(arrival{7, time.Minute})
	})
}

// block starts a read on w.b, and returns what will be its error once it waits.
func (w *wire) block() <-chan error {
	read := make(chan error, 1)
	go func() {
		_, _, err := w.b.ReadFrom(make([]byte, 10))
		read <- err
	}()
	synctest.Wait()
	return read
}

func TestStall(t *testing.T) {
	onWire(t, 1, Path{}, func(w *wire) {
		w.b.Stall(20 * ms) // of a read that waits
		w.send(2, 10)
		w.sleep(20 * ms)
		w.b.Stall(ms)
		w.b.Stall(30 * ms)
		w.send(2, 10)
		if _, err := w.b.WriteTo([]byte{1}, w.a.LocalAddr()); err != nil {
			w.Error(err)
		}
		w.want(arrival{0, 20 * ms}, arrival{1, 20 * ms}, arrival{2, 50 * ms}, arrival{3, 50 * ms})
	})
	synctest.Test(t, func(t *testing.T) { // Close wakes the reader, and a deadline does not
		w := newWire(t, 1, Path{})
		w.b.Stall(time.Minute)
		w.b.SetReadDeadline(w.start.Add(time.Second))
		read := w.block()
		w.sleep(30 * time.Second)
		w.b.Close()
		if err := <-read; !errors.Is(err, net.ErrClosed) || time.Since(w.start) != 30*time.Second {
			t.Errorf("error %v after %v, want net.ErrClosed after 30 s", err, time.Since(w.start))
		}
	})
}

func TestReadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, 1, Path{})
		// expect checks that the read timed out at the time at, since the start.
		expect := func(read <-chan error, at time.Duration) {
			t.Helper()
			err := <-read
			var op *net.OpError
			if !errors.As(err, &op) || op.Op != "read" || !errors.Is(err, os.ErrDeadlineExceeded) || !op.Timeout() {
				t.Errorf("error %v, want a timeout", err)
			}
			if now := time.Since(w.start); now != at {
				t.Errorf("timeout at %v, want %v", now, at)
			}
		}
		in := func(d time.Duration) time.Time { return w.start.Add(d) }

		w.b.SetReadDeadline(in(10 * ms))
		expect(w.block(), 10*ms)
		expect(w.block(), 10*ms) // until it is moved

		w.b.SetDeadline(in(20 * ms))
		read := w.block()
		w.b.SetReadDeadline(in(30 * ms)) // later, while a read is blocked
		expect(read, 30*ms)

		w.b.SetReadDeadline(in(time.Hour))
		read = w.block()
		w.b.SetReadDeadline(in(40 * ms)) // earlier
		expect(read, 40*ms)

		w.b.SetReadDeadline(time.Time{})
		read = w.block()
		time.Sleep(10 * ms)
		w.b.SetReadDeadline(time.Unix(1, 0)) // in the past, and no monotonic time
		expect(read, 50*ms)
		w.send(1, 10)
		expect(w.block(), 50*ms) // a deadline comes before data

		w.b.SetReadDeadline(time.Time{})
		if err := <-w.block(); err != nil {
			t.Errorf("after the deadline was cleared: %v", err)
		}

		w.b.SetReadDeadline(in(60 * ms))
		read = w.block()
		w.b.SetReadDeadline(time.Time{}) // cleared while a read is blocked
		time.Sleep(time.Hour)
		select {
		case err := <-read:
			t.Errorf("read returned %v though its deadline was cleared", err)
		default:
		}
		w.send(1, 10)
		if err := <-read; err != nil {
			t.Error(err)
		}

		w.b.SetReadDeadline(time.Now().AddDate(400, 0, 0)) // beyond a Duration
		read = w.block()
		w.send(1, 10)
		if err := <-read; err != nil {
			t.Error(err)
		}
	})
}

func TestCloseWakesReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, 1, Path{})
		w.b.SetReadDeadline(time.Now().Add(time.Hour))
		reads := []<-chan error{w.block(), w.block(), w.block()}
		if err := w.b.Close(); err != nil {
			t.Error(err)
		}
		check := func(what string, err error) {
			t.Helper()
			var op *net.OpError
			if !errors.As(err, &op) || !errors.Is(err, net.ErrClosed) || isTimeout(err) {
				t.Errorf("%s: error %v, want a *net.OpError of net.ErrClosed", what, err)
			}
		}
		for _, read := range reads {
			check("blocked read", <-read)
		}
		if w.b.timer.Stop() {
			t.Error("the deadline's timer was left running")
		}
		check("read", <-w.block())
		check("second Close", w.b.Close())
		check("SetDeadline", w.b.SetDeadline(time.Time{}))
		check("SetReadDeadline", w.b.SetReadDeadline(time.Time{}))
		check("SetWriteDeadline", w.b.SetWriteDeadline(time.Time{}))
		check("SetReadBuffer", w.b.SetReadBuffer(1))
		if now := time.Since(w.start); now != 0 {
			t.Errorf("it took %v", now)
		}
	})
}

// The same code in real time: delays are at least those asked for.
func TestRealTime(t *testing.T) {
	w := newWire(t, 1, Path{Delay: 2 * ms, Bandwidth: 100e6})
	w.send(20, 1000)
	w.b.SetReadDeadline(time.Now().Add(time.Minute))
	for i := range 20 {
		if _, _, err := w.b.ReadFrom(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		if at, least := time.Since(w.start), 2*ms+time.Duration(i+1)*10*time.Microsecond; at < least {
			t.Errorf("datagram %d arrived after %v, want at least %v", i, at, least)
		}
	}
}

// BenchmarkConn sends full-size datagrams in real time, and reads each one.
func BenchmarkConn(b *testing.B) {
	for name, p := range map[string]Path{
		"perfect": {},
		"delayed": {Delay: ms},
		"limited": {Delay: ms, Jitter: ms / 10, Bandwidth: 1e9, Queue: 1 << 23},
	} {
		b.Run(name, func(b *testing.B) {
			src, dst, err := Pipe(1, p, Path{})
			if err != nil {
				b.Fatal(err)
			}
			defer src.Network().Close()
			const window = 4096 // datagrams in flight, within queue and buffer
			msg, buf := make([]byte, 1400), make([]byte, 1500)
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				src.WriteToUDPAddrPort(msg, dst.local)
				if i++; i > window {
					dst.ReadFromUDPAddrPort(buf)
				}
			}
		})
	}
}
