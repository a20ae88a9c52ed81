package netem

import (
	"encoding/binary"
	"errors"
	"math"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const ms = time.Millisecond

// A wire is a Pipe for tests: datagrams numbered from 0 go from a to b.
type wire struct {
	*testing.T
	*Network
	a, b  *Conn
	start time.Time
	sent  int

	mu       sync.Mutex
	recorded []arrival
}

// an arrival is the number of a datagram and when it was read, since the start.
type arrival struct {
	num int
	at  time.Duration
}

// newWire returns a wire that nobody reads from.
func newWire(t *testing.T, seed uint64, ab Path) *wire {
	t.Helper()
	a, b, err := Pipe(seed, ab, Path{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Network().Close() })
	return &wire{T: t, Network: a.Network(), a: a, b: b, start: time.Now()}
}

// onWire runs f in virtual time, with a wire whose arrivals are recorded. The
// test fails if a goroutine is left when it ends.
func onWire(t *testing.T, seed uint64, ab Path, f func(w *wire)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		w := newWire(t, seed, ab)
		go w.record()
		f(w)
	})
}

func (w *wire) record() {
	p := make([]byte, 1<<16)
	for {
		n, _, err := w.b.ReadFrom(p)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n < 4 {
			w.Errorf("ReadFrom = %d, %v", n, err)
			return
		}
		w.mu.Lock()
		w.recorded = append(w.recorded, arrival{int(binary.BigEndian.Uint32(p)), time.Since(w.start)})
		w.mu.Unlock()
	}
}

// send sends n datagrams of size bytes, at least 4, from a at once.
func (w *wire) send(n, size int) {
	w.Helper()
	for range n {
		w.write(w.a, w.sent, size)
		w.sent++
	}
}

// write sends a datagram with the number num from c to b.
func (w *wire) write(c *Conn, num, size int) {
	w.Helper()
	p := make([]byte, size)
	binary.BigEndian.PutUint32(p, uint32(num))
	if n, err := c.WriteTo(p, w.b.LocalAddr()); n != size || err != nil {
		w.Fatalf("WriteTo = %d, %v, want %d, nil", n, err, size)
	}
}

// sleep lets d pass, and all that happens at its end.
func (w *wire) sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// arrivals returns what arrived since the last call, the next minute included.
func (w *wire) arrivals() []arrival {
	w.sleep(time.Minute)
	w.mu.Lock()
	defer w.mu.Unlock()
	got := w.recorded
	w.recorded = nil
	return got
}

// want waits a minute, and wants exactly these arrivals.
func (w *wire) want(want ...arrival) {
	w.Helper()
	if got := w.arrivals(); !slices.Equal(got, want) {
		w.Errorf("arrivals\n%v, want\n%v", got, want)
	}
}

func (w *wire) setPath(p Path) {
	w.Helper()
	if err := w.SetPath(w.a.LocalAddr(), w.b.LocalAddr(), p); err != nil {
		w.Fatal(err)
	}
}

// listen binds another Conn.
func (w *wire) listen(addr string) *Conn {
	w.Helper()
	c, err := w.Listen(addr)
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// stats returns the counters from a to b, and checks that nothing is in flight.
func (w *wire) stats() Stats {
	w.Helper()
	s := w.Stats(w.a.LocalAddr(), w.b.LocalAddr())
	if s.InFlight() != 0 {
		w.Errorf("in flight = %d, want 0: %+v", s.InFlight(), s)
	}
	return s
}

// near checks a frequency k/n against a probability, at five standard
// deviations: for a fixed seed it passes always or never.
func (w *wire) near(what string, k, n uint64, p float64) {
	w.Helper()
	got, sigma := float64(k)/float64(n), math.Sqrt(p*(1-p)/float64(n))
	if math.Abs(got-p) > 5*sigma {
		w.Errorf("%s = %.4f, want %.4f ± %.4f", what, got, p, 5*sigma)
	}
}

func nums(as []arrival) (ns []int) {
	for _, a := range as {
		ns = append(ns, a.num)
	}
	return ns
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
