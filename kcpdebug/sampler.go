package kcpdebug

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"
	"weak"

	kcp "github.com/xtaci/kcp-go/v5"
)

// Sessions are sampled when somebody asks and the last sample is older than this: at most once in that time,
// by however many pages are open.
const sampleEvery = time.Second

// sampleShare bounds what sampling takes of one processor: a pass is followed by as many times its length
// without one, up to sampleMost.
const (
	sampleShare = 20
	sampleMost  = 10 * time.Second
)

// sampler keeps the newest sample of all sessions, and what the one before is needed for: rates.
type sampler struct {
	mu      sync.Mutex
	ids     uint64
	tracked map[weak.Pointer[kcp.UDPSession]]*tracked
	byID    map[uint64]*tracked
	newest  *sample
}

// tracked is a session that a sample found. It does not keep it.
type tracked struct {
	id      uint64
	session weak.Pointer[kcp.UDPSession]
	pass    uint64 // the last that found it
	at      time.Time
	sent    uint64 // bytes on the wire, by then
	got     uint64
}

// sample is all sessions at one moment.
type sample struct {
	at   time.Time
	pass uint64
	took time.Duration
	rows []row
}

// row is a session as the list shows it. Times are in milliseconds, rates in bytes a second.
type row struct {
	ID         uint64  `json:"id"`
	Conv       uint32  `json:"conv"`
	Peer       string  `json:"peer"`
	Local      string  `json:"local"`
	State      string  `json:"state"`
	Sealed     bool    `json:"sealed"`
	Limit      string  `json:"limit"`
	Age        float64 `json:"age"`
	Heard      float64 `json:"heard"`
	RTT        float64 `json:"rtt"`
	MinRTT     float64 `json:"minRtt"`
	Queueing   float64 `json:"queueing"`
	Out        float64 `json:"out"`
	In         float64 `json:"in"`
	Loss       float64 `json:"loss"`
	InFlight   int     `json:"inFlight"`
	Window     int     `json:"window"`
	PeerWindow int     `json:"peerWindow"`
	CWnd       int     `json:"cwnd"`
	Queued     int     `json:"queued"`
	Unread     int     `json:"unread"`
}

// lasts is how long it is new enough.
func (s *sample) lasts() time.Duration {
	return min(max(sampleEvery, sampleShare*s.took), sampleMost)
}

func newSampler() *sampler {
	return &sampler{
		// So an id of another handler, or of the process before, is most likely none.
		ids:     rand.Uint64N(1 << 48),
		tracked: make(map[weak.Pointer[kcp.UDPSession]]*tracked),
		byID:    make(map[uint64]*tracked),
	}
}

// sample returns one that is new enough. Its rows are not changed any more.
func (s *sampler) sample() *sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.newest; n != nil && time.Since(n.at) < n.lasts() {
		return n
	}
	next := &sample{at: time.Now(), pass: 1}
	if s.newest != nil {
		next.pass = s.newest.pass + 1
		next.rows = make([]row, 0, len(s.newest.rows)+16)
	}
	for session := range kcp.Sessions() {
		next.rows = append(next.rows, s.row(session, next.pass))
	}
	for p, t := range s.tracked {
		if t.pass != next.pass {
			delete(s.tracked, p)
			delete(s.byID, t.id)
		}
	}
	next.took = time.Since(next.at)
	s.newest = next
	return next
}

// row samples a session.
func (s *sampler) row(session *kcp.UDPSession, pass uint64) row {
	p := weak.Make(session)
	t := s.tracked[p]
	if t == nil {
		s.ids++
		t = &tracked{id: s.ids, session: p}
		s.tracked[p], s.byID[t.id] = t, t
	}
	now, st := time.Now(), session.Stats()
	r := row{
		ID: t.id, Conv: session.GetConv(),
		Peer: session.RemoteAddr().String(), Local: session.LocalAddr().String(),
		State: state(session, &st), Sealed: st.Sealed, Limit: st.SendLimit.String(),
		Age: ms(st.Age), Heard: ms(st.LastHeard), RTT: ms(st.RTT), MinRTT: ms(st.MinRTT), Queueing: ms(st.QueueingDelay),
		Loss: loss(&st), InFlight: st.InFlight, Window: st.SendWindow, PeerWindow: st.PeerWindow,
		CWnd: st.CongestionWindow, Queued: st.BytesQueued, Unread: st.Unread,
	}
	since := st.Age // of a session that was not seen before, since it began
	if !t.at.IsZero() {
		since = now.Sub(t.at)
	}
	if seconds := since.Seconds(); seconds > 0 {
		r.Out = float64(st.WireBytesSent-t.sent) / seconds
		r.In = float64(st.WireBytesReceived-t.got) / seconds
	}
	t.pass, t.at, t.sent, t.got = pass, now, st.WireBytesSent, st.WireBytesReceived
	return r
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// loss is the share of the segments sent, acknowledgements among them, that were lost.
func loss(st *kcp.Stats) float64 {
	lost := st.LostFast + st.LostEarly + st.LostTimeout
	if lost <= st.Spurious || st.SegmentsSent == 0 {
		return 0
	}
	return float64(lost-st.Spurious) / float64(st.SegmentsSent)
}

// state returns what has become of a session, in a word.
func state(session *kcp.UDPSession, st *kcp.Stats) string {
	switch err := session.Cause(); {
	case err == nil && st.InFlight > 0 && st.LastHeard > max(time.Second, 3*st.RTO):
		return "silent" // the peer owes an acknowledgement
	case err == nil:
		return "open"
	case errors.Is(err, net.ErrClosed):
		return "closing"
	default:
		return "failed"
	}
}

// find returns the session with that id, as a sample told it, and nil if it is gone.
func (s *sampler) find(text string) (*kcp.UDPSession, uint64) {
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return nil, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.byID[id]
	if t == nil {
		return nil, id
	}
	return t.session.Value(), id
}
