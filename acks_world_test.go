package kcp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
	"github.com/xtaci/kcp-go/v5/internal/unmarked"
)

// carriedSegments calls f with each segment of the plain datagrams that one address sends another.
func (w *world) carriedSegments(f func(from netip.Addr, h *header, body []byte) (pass bool)) {
	w.watch(func(from, _ netip.AddrPort, b []byte) bool {
		pass := true
		for len(b) >= IKCP_OVERHEAD {
			var h header
			h.parse(b)
			b = b[IKCP_OVERHEAD:]
			pass = f(from.Addr(), &h, b[:min(int(h.len), len(b))]) && pass
			b = b[min(int(h.len), len(b)):]
		}
		return pass
	})
}

// A peer without extensions that sends to us gets one ACK for each two segments in order, with the ts
// of the older one. Behind a gap it gets one for each, so that it repeats what is missing as soon as
// it always did: when as many later ones are acknowledged as it waits for.
func TestUnmarkedSenderIsAcknowledged(t *testing.T) {
	const (
		rtt, every = 40 * time.Millisecond, 2 * time.Millisecond
		missing    = 501
	)
	virtual(t, netem.Path{Delay: rtt / 2}, func(w *world) {
		s, peer := w.meet(w.config(nil, 0, 0), 7, false, unmarked.Config{SendWindow: 256, Resend: 2, Stream: true})
		s.SetWindowSize(256, 256)
		var (
			sentAt        []time.Time // of missing
			acks, grams   int
			behind, until int
			ts            = make(map[uint32]uint32) // of each segment
		)
		w.carriedSegments(func(from netip.Addr, h *header, _ []byte) bool {
			switch {
			case from == netip.MustParseAddr("10.0.0.1") && h.cmd == IKCP_CMD_PUSH:
				ts[h.sn] = h.ts
				grams++
				if h.sn == missing {
					sentAt = append(sentAt, time.Now())
					return len(sentAt) > 1
				}
			case from == netip.MustParseAddr("10.0.0.2") && h.cmd == IKCP_CMD_ACK:
				if acks++; h.len > 0 || h.una > h.sn && h.ts != ts[h.sn] && h.ts != ts[h.sn-1] {
					w.Errorf("an acknowledgement that a deployed peer is not sent: %+v", *h)
				}
				if h.una == missing && h.sn > missing {
					behind++
					until = max(until, int(h.sn-missing))
				}
			}
			return true
		})
		failed := make(chan error, 1)
		go func() { failed <- carry(slowly{peer, every}, s, 2000*1000) }()
		w.check(<-failed)
		switch {
		case len(sentAt) != 2:
			w.Errorf("segment %d was sent %d times", missing, len(sentAt))
		case sentAt[1].Sub(sentAt[0]) > rtt+2*every+2*10*time.Millisecond: // its timer twice
			w.Errorf("it was repeated after %v", sentAt[1].Sub(sentAt[0]))
		}
		if behind != until {
			w.Errorf("%d acknowledgements of %d segments behind the gap", behind, until)
		}
		if w.Logf("%d acknowledgements of %d segments", acks, grams); acks > grams*55/100 {
			w.Errorf("%d acknowledgements of %d segments", acks, grams)
		}
		closeAll(s, peer)
	})
}

// slowly writes a thousand bytes every so often.
type slowly struct {
	end
	every time.Duration
}

func (s slowly) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = s.end.Write(b[n:min(n+1000, len(b))])
		n += m
		time.Sleep(s.every)
	}
	return n, err
}
