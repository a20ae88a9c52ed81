package kcp

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// churn is a day of short connections: clients that all use conversation 1, and soon their port again,
// each with one request.
type churn struct {
	*world
	clients, servers *config
	to               net.Addr // the server's

	mu       sync.Mutex
	ran      map[uint64][]int // in which lives of the server a request was executed
	accepted int
	empty    int // accepted sessions that no request came from
	mixed    int // answers that are another request's
	answered map[uint64]bool
}

// serve executes what arrives, in the server's life.
func (c *churn) serve(l *Listener, life int) {
	for {
		s, err := l.AcceptKCP()
		if err != nil {
			return
		}
		c.mu.Lock()
		c.accepted++
		c.mu.Unlock()
		go func() {
			defer s.Close()
			s.SetDeadline(time.Now().Add(time.Minute))
			var b [8]byte
			_, err := io.ReadFull(s, b[:])
			c.mu.Lock()
			if err != nil {
				c.empty++
				c.mu.Unlock()
				return
			}
			id := binary.LittleEndian.Uint64(b[:])
			c.ran[id] = append(c.ran[id], life)
			c.mu.Unlock()
			s.Write(b[:])
			s.Read(b[:]) // until the client closes
		}()
	}
}

// request sends one from port, and ends in one of the ways that there are.
func (c *churn) request(rnd *rand.Rand, id uint64, port int) {
	conn := c.bind(fmt.Sprintf("10.0.0.1:%d", port))
	s := c.clients.dial(1, c.to, newSocket(conn, true))
	s.SetDeadline(time.Now().Add(20 * time.Second))
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], id)
	s.Write(b[:])
	kind := rnd.IntN(20)
	if kind < 2 { // killed before the answer
		time.Sleep(time.Duration(rnd.Int64N(int64(100 * time.Millisecond))))
		conn.Close()
		s.Abort()
		return
	}
	if _, err := io.ReadFull(s, b[:]); err == nil {
		c.mu.Lock()
		c.answered[id] = true
		if binary.LittleEndian.Uint64(b[:]) != id {
			c.mixed++
		}
		c.mu.Unlock()
	}
	switch kind {
	case 2, 3: // killed after it
		conn.Close()
		s.Abort()
	case 4, 5, 6, 7, 8, 9:
		s.Abort()
	default:
		s.Close()
	}
	<-s.Done()
}

// A day of a hundred thousand connections on a path that delivers 2% of all datagrams 300 ms late,
// some twice, and loses some; the server is restarted every hour. With our clients each request is
// executed once if it is answered, and at most once by a life of the server if it is not, though all
// from a few ports that are soon used again. Clients without extensions take another port each time.
func TestDayOfChurn(t *testing.T) {
	for _, old := range []bool{false, true} {
		t.Run(fmt.Sprintf("extensions=%t", !old), func(t *testing.T) {
			path := netem.Path{Delay: 20 * time.Millisecond, Loss: 0.01, Duplicate: 0.01,
				Reorder: 0.02, ReorderDelay: 300 * time.Millisecond}
			virtual(t, path, func(w *world) {
				const workers, day = 8, 24 * time.Hour
				count := lighter(100_000, 4000)
				if old {
					count /= 5
				}
				c := &churn{world: w, ran: make(map[uint64][]int), answered: make(map[uint64]bool)}
				c.clients, c.servers = w.config(nil, 0, 0), w.config(nil, 0, 0)
				if old {
					deployed(c.clients)
				}
				start := time.Now()
				var restarted []time.Time
				life := 0
				h := w.host(c.servers, "10.0.0.2:2000")
				c.to = h.Addr()
				go c.serve(h.Listener, life)
				stop := make(chan struct{})
				over := make(chan struct{})
				go func() {
					defer close(over)
					for {
						select {
						case <-stop:
							return
						case <-time.After(time.Hour):
							h.kill()
							life++
							restarted = append(restarted, time.Now())
							h = w.host(c.servers, "10.0.0.2:2000")
							go c.serve(h.Listener, life)
						}
					}
				}()
				var wg sync.WaitGroup
				for i := range workers {
					wg.Go(func() {
						rnd := seeded(testSeed, uint64(i))
						each := count / workers
						for n := range each {
							port := 1000 + i
							if old { // their sessions at one port cannot be told apart
								port = 10_000 + 1000*i + n%1000
							}
							c.request(rnd, uint64(i*each+n), port)
							if rnd.IntN(2) == 0 {
								time.Sleep(time.Duration(rnd.Int64N(int64(400 * time.Millisecond))))
							} else if left := day - time.Since(start); left > 0 {
								time.Sleep(time.Duration(rnd.Int64N(4 * int64(left) / int64(each-n+1))))
							}
						}
					})
				}
				wg.Wait()
				close(stop)
				<-over
				w.sleep(2 * time.Minute)
				c.report(count, old)
				w.wantSessions(h.Listener, 0)
				h.Close()
			})
		})
	}
}

// report checks what has become of the requests.
func (c *churn) report(count int, old bool) {
	again, across, lost := 0, 0, 0
	for id := range uint64(count) {
		lives := c.ran[id]
		seen := make(map[int]bool)
		for _, life := range lives {
			if seen[life] {
				again++
			}
			seen[life] = true
		}
		across += max(0, len(seen)-1)
		if c.answered[id] && len(lives) == 0 {
			lost++
		}
	}
	c.Logf("%d requests: %d answered, %d executed; %d again, %d in another life of the server; %d answers mixed up, %d sessions without a request of %d",
		count, len(c.answered), len(c.ran), again, across, c.mixed, c.empty, c.accepted)
	// A late answer that finds the next client of its port without its own, lost, is taken for that:
	// nothing in a PUSH tells them apart. It takes a loss, a delay and a port that is used again within
	// it.
	if c.mixed > count/20_000 || lost > 0 {
		c.Errorf("%d answers are another request's, %d requests were answered and not executed", c.mixed, lost)
	}
	if again > 0 || c.empty > c.accepted/1000 {
		c.Errorf("%d requests were executed again, %d sessions had none", again, c.empty)
	}
	if len(c.answered) < count*85/100 {
		c.Errorf("%d of %d are answered", len(c.answered), count)
	}
}
