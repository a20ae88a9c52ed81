package soak

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/internal/netem"
	"github.com/xtaci/kcp-go/v5/internal/unmarked"
)

// A world is what a case runs in.
type world struct {
	Case
	net        *netem.Network
	start      time.Time
	at         string // where it listens
	serverAddr net.Addr
	over       chan struct{} // closed when clients connect no more

	listening kcp.ListenConfig
	dialling  kcp.Dialer
	old       unmarked.Config
	peer      string // which end has no extensions: "", "listener" or "dialler"
	cipher    string
	sealed    bool // all sessions are
	checked   bool // a changed datagram is noticed
	replays   bool

	ops      atomic.Int64
	mourners sync.WaitGroup // close the listener's ends of clients that were killed
	paths    paths
	bucket   *bucket

	mu        sync.Mutex // guards the rest
	flows     map[uint64]*flow
	streams   map[uint64]*messages
	counts    map[uint64]*counted
	clients   map[uint64]*connection // by the id of what they write
	answers   map[uint64]*end        // listeners' ends by the id of what they write
	ends      map[*kcp.UDPSession]*end
	nonce     uint64
	server    *server
	restartAt time.Time // when the listener was there again, or far away while it is not
	result    Result
}

// A Result is what a case came to.
type Result struct {
	Hours       float64 // of connections
	Connections int
	Calls       int64 // of the API, at least
	Bytes       int64 // that were read
	Datagrams   uint64
	Faults      map[string]int // injected
	Endings     map[string]int // why sessions ended
	Failures    []string
	Left        int64 // KiB of heap
}

// host returns an address of the case's network, as it begins before a port.
func (w *world) host(site, number int) string {
	if w.has(featSix) {
		return fmt.Sprintf("[fd00:%d::%d]", site, number)
	}
	return fmt.Sprintf("10.0.%d.%d", site, number)
}

func newWorld(c Case) (*world, error) {
	w := &world{
		Case: c, net: netem.New(mix(c.Seed ^ uint64(c.Index))), start: time.Now(), over: make(chan struct{}),
		flows: make(map[uint64]*flow), streams: make(map[uint64]*messages), counts: make(map[uint64]*counted),
		clients: make(map[uint64]*connection), answers: make(map[uint64]*end), ends: make(map[*kcp.UDPSession]*end),
	}
	w.result.Faults, w.result.Endings = make(map[string]int), make(map[string]int)
	w.bucket, w.paths.w = &bucket{rate: 1_000_000}, w
	w.at = w.host(0, 1) + ":4000"
	w.serverAddr = net.UDPAddrFromAddrPort(netip.MustParseAddrPort(w.at))
	if w.has(featDeployed) {
		w.peer = one(w.Case.rand("peer"), "listener", "dialler")
	}
	return w, w.configure()
}

// newID returns an id that nobody else has.
func (w *world) newID() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nonce++
	return mix(mix(w.Seed^uint64(w.Index)) ^ w.nonce<<32)
}

// shares says whether clients share a socket, and so does the listener with what its process dials.
func (w *world) shares() bool { return w.has(featTransport) && w.peer == "" }

// follows says whether the listener's sessions follow their peers to other addresses, which say something now
// and then.
func (w *world) follows() bool {
	return w.sealed && w.dialling.KeepAlive > 0 && w.listening.Roam != kcp.RoamOff && w.dialling.Roam != kcp.RoamOff
}

// inMessages says whether all writes are WriteMessages.
func (w *world) inMessages() bool { return w.has(featMessages) && w.peer == "" }

func (w *world) flow(id uint64) *flow {
	return of(w, w.flows, id, func() *flow { return &flow{id: id} })
}

func (w *world) messagesOf(id uint64) *messages {
	return of(w, w.streams, id, func() *messages { return &messages{id: id} })
}

func (w *world) countedOf(id uint64) *counted {
	return of(w, w.counts, id, func() *counted { return &counted{id: id} })
}

// of returns what m has of id, which make makes.
func of[T any](w *world, m map[uint64]*T, id uint64, make func() *T) *T {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m[id] == nil {
		m[id] = make()
	}
	return m[id]
}

// failuresMost is how many failures of a case are told.
const failuresMost = 5

func (w *world) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.result.Failures) < failuresMost {
		w.result.Failures = append(w.result.Failures, fmt.Sprintf("after %v: ", time.Since(w.start))+fmt.Sprintf(format, args...))
	}
}

// count counts a fault that was injected.
func (w *world) count(fault string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.result.Faults[fault]++
}

// outcome counts what a session has ended with.
func (w *world) outcome(err error) {
	name := "other"
	for _, e := range endings {
		if errors.Is(err, e) {
			name = e.Error()
			break
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.result.Endings[name]++
}

// restarted says whether the listener was not there, or another process, since that time.
func (w *world) restarted(since time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.restartAt.IsZero() && !w.restartAt.Before(since)
}

// after runs f later, unless the world ends before.
func (w *world) after(d time.Duration, f func()) {
	time.AfterFunc(d, func() {
		select {
		case <-w.over:
		default:
			f()
		}
	})
}

// isOver says whether clients connect no more.
func (w *world) isOver() bool {
	select {
	case <-w.over:
		return true
	default:
		return false
	}
}

// sleep waits, at most until the world is over.
func (w *world) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-w.over:
	case <-t.C:
	}
}

// outOfBand takes the out-of-band datagrams of all sessions.
func (w *world) outOfBand(s *kcp.UDPSession, b []byte) {
	copies := 3 // of SetDUP
	if !w.sealed {
		copies *= 2 // each of which the path may double
	}
	if len(b) < idSize {
		w.fail("an out-of-band datagram of %d bytes", len(b))
		return
	}
	id := ^binary.BigEndian.Uint64(b)
	w.mu.Lock()
	e := w.ends[s]
	w.mu.Unlock()
	if e != nil && w.sealed && !e.hears(id) { // else address and conversation are all that tells whose it is
		e.fail("an out-of-band datagram of %x", id)
	}
	if err := w.countedOf(^id).got(b, copies); err != nil {
		w.fail("an out-of-band datagram: %v", err)
	}
}

// anywhere is an address that nobody has.
func (w *world) anywhere(r *rand.Rand) netip.AddrPort {
	return netip.MustParseAddrPort(fmt.Sprintf("%s:%d", w.host(9, 1+r.IntN(254)), 1+r.IntN(65535)))
}
