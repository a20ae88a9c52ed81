package kcpdebug

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
)

// A page of the list has at most so many sessions.
const pageMax = 500

// list is a page of the sessions that were asked for, and sums over all of these.
type list struct {
	At       float64        `json:"at"` // Unix time, ms
	Every    float64        `json:"every"`
	Took     float64        `json:"took"`
	Total    int            `json:"total"`
	Matched  int            `json:"matched"`
	Offset   int            `json:"offset"`
	Out      float64        `json:"out"`
	In       float64        `json:"in"`
	RTT      [3]float64     `json:"rtt"` // median, 95th and 99th percentile
	Lossy    int            `json:"lossy"`
	Sealed   int            `json:"sealed"`
	States   map[string]int `json:"states"`
	Limits   map[string]int `json:"limits"`
	Sessions []row          `json:"sessions"`
}

// lossyFrom is the share of loss from which a session counts as lossy.
const lossyFrom = 0.01

// columns are what the list can be sorted by.
var columns = map[string]func(a, b *row) int{
	"peer":     func(a, b *row) int { return strings.Compare(a.Peer, b.Peer) },
	"local":    func(a, b *row) int { return strings.Compare(a.Local, b.Local) },
	"conv":     func(a, b *row) int { return cmp.Compare(a.Conv, b.Conv) },
	"state":    func(a, b *row) int { return strings.Compare(a.State, b.State) },
	"limit":    func(a, b *row) int { return strings.Compare(a.Limit, b.Limit) },
	"age":      func(a, b *row) int { return cmp.Compare(a.Age, b.Age) },
	"heard":    func(a, b *row) int { return cmp.Compare(a.Heard, b.Heard) },
	"rtt":      func(a, b *row) int { return cmp.Compare(a.RTT, b.RTT) },
	"queueing": func(a, b *row) int { return cmp.Compare(a.Queueing, b.Queueing) },
	"out":      func(a, b *row) int { return cmp.Compare(a.Out, b.Out) },
	"in":       func(a, b *row) int { return cmp.Compare(a.In, b.In) },
	"loss":     func(a, b *row) int { return cmp.Compare(a.Loss, b.Loss) },
	"inFlight": func(a, b *row) int { return cmp.Compare(a.InFlight, b.InFlight) },
	"cwnd":     func(a, b *row) int { return cmp.Compare(a.CWnd, b.CWnd) },
	"queued":   func(a, b *row) int { return cmp.Compare(a.Queued, b.Queued) },
	"unread":   func(a, b *row) int { return cmp.Compare(a.Unread, b.Unread) },
}

// serveSessions answers with a page of the list: sort names a column, with a minus in front for the largest
// first; q is words, each of which has to be in what the list shows of a session; offset and limit.
func (s *sampler) serveSessions(r *http.Request) (any, int) {
	form := r.URL.Query()
	smp := s.sample()
	rows := make([]*row, 0, len(smp.rows))
	words := strings.Fields(strings.ToLower(form.Get("q")))
	for i := range smp.rows {
		if matches(&smp.rows[i], words) {
			rows = append(rows, &smp.rows[i])
		}
	}
	l := list{
		At: float64(smp.at.UnixMilli()), Took: ms(smp.took), Every: ms(smp.lasts()),
		Total: len(smp.rows), Matched: len(rows),
	}
	l.sum(rows)
	l.page(rows, form.Get("sort"), number(form.Get("offset"), 0), number(form.Get("limit"), 100))
	return &l, http.StatusOK
}

// number reads a parameter that is a whole number, not negative.
func number(text string, otherwise int) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return otherwise
	}
	return n
}

// matches says whether each word is in what the list shows in words.
func matches(r *row, words []string) bool {
	if len(words) == 0 {
		return true
	}
	sealed := "unsealed"
	if r.Sealed {
		sealed = " sealed" // that is no part of the other
	}
	text := strings.ToLower(fmt.Sprintf("%s %s %08x %s %s %s", r.Peer, r.Local, r.Conv, r.State, r.Limit, sealed))
	return !slices.ContainsFunc(words, func(word string) bool {
		if word == "sealed" {
			return !r.Sealed
		}
		return !strings.Contains(text, word)
	})
}

// sum adds up what the rows have.
func (l *list) sum(rows []*row) {
	l.States, l.Limits = make(map[string]int), make(map[string]int)
	rtts := make([]float64, 0, len(rows))
	for _, r := range rows {
		l.Out += r.Out
		l.In += r.In
		l.States[r.State]++
		l.Limits[r.Limit]++
		if r.Sealed {
			l.Sealed++
		}
		if r.Loss >= lossyFrom {
			l.Lossy++
		}
		if r.RTT > 0 {
			rtts = append(rtts, r.RTT)
		}
	}
	slices.Sort(rtts)
	for i, p := range []float64{0.5, 0.95, 0.99} {
		if len(rtts) > 0 {
			l.RTT[i] = rtts[min(int(math.Ceil(p*float64(len(rtts)))), len(rtts))-1]
		}
	}
}

// page takes limit rows from offset on, in that order.
func (l *list) page(rows []*row, order string, offset, limit int) {
	order, descending := strings.CutPrefix(order, "-")
	column := columns[order]
	slices.SortFunc(rows, func(a, b *row) int {
		c := 0
		if column != nil {
			c = column(a, b)
		}
		if descending {
			c = -c
		}
		return cmp.Or(c, cmp.Compare(a.ID, b.ID))
	})
	l.Offset = min(offset, len(rows))
	rows = rows[l.Offset:min(l.Offset+min(limit, pageMax), len(rows))]
	l.Sessions = make([]row, len(rows))
	for i, r := range rows {
		l.Sessions[i] = *r
	}
}

// detail is everything about one session.
type detail struct {
	At     float64   `json:"at"` // Unix time, ms
	ID     uint64    `json:"id"`
	Conv   uint32    `json:"conv"`
	Peer   string    `json:"peer"`
	Local  string    `json:"local"`
	State  string    `json:"state"`
	Cause  string    `json:"cause,omitempty"`
	Limit  string    `json:"limit"`
	Limits []string  `json:"limits"` // of TimeLimited
	Loss   float64   `json:"loss"`
	Stats  kcp.Stats `json:"stats"`
}

// serveSession answers with all of the session that id names.
func (s *sampler) serveSession(r *http.Request) (any, int) {
	session, id := s.find(r.URL.Query().Get("id"))
	if session == nil {
		return map[string]string{"error": "there is no such session any more"}, http.StatusNotFound
	}
	st := session.Stats()
	d := detail{
		At: float64(time.Now().UnixMicro()) / 1000, ID: id, Conv: session.GetConv(),
		Peer: session.RemoteAddr().String(), Local: session.LocalAddr().String(),
		State: state(session, &st), Limit: st.SendLimit.String(), Loss: loss(&st), Stats: st,
	}
	if err := session.Cause(); err != nil {
		d.Cause = err.Error()
	}
	for i := range st.TimeLimited {
		d.Limits = append(d.Limits, kcp.SendLimit(i).String())
	}
	return &d, http.StatusOK
}

// listener is one of the process.
type listener struct {
	Addr  string            `json:"addr"`
	Stats kcp.ListenerStats `json:"stats"`
}

// listeners returns those of the process, by address.
func listeners() []listener {
	all := []listener{}
	for l := range kcp.Listeners() {
		all = append(all, listener{l.Addr().String(), l.Stats()})
	}
	slices.SortFunc(all, func(a, b listener) int { return strings.Compare(a.Addr, b.Addr) })
	return all
}
