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
	fec, window := "none", "follows the link"
	if o.data > 0 {
		fec = fmt.Sprintf("%d/%d", o.data, o.parity)
	}
	if o.window > 0 {
		window = count(int64(o.window), "segment")
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintf(w, "link\t%s\n", l.about)
	fmt.Fprintf(w, "session\twindow %s, MTU %d, FEC %s, cipher %s\n", window, o.mtu, fec, o.crypt)
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
	if l.sender == nil {
		row("goodput", si(perSecond(o.size, took))+"/s", "payload ÷ time since it began to arrive")
		row("repeats", n.RepeatSegs, "segments that arrived twice, mostly as the acknowledgement was lost")
		row("FEC recovered", n.FECRecovered, "datagrams rebuilt without being sent again")
		row("on the wire", si(float64(n.InBytes)), "arrived, %.2f bytes a byte of payload", float64(n.InBytes)/float64(max(o.size, 1)))
		return printSum(out, w, sum)
	}
	which := "both directions"
	if l.listener == nil {
		which = "by this end"
	}
	row("goodput", si(perSecond(o.size, took))+"/s", "payload ÷ time until the receiver's confirmation")
	row("round trip", fmt.Sprint(l.sender.GetSRTT(), " ms"), "± %d ms, retransmission timeout %d ms", l.sender.GetSRTTVar(), l.sender.GetRTO())
	row("segments sent", n.OutSegs, "%s, acknowledgements included", which)
	row("  sent again", n.RetransSegs, "%.1f%% of those with payload", 100*resent)
	row("declared lost", n.FastRetransSegs+n.EarlyRetransSegs+n.LostSegs, "those acknowledged after all are not sent again")
	row("  fast", n.FastRetransSegs, "later ones were acknowledged")
	row("  early", n.EarlyRetransSegs, "the same with fewer of them, as no more could follow")
	row("  timeout", n.LostSegs, "nothing was heard in time")
	if l.listener != nil {
		row("repeats", n.RepeatSegs, "arrived twice, mostly as the acknowledgement was lost")
	}
	if o.data > 0 && l.listener != nil {
		row("FEC parity", n.FECParityShards, "datagrams received")
		row("FEC recovered", n.FECRecovered, "datagrams rebuilt without being sent again")
	}
	if l.stats != nil {
		there, back := l.stats()
		row("link lost", there.Lost+back.Lost, "%d of %d datagrams there, %d of %d back", there.Lost, there.Sent, back.Lost, back.Sent)
		row("link overflow", there.QueueDrops+back.QueueDrops, "datagrams found the queue full")
	}
	row("on the wire", si(float64(n.OutBytes)), "%.2f bytes a byte of payload, %s", float64(n.OutBytes)/float64(max(o.size, 1)), which)
	if err := printSum(out, w, sum); err != nil || !o.comparable() {
		return err
	}
	_, err := fmt.Fprint(out, comparison)
	return err
}

// printSum ends the table w and prints the SHA-256 of the payload.
func printSum(out io.Writer, w *tabwriter.Writer, sum []byte) error {
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\nSHA-256 matches: %x\n", sum)
	return err
}

// comparison says where it is told what else there is on a path such as the emulated one.
const comparison = `
README.md says what TCP and QUIC move over such a path, docs/compare.md more. To measure it, as root
on Linux for TCP: go -C bench run . -filter 'bulk, 5 MB/s, 1' path
`

// comparable says whether the link is like the paths of comparison.
func (o *options) comparable() bool {
	return o.emulated() && o.rtt == defaultRTT && o.bandwidth == defaultBandwidth && o.jitter == 0 &&
		o.loss >= 1 && o.loss <= 10
}
