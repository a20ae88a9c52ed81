package main

import (
	"fmt"
	"slices"
	"time"
)

// sharing is several flows through one bottleneck, one starting after another. Their shares are
// taken from apart after the start of the last flow to the end.
type sharing struct {
	flows []sharer
	apart time.Duration // from one start to the next
	time  time.Duration // from the last start to the end
}

type sharer struct {
	name string
	open opener
}

func (s sharing) shortened() load {
	s.apart, s.time = 3*binTime, 6*binTime
	return s
}

func (s sharing) run(w *world, _ opener) (r pathResult, err error) {
	total := time.Duration(len(s.flows)-1)*s.apart + s.time
	type opening struct {
		n   int
		t   *transfer
		err error
	}
	opened := make(chan opening, len(s.flows))
	open := func(n int) { // the transport's handshake takes time
		time.Sleep(time.Duration(n) * s.apart)
		c, err := w.dial(s.flows[n].open, total)
		if err != nil {
			opened <- opening{n, nil, err}
			return
		}
		opened <- opening{n, startTransfer(c), nil}
	}
	bins := int(total / binTime)
	wire := w.wire()
	for n, f := range s.flows {
		go open(n)
		r.Flows = append(r.Flows, series{Name: fmt.Sprintf("%d: %s", n+1, f.name), Values: make([]float64, bins)})
	}
	transfers, before := make([]*transfer, len(s.flows)), make([]int64, len(s.flows))
	for i := range bins {
		time.Sleep(binTime)
		for len(opened) > 0 {
			o := <-opened
			if o.err != nil {
				return r, o.err
			}
			transfers[o.n] = o.t
		}
		for n, t := range transfers {
			if t == nil {
				continue
			}
			now := t.received.Load()
			r.Flows[n].Values[i] = float64(now-before[n]) / mb / binTime.Seconds()
			before[n] = now
		}
	}
	var delivered int64
	for n, t := range transfers {
		if t == nil {
			return r, fmt.Errorf("flow %d took longer than the load to open", n+1)
		}
		if err := t.finish(); err != nil {
			return r, err
		}
		delivered += t.received.Load()
	}
	wire(&r, delivered)
	s.judge(&r)
	return r, nil
}

// judge sets the fields of r that follow from the goodput of the flows while all are there.
func (s sharing) judge(r *pathResult) {
	from := int((time.Duration(len(s.flows)) * s.apart) / binTime)
	var sum, squares float64
	shares := make([]float64, len(r.Flows))
	for i, f := range r.Flows {
		counted := f.Values[min(from, len(f.Values)-1):]
		for _, v := range counted {
			shares[i] += v / float64(len(counted))
		}
		sum += shares[i]
		squares += shares[i] * shares[i]
	}
	if sum == 0 {
		return
	}
	r.Goodput = sum
	r.Jain = sum * sum / squares / float64(len(shares)) // 1 if all are equal, 1/n if one has all
	r.First = shares[0] / sum
	r.Smallest = slices.Min(shares) / sum
}

func (s sharing) heading() string {
	return "flows\t\tgoodput MB/s\tJain's index\tfirst's share\tsmallest\tfloor\twire\tis at\t"
}

func (s sharing) row(sc scenario, r pathResult) string {
	floor := ""
	if sc.floor.share > 0 {
		floor = fmt.Sprintf("%.2f", sc.floor.share)
	}
	return fmt.Sprintf("%.2f\t%.3f\t%.2f\t%.2f\t%s\t%.2f\t%s\t", r.Goodput, r.Jain, r.First, r.Smallest,
		floor, r.Wire, sc.verdict(r))
}
