package kcp

// KCPLogType is a mask of the events that SetLogger reports.
type KCPLogType int32

// The events that a logger is called for. The numbers are those of the deployed implementation.
const (
	IKCP_LOG_OUTPUT   KCPLogType = 1 << iota // each datagram sent, as the core makes it; an RST
	IKCP_LOG_INPUT                           // each datagram received, or rebuilt; an RST
	IKCP_LOG_SEND                            // what was queued to be sent
	IKCP_LOG_RECV                            // what was read
	IKCP_LOG_OUT_ACK                         // each acknowledgement sent
	IKCP_LOG_OUT_PUSH                        // each data segment sent, and the FIN
	IKCP_LOG_OUT_WASK                        // each window probe sent
	IKCP_LOG_OUT_WINS                        // each window update sent
	IKCP_LOG_IN_ACK                          // each acknowledgement received
	IKCP_LOG_IN_PUSH                         // each data segment received, and the FIN
	IKCP_LOG_IN_WASK                         // each window probe received
	IKCP_LOG_IN_WINS                         // each window update received
)

// All that is sent, all that is received, and both.
const (
	IKCP_LOG_OUTPUT_ALL = IKCP_LOG_OUTPUT | IKCP_LOG_SEND | IKCP_LOG_OUT_ACK | IKCP_LOG_OUT_PUSH |
		IKCP_LOG_OUT_WASK | IKCP_LOG_OUT_WINS
	IKCP_LOG_INPUT_ALL = IKCP_LOG_INPUT | IKCP_LOG_RECV | IKCP_LOG_IN_ACK | IKCP_LOG_IN_PUSH |
		IKCP_LOG_IN_WASK | IKCP_LOG_IN_WINS
	IKCP_LOG_ALL = IKCP_LOG_OUTPUT_ALL | IKCP_LOG_INPUT_ALL
)

// logger reports what a core sends and receives. The zero value reports nothing, and costs a look
// at mask for each datagram.
type logger struct {
	mask KCPLogType // 0 without report
	f    func(msg string, args ...any)
}

// set makes f report the events of mask. A nil f, or no event, ends that.
func (l *logger) set(mask KCPLogType, f func(msg string, args ...any)) {
	if mask &= IKCP_LOG_ALL; mask == 0 || f == nil {
		*l = logger{}
		return
	}
	*l = logger{mask, f}
}

// bytes reports n bytes of the conversation.
func (l *logger) bytes(event KCPLogType, msg string, conv uint32, n int) {
	if l.mask&event != 0 {
		l.f(msg, "conv", conv, "len", n)
	}
}

// logEvents are the events and messages of one direction.
type logEvents struct {
	datagram logEvent
	segments [cmdLast - IKCP_CMD_PUSH + 1]logEvent // by cmd
}

type logEvent struct {
	mask KCPLogType
	msg  string
}

var (
	logOutput = logEvents{
		datagram: logEvent{IKCP_LOG_OUTPUT, "kcp output"},
		segments: [...]logEvent{
			{IKCP_LOG_OUT_PUSH, "kcp output push"}, {IKCP_LOG_OUT_ACK, "kcp output ack"},
			{IKCP_LOG_OUT_WASK, "kcp output wask"}, {IKCP_LOG_OUT_WINS, "kcp output wins"},
			{IKCP_LOG_OUT_PUSH, "kcp output fin"}, {IKCP_LOG_OUTPUT, "kcp output rst"},
			cmdDGRAM - IKCP_CMD_PUSH:  {IKCP_LOG_OUT_PUSH, "kcp output dgram"},
			cmdREP - IKCP_CMD_PUSH:    {IKCP_LOG_OUT_PUSH, "kcp output rep"},
			cmdREPORT - IKCP_CMD_PUSH: {IKCP_LOG_OUT_ACK, "kcp output report"},
			cmdSKIP - IKCP_CMD_PUSH:   {IKCP_LOG_OUT_PUSH, "kcp output skip"},
		},
	}
	logInput = logEvents{
		datagram: logEvent{IKCP_LOG_INPUT, "kcp input"},
		segments: [...]logEvent{
			{IKCP_LOG_IN_PUSH, "kcp input push"}, {IKCP_LOG_IN_ACK, "kcp input ack"},
			{IKCP_LOG_IN_WASK, "kcp input wask"}, {IKCP_LOG_IN_WINS, "kcp input wins"},
			{IKCP_LOG_IN_PUSH, "kcp input fin"}, {IKCP_LOG_INPUT, "kcp input rst"},
			cmdDGRAM - IKCP_CMD_PUSH:  {IKCP_LOG_IN_PUSH, "kcp input dgram"},
			cmdREP - IKCP_CMD_PUSH:    {IKCP_LOG_IN_PUSH, "kcp input rep"},
			cmdREPORT - IKCP_CMD_PUSH: {IKCP_LOG_IN_ACK, "kcp input report"},
			cmdSKIP - IKCP_CMD_PUSH:   {IKCP_LOG_IN_PUSH, "kcp input skip"},
		},
	}
)

// segments reports a datagram's segments b, as far as they are well formed. regular says that
// they were not rebuilt from parity.
func (l *logger) segments(e *logEvents, conv uint32, b []byte, regular bool) {
	if l.mask&e.datagram.mask != 0 {
		l.f(e.datagram.msg, "conv", conv, "len", len(b), "regular", regular)
	}
	for h, b, ok := nextSegment(conv, b); ok; h, b, ok = nextSegment(conv, b) {
		if s := &e.segments[h.cmd-IKCP_CMD_PUSH]; l.mask&s.mask != 0 {
			l.f(s.msg, "conv", h.conv, "sn", h.sn, "ts", h.ts, "una", h.una, "wnd", h.wnd, "frg", h.frg, "len", h.len)
		}
	}
}
