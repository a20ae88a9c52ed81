package explain

import (
	"fmt"
	"time"

	"github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/cmd/kcp/format"
)

// A Verdict is what bounds a session.
type Verdict struct {
	Bound string `json:"bound"` // one of Bounds
	Why   string `json:"why"`   // what it is concluded from
	Do    string `json:"do"`    // what would change it
	Note  string `json:"note,omitempty"`
}

// The bounds. What to do about them is in Bounds.
const (
	Key         = "key"
	Dead        = "dead path"
	MTU         = "MTU"
	Buffer      = "socket buffer"
	Receiver    = "receiver"
	Window      = "window"
	PeerWindow  = "peer's window"
	Rate        = "rate limit"
	CPU         = "CPU"
	Socket      = "socket"
	Application = "application"
	Policer     = "policer"
	Loss        = "loss"
	Path        = "path"
	Unknown     = "nothing yet"
)

// Bounds are what a session may be bound by, what they mean, and what to do about them.
var Bounds = []struct{ Name, Means, Do string }{
	{Key, "the ends have different keys, or one has none", "Compare the keys: \"kcp key public FILE\" at the server prints what -server-key has to be, and -key is the same file at both ends."},
	{Dead, "nothing comes back", "Is the other end running? Does a firewall or NAT on the way drop UDP, or has it forgotten the address? Has it another -key? It says nothing to strangers, and counts them in its log."},
	{MTU, "short datagrams arrive and long ones do not", "Set a lower -mtu (Settings.MTU) at both ends: 1200 passes nearly everywhere, \"kcp ping -size\" finds what does. If none comes back at all, it is the direction to the other end that is dead."},
	{Buffer, "the kernel drops datagrams as the receive buffer is full", "Raise net.core.rmem_max (sysctl), so that Settings.ReadBuffer gets what it asks for; or give the receiver more CPU."},
	{Receiver, "the receiving program does not read as fast as data comes", "Look at what the receiving program waits for: its disk, its CPU, whom it passes the data on to. More window would only put the wait elsewhere."},
	{Window, "the send window is full", "Leave -window (SetWindowSize) away, so that it follows the path, or set it to bandwidth × round trip ÷ 1376 bytes; SetMaxWindow and SetWindowMemory bound it, too."},
	{PeerWindow, "the other end's receive window is full, though it reads", "Leave -window (SetWindowSize) away at the other end, so that it follows the path, or raise it there."},
	{Rate, "-rate (SetRateLimit), or a bucket", "Raise it, if that is not what you want."},
	{CPU, "the process has no more CPU to use", "See what else the machine does; several sessions use several cores (-sessions); of the ciphers aes-256-gcm costs the least, and sealed sessions use that."},
	{Socket, "the socket, or the interface behind it, takes no more", "Is the interface's rate the bound? Otherwise raise net.core.wmem_max (sysctl) for Settings.WriteBuffer."},
	{Application, "the sending program writes less than could be sent", "Nothing is wrong with the session. To send more, write more at a time, or wait less for answers."},
	{Policer, "what exceeds a rate is dropped, without a queue", "A policer, or a queue of a few datagrams, is on the way: buy a higher rate, or set -rate (SetRateLimit) a little below it, which saves the lost bytes."},
	{Loss, "loss, which is not the session's own doing", "Find the lossy link: radio, cable, a full router. -cc bbr keeps its rate in spite of it; -fec 10/3 repairs without a round trip."},
	{Path, "the rate of the path", "That is what the path carries. If it should be more, try \"kcp perf -tcp\" beside it, and look for the slowest link."},
	{Unknown, "there was too little to see", "Watch for longer, under load."},
}

// Thresholds.
const (
	silence     = 3 * time.Second // without a word, while something is to be acknowledged; probes come each second
	mostly      = 0.5             // of the time
	partly      = 0.25
	sometimes   = 0.1
	busyCPU     = 0.9 // cores
	littleLoss  = 0.005
	muchLoss    = 0.15
	shortSeries = 20 // datagrams sent
)

// Judge says what bounds a session, from a series of its samples, the oldest first. It depends on nothing
// else.
func Judge(series []Sample) Verdict {
	if len(series) == 0 {
		return verdictOf(Unknown, "there is no sample")
	}
	f := featuresOf(series)
	for _, rule := range []func(*features) (bound, why string){
		(*features).failed, (*features).silent, (*features).overflows, (*features).limited, (*features).busy, (*features).idle, (*features).onThePath,
	} {
		if bound, why := rule(&f); bound != "" {
			v := verdictOf(bound, why)
			v.Note = f.note(bound)
			return v
		}
	}
	return verdictOf(Unknown, fmt.Sprintf("%d datagrams were sent in %s", f.sent, format.Short(f.elapsed.Round(time.Millisecond))))
}

func verdictOf(bound, why string) Verdict {
	for _, b := range Bounds {
		if b.Name == bound {
			return Verdict{Bound: bound, Why: why, Do: b.Do}
		}
	}
	panic("a bound without a line in bounds: " + bound)
}

// note tells of loss beside another bound, and of what a qlog cannot show.
func (f *features) note(bound string) string {
	if f.last.Qlog && (bound == Path || bound == Loss || bound == Policer || bound == Unknown) {
		return "A qlog has neither the CPU that the ends used nor what the receiver's kernel dropped, which look like this too: \"kcp explain\" knows them of sessions that run."
	}
	if f.loss < littleLoss || bound == Loss || bound == Policer || bound == Buffer || bound == MTU || bound == Dead {
		return ""
	}
	return fmt.Sprintf("The path also loses %.1f%% of what is sent, which costs those bytes, and a round trip and a half for each unless FEC (-fec 10/3) repairs it.", 100*f.loss)
}

// failed tells of sessions that there are not.
func (f *features) failed() (bound, why string) {
	switch s := &f.last.Stats; {
	case f.last.Failed == WrongKey:
		return Key, f.last.Why
	case f.last.Strangers > 0 && f.received == 0:
		return Key, fmt.Sprintf("the listener got %s that did not open", format.Count(f.last.Strangers, "datagram"))
	case f.invalid > 0 && 2*f.invalid >= s.DatagramsReceived:
		return Key, fmt.Sprintf("of %s that came %d did not open", format.Count(s.DatagramsReceived, "datagram"), f.invalid)
	case f.last.Failed != "":
		return Dead, f.last.Why
	}
	return "", ""
}

// silent tells of sessions of which nothing is acknowledged any more.
func (f *features) silent() (bound, why string) {
	s := &f.last.Stats
	waits := s.Unacknowledged > 0 && s.PeerWindow > 0
	switch {
	case waits && s.LastHeard >= silence:
		return Dead, fmt.Sprintf("nothing has come for %s, and %s wait for an acknowledgement", format.Short(s.LastHeard.Round(100*time.Millisecond)), format.Count(s.Unacknowledged, "segment"))
	case waits && f.stuck >= silence:
		return MTU, fmt.Sprintf("nothing of what was sent has been acknowledged for %s, and yet the other end is there: it was heard %s ago",
			format.Short(f.stuck.Round(100*time.Millisecond)), format.Short(s.LastHeard.Round(time.Millisecond)))
	}
	return "", ""
}

// bundle is how many datagrams the kernel may have put together (GRO) and counts as one that it drops.
const bundle = 64

// overflows tells of receive buffers.
func (f *features) overflows() (bound, why string) {
	if f.drops >= 10 && bundle*f.drops >= f.lost {
		return Buffer, fmt.Sprintf("the kernel dropped %s or more that had arrived, as the receive buffer was full", format.Count(f.drops, "datagram"))
	}
	return "", ""
}

// limited tells of limits that are not the path's.
func (f *features) limited() (bound, why string) {
	share := func(l kcp.SendLimit) string { return fmt.Sprintf("for %.0f%% of the time", 100*f.limit[l]) }
	s := &f.last.Stats
	switch {
	case f.limit[kcp.LimitRate] >= mostly:
		return Rate, "it was the limit " + share(kcp.LimitRate)
	case f.fills(kcp.LimitSendWindow, f.sendWindow):
		return Window, fmt.Sprintf("%s of %s were in flight at once, %s, which is %s over a round trip of %s ms",
			format.Bytes(float64(s.BytesInFlight)), format.Count(s.SendWindow, "segment"), share(kcp.LimitSendWindow), format.Bits(f.rate), format.Milliseconds(s.RTT))
	case f.limit[kcp.LimitPeerWindow] >= partly && f.readerIsLate():
		return Receiver, fmt.Sprintf("its window was full %s, and it has room for %s now", share(kcp.LimitPeerWindow), format.Count(s.PeerWindow, "segment"))
	case f.fills(kcp.LimitPeerWindow, f.peerWindow):
		return PeerWindow, fmt.Sprintf("its %s were full %s, over a round trip of %s ms", format.Count(f.peerWindowMost, "segment"), share(kcp.LimitPeerWindow), format.Milliseconds(s.RTT))
	case f.limit[kcp.LimitSocket] >= mostly && f.cpu < busyCPU:
		return Socket, "it did not take more " + share(kcp.LimitSocket)
	}
	return "", ""
}

// fills says whether a window is the limit: most of the time, or some of it and nearly full otherwise, as it is
// where congestion control takes what the window lets through for all that the path carries.
func (f *features) fills(l kcp.SendLimit, window int) bool {
	return f.limit[l] >= mostly || f.limit[l] >= sometimes && 5*f.inFlight >= 4*window
}

// readerIsLate says whether the peer's window is small as data waits to be read: it is less at times than half of
// what it has been.
func (f *features) readerIsLate() bool { return 2*f.peerWindowLeast <= f.peerRoom }

// busy tells of the CPU.
func (f *features) busy() (bound, why string) {
	if f.cpu >= busyCPU && f.sent >= shortSeries && f.limit[kcp.LimitApplication] < 1 {
		return CPU, fmt.Sprintf("the process used, or waited for, %.0f%% of a core", 100*f.cpu)
	}
	return "", ""
}

// idle tells of applications.
func (f *features) idle() (bound, why string) {
	if l := f.limit[kcp.LimitApplication]; l >= mostly {
		return Application, fmt.Sprintf("all that was written was sent, for %.0f%% of the time", 100*l)
	}
	return "", ""
}

// onThePath tells what of the path is the bound, where congestion control or pacing is the limit.
func (f *features) onThePath() (bound, why string) {
	s := &f.last.Stats
	hasQueue := f.queue > max(2*time.Millisecond, s.MinRTT/10)
	shortQueue := f.queue <= max(2*time.Millisecond, s.MinRTT/2)
	// A link that carries no more has a queue at times, where a probe for bandwidth fills it.
	policed := f.level && !hasQueue && (f.bursty || f.steady && f.loss < muchLoss && f.queueMost < s.MinRTT/20)
	switch {
	case f.sent < shortSeries:
		return "", ""
	case f.loss >= littleLoss && policed:
		return Policer, fmt.Sprintf("%.1f%% of what is sent is lost, as what is more than %s is, and no queue is seen before", 100*f.loss, format.Bits(f.rate))
	case f.loss >= littleLoss && !f.steady && !hasQueue, f.loss >= muchLoss && !f.bursty && shortQueue:
		return Loss, fmt.Sprintf("%.1f%% of what is sent is lost, whatever the rate, and without a queue that would explain it", 100*f.loss)
	}
	why = fmt.Sprintf("it delivers %s, over %s ms", format.Bits(f.rate), format.Milliseconds(s.MinRTT))
	if hasQueue {
		why += fmt.Sprintf(" and a queue of %s ms more", format.Milliseconds(f.queue))
	}
	return Path, why
}
