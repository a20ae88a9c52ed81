package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/xtaci/kcp-go/v5"
)

// printSetting prints the link and the settings of the session.
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
	fmt.Fprintf(w, "session\twindow %s, rate limit %s, MTU %d, FEC %s, cipher %s\n",
		count(int64(o.segments()), "segment"), pace, o.mtu, fec, o.crypt)
}

// report prints the results of the transfer.
func (o *options) report(out io.Writer, l *link, took time.Duration, resent float64, sum []byte) error {
	n := kcp.DefaultSnmp.Copy()
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name string, value any, remark string, args ...any) {
		fmt.Fprintf(w, "%s\t%v\t%s\n", name, value, fmt.Sprintf(remark, args...))
	}
	fmt.Fprintln(w)
	row("payload", amount(o.size), "%s in %v", count(o.size, "byte"), took.Round(time.Millisecond))
	row("goodput", si(perSecond(o.size, took))+"/s", "payload ÷ time until the receiver's confirmation")
	row("round trip", fmt.Sprint(l.sender.GetSRTT(), " ms"), "± %d ms, retransmission timeout %d ms", l.sender.GetSRTTVar(), l.sender.GetRTO())
	row("segments sent", n.OutSegs, "both directions, acknowledgements included")
	row("  sent again", n.RetransSegs, "%.1f%% of those with payload", 100*resent)
	row("declared lost", n.FastRetransSegs+n.EarlyRetransSegs+n.LostSegs, "those acknowledged after all are not sent again")
	row("  fast", n.FastRetransSegs, "later ones were acknowledged")
	row("  early", n.EarlyRetransSegs, "the same with fewer of them, as no more could follow")
	row("  timeout", n.LostSegs, "nothing was heard in time")
	row("repeats", n.RepeatSegs, "arrived twice, mostly as the acknowledgement was lost")
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
