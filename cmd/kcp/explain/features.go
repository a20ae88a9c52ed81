package explain

import (
	"slices"
	"time"

	"github.com/xtaci/kcp-go/v5"
)

// features are what a series of samples comes down to.
type features struct {
	last    Sample
	elapsed time.Duration

	sent, received                  uint64             // datagrams
	lost                            uint64             // segments
	loss                            float64            // share of the segments sent, after startup
	limit                           [maxLimits]float64 // share of the time that each SendLimit was the limit
	queue, queueMost                time.Duration      // of the path: that three quarters are below, and all
	rate                            float64            // bytes a second that the path delivers, the median
	cpu                             float64            // cores that the process uses, or waits for; 0 is unknown
	drops                           uint64             // of the receive buffer, at the end that receives
	stuck                           time.Duration      // how long nothing has been acknowledged that was sent
	invalid                         uint64             // datagrams that did not open
	steady                          bool               // the rate hardly changes
	level                           bool               // the rate is never much above what it is mostly
	bursty                          bool               // losses come together, more than chance would have it
	peerWindow                      int                // that was advertised, the median, in segments
	inFlight, sendWindow            int                // segments, the medians
	peerWindowLeast, peerWindowMost int                // that it is below a tenth of the time, and never above
	peerRoom                        int                // the most that the peer has advertised, before as well
}

const maxLimits = len(kcp.LimitTimes{})

// startup is the time of a session that says nothing of its steady state.
const startup = time.Second

// featuresOf reads a series of one session, the oldest sample first. A single sample stands for all of the
// session's life.
func featuresOf(series []Sample) (f features) {
	f.last = series[len(series)-1]
	first := Sample{At: f.last.At - f.last.Stats.Age}
	if len(series) > 1 {
		first = series[0]
	}
	a, b := &first.Stats, &f.last.Stats
	f.elapsed = f.last.At - first.At
	f.sent, f.received = b.DatagramsSent-a.DatagramsSent, b.DatagramsReceived-a.DatagramsReceived
	f.invalid = b.InvalidInputs - a.InvalidInputs
	f.drops = b.ReceiveDrops - a.ReceiveDrops
	if f.last.Peer != nil {
		f.drops += f.last.Peer.ReceiveDrops
		if first.Peer != nil {
			f.drops -= first.Peer.ReceiveDrops
		}
	}
	var total time.Duration
	for i := range b.TimeLimited {
		total += b.TimeLimited[i] - a.TimeLimited[i]
	}
	for i := range b.TimeLimited {
		f.limit[i] = (b.TimeLimited[i] - a.TimeLimited[i]).Seconds() / max(1e-9, total.Seconds())
	}
	late := afterStartup(series)
	if len(late) < len(series) {
		a = &late[0].Stats
	}
	f.lost = Lost(b) - min(Lost(a), Lost(b))
	f.loss = float64(f.lost) / float64(max(1, b.SegmentsSent-a.SegmentsSent))
	if first.CPU > 0 && f.elapsed > 0 {
		f.cpu = (f.last.CPU - first.CPU).Seconds() / f.elapsed.Seconds()
	}
	f.stuck = stuckFor(series)
	f.course(late)
	return f
}

// afterStartup is the part of a series after startup, or all of it where that has too few samples.
func afterStartup(series []Sample) []Sample {
	late := slices.IndexFunc(series, func(s Sample) bool { return s.Stats.Age >= startup })
	if late > 0 && len(series)-late >= 5 {
		return series[late:]
	}
	return series
}

// course fills in what follows from how the samples differ from one another.
func (f *features) course(series []Sample) {
	var queues, rates, windows, inFlight, sendWindows []float64
	for _, s := range series {
		queues = append(queues, s.Stats.QueueingDelay.Seconds())
		rates = append(rates, float64(s.Stats.DeliveryRate))
		windows = append(windows, float64(s.Stats.PeerWindow))
		inFlight = append(inFlight, float64(s.Stats.InFlight))
		sendWindows = append(sendWindows, float64(s.Stats.SendWindow))
	}
	f.queue, f.queueMost = time.Duration(quantile(queues, 0.75)*1e9), time.Duration(quantile(queues, 1)*1e9)
	f.rate = quantile(rates, 0.5)
	f.peerWindowLeast, f.peerWindow, f.peerWindowMost = int(quantile(windows, 0.1)), int(quantile(windows, 0.5)), int(quantile(windows, 1))
	f.peerRoom = max(f.peerWindowMost, f.last.Stats.MaxPeerWindow)
	f.inFlight, f.sendWindow = int(quantile(inFlight, 0.5)), int(quantile(sendWindows, 0.5))
	f.steady = len(series) >= 5 && quantile(rates, 0.9) <= 1.35*quantile(rates, 0.1)
	f.level = len(series) >= 5 && quantile(rates, 0.95) <= 1.35*quantile(rates, 0.5)
	f.bursty = comeTogether(series)
}

// comeTogether says whether losses come together: between the samples they vary more than by a third, and
// more than those of datagrams that are each lost by chance (whose variance is that of a binomial
// distribution).
func comeTogether(series []Sample) bool {
	first, last := &series[0].Stats, &series[len(series)-1].Stats
	if last.SegmentsSent == first.SegmentsSent || Lost(last) <= Lost(first) || len(series) < 5 {
		return false
	}
	p := float64(Lost(last)-Lost(first)) / float64(last.SegmentsSent-first.SegmentsSent)
	var squares, chance, mean float64
	for i := range series[1:] {
		a, b := &series[i].Stats, &series[i+1].Stats
		n := float64(b.SegmentsSent - a.SegmentsSent)
		off := float64(Lost(b)) - float64(Lost(a)) - p*n
		squares += off * off
		chance += n * p * (1 - p)
		mean += n * p * n * p
	}
	return squares > 2*chance && squares > mean/9
}

// stuckFor returns for how long there was something to acknowledge, and nothing of it was.
func stuckFor(series []Sample) time.Duration {
	last := &series[len(series)-1]
	if last.Stats.Unacknowledged == 0 {
		return 0
	}
	since := last.At
	for _, s := range slices.Backward(series) {
		a, b := &s.Stats, &last.Stats
		if a.Unacknowledged == 0 || a.Unacknowledged > b.Unacknowledged || a.BytesSent != b.BytesSent || a.BytesQueued != b.BytesQueued {
			break
		}
		since = s.At
	}
	return last.At - since
}

// quantile returns the q-quantile of the values, which it sorts.
func quantile(v []float64, q float64) float64 {
	slices.Sort(v)
	return v[min(len(v)-1, int(q*float64(len(v))))]
}
