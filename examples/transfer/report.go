package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/xtaci/kcp-go/v5"
)

// printSetting says what the transfer goes over, and with which settings.
func (o *options) printSetting(out io.Writer, l *link) {
	fec, pace := "none", "none"
	if o.data > 0 {
		fec = fmt.Sprintf("%d/%d", o.data, o.parity)
	}
	if o.pace() > 0 {
		pace = si(float64(o.pace())) + "/s"
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintf(w, "link\t%s\n", l.about)
	fmt.Fprintf(w, "session\twindow %d segments, rate limit %s, MTU %d, FEC %s, cipher %s\n",
		o.segments(), pace, o.mtu, fec, o.crypt)
}

// report prints what happened.
func (o *options) report(out io.Writer, l *link, took time.Duration, resent float64, sum []byte) error {
	n := kcp.DefaultSnmp.Copy()
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name string, value any, remark string, args ...any) {
		fmt.Fprintf(w, "%s\t%v\t%s\n", name, value, fmt.Sprintf(remark, args...))
	}
	fmt.Fprintln(w)
	row("payload", amount(o.size), "%d bytes in %v", o.size, took.Round(time.Millisecond))
	row("goodput", si(perSecond(o.size, took))+"/s", "payload per time, until the receiver has confirmed it")
	row("round trip", fmt.Sprint(l.sender.GetSRTT(), " ms"), "± %d ms, retransmission timeout %d ms", l.sender.GetSRTTVar(), l.sender.GetRTO())
	row("segments sent", n.OutSegs, "of both ends, acknowledgements included")
	row("  sent again", n.RetransSegs, "%.1f%% of those with payload", 100*resent)
	row("  fast", n.FastRetransSegs, "given up for lost: later ones were acknowledged")
	row("  early", n.EarlyRetransSegs, "the same with fewer of them, as no more could follow")
	row("  timeout", n.LostSegs, "given up for lost: nothing was heard in time")
	row("repeats", n.RepeatSegs, "arrived twice: what was lost or late was the acknowledgement")
	if o.data > 0 {
		row("FEC parity", n.FECParityShards, "datagrams received")
		row("FEC recovered", n.FECRecovered, "datagrams rebuilt without being sent again")
	}
	if l.stats != nil {
		there, back := l.stats()
		row("link lost", there.Lost+back.Lost, "%d of %d datagrams there, %d of %d back", there.Lost, there.Sent, back.Lost, back.Sent)
		row("link overflow", there.QueueDrops+back.QueueDrops, "datagrams found the queue full")
	}
	row("on the wire", si(float64(n.OutBytes)), "%.2f bytes a byte of payload, both ways", float64(n.OutBytes)/float64(max(o.size, 1)))
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\nSHA-256 matches: %x\n", sum)
	return err
}
