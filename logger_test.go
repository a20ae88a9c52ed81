package kcp

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// logLines collects what a logger is called with.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) log(msg string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := msg
	for i := 0; i < len(args); i += 2 {
		line += fmt.Sprintf(" %s=%v", args[i].(string), args[i+1])
	}
	l.lines = append(l.lines, line)
}

// with returns the lines that begin with a message, without time stamps.
func (l *logLines) with(msg string) (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if rest, ok := strings.CutPrefix(line, msg+" conv="); ok {
			words := slices.DeleteFunc(strings.Fields(rest)[1:], func(s string) bool { return strings.HasPrefix(s, "ts=") })
			lines = append(lines, strings.Join(words, " "))
		}
	}
	return lines
}

func (l *logLines) want(t *testing.T, msg string, want ...string) {
	t.Helper()
	if got := l.with(msg); !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", msg, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestLogger(t *testing.T) {
	l := newLine(t, 10*millisecond)
	var a, b logLines
	l.a.SetLogger(IKCP_LOG_ALL, a.log)
	l.b.SetLogger(IKCP_LOG_ALL, b.log)
	l.send(l.a, "hello")
	l.advance(second)
	l.expect(l.b, "hello")
	l.b.probeWindow()
	l.b.flush(l.now)
	l.advance(second)

	a.want(t, "kcp send", "len=5")
	a.want(t, "kcp output", "len=29 regular=true", "len=24 regular=true")
	a.want(t, "kcp output push", "sn=0 una=0 wnd=128 frg=0 len=5")
	a.want(t, "kcp input", "len=24 regular=true", "len=24 regular=true")
	a.want(t, "kcp input ack", "sn=0 una=1 wnd=127 frg=0 len=0")
	a.want(t, "kcp input wask", "sn=0 una=1 wnd=128 frg=0 len=0")
	a.want(t, "kcp output wins", "sn=0 una=0 wnd=128 frg=0 len=0")
	b.want(t, "kcp input push", "sn=0 una=0 wnd=128 frg=0 len=5")
	b.want(t, "kcp output ack", "sn=0 una=1 wnd=127 frg=0 len=0")
	b.want(t, "kcp recv", "len=5")
	b.want(t, "kcp output wask", "sn=0 una=1 wnd=128 frg=0 len=0")
	b.want(t, "kcp input wins", "sn=0 una=0 wnd=128 frg=0 len=0")
	for _, line := range a.lines {
		if !strings.Contains(line, fmt.Sprintf(" conv=%d ", testConv)) {
			t.Errorf("%q is of no conversation", line)
		}
	}
}

// Each bit of the mask is one kind of event, and no other is reported.
func TestLoggerMask(t *testing.T) {
	events := map[KCPLogType]string{
		IKCP_LOG_OUTPUT: "kcp output", IKCP_LOG_INPUT: "kcp input", IKCP_LOG_SEND: "kcp send", IKCP_LOG_RECV: "kcp recv",
		IKCP_LOG_OUT_ACK: "kcp output ack", IKCP_LOG_OUT_PUSH: "kcp output push",
		IKCP_LOG_OUT_WASK: "kcp output wask", IKCP_LOG_OUT_WINS: "kcp output wins",
		IKCP_LOG_IN_ACK: "kcp input ack", IKCP_LOG_IN_PUSH: "kcp input push",
		IKCP_LOG_IN_WASK: "kcp input wask", IKCP_LOG_IN_WINS: "kcp input wins",
	}
	var all KCPLogType
	run := func(mask KCPLogType) *logLines {
		l := newLine(t, 10*millisecond)
		lines := new(logLines)
		l.a.SetLogger(mask, lines.log)
		for _, n := range []*node{l.a, l.b} {
			l.send(n, "message")
			n.probeWindow()
			n.flush(l.now)
		}
		l.advance(second)
		l.expect(l.a, "message")
		return lines
	}
	for mask, msg := range events {
		if all&mask != 0 {
			t.Errorf("%s has the bit of another", msg)
		}
		all |= mask
		lines := run(mask)
		if len(lines.lines) == 0 || len(lines.with(msg)) != len(lines.lines) {
			t.Errorf("%s: %q", msg, lines.lines)
		}
	}
	if both := IKCP_LOG_INPUT_ALL + IKCP_LOG_OUTPUT_ALL; all != IKCP_LOG_ALL || both != all {
		t.Errorf("all is %#x", all)
	}
	if lines := run(0); len(lines.lines) != 0 {
		t.Errorf("with no event: %q", lines.lines)
	}
	if lines := run(1 << 30); len(lines.lines) != 0 {
		t.Errorf("with an unknown event: %q", lines.lines)
	}
}

// A core logs what is not well formed as far as it is, and takes no harm.
func TestLoggerBadInput(t *testing.T) {
	n := alone(t)
	var lines logLines
	n.SetLogger(IKCP_LOG_ALL, lines.log)
	bad := n.fromPeer(header{cmd: 99})
	for _, b := range [][]byte{nil, make([]byte, 5), make([]byte, 24), encode(n.fromPeer(header{cmd: IKCP_CMD_PUSH, len: 9}))[:30],
		encode(n.fromPeer(header{cmd: IKCP_CMD_WASK}), bad), encode(n.fromPeer(header{cmd: cmdRST}))} {
		n.input(n.l.now, b, false)
	}
	lines.want(t, "kcp input", "len=0 regular=false", "len=5 regular=false", "len=24 regular=false",
		"len=30 regular=false", "len=48 regular=false", "len=24 regular=false")
	if n := len(lines.with("kcp input wask")) + len(lines.with("kcp input rst")); n != 2 || len(lines.lines) != 8 {
		t.Errorf("%q", lines.lines)
	}
}

// A session's logger sees both directions with the end of the stream, whichever way data is read,
// until it is taken off.
func TestSessionLogger(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * millisecond}, func(w *world) {
		client, server := w.pair(w.config(nil, 4, 2))
		w.awaitIdle()
		var lines, peer logLines
		client.SetLogger(IKCP_LOG_ALL, func(msg string, args ...any) {
			lines.log(msg, args...)
			client.GetConv() // which takes no lock
			client.RemoteAddr()
			client.LocalAddr()
		})
		server.SetLogger(IKCP_LOG_RECV, peer.log)
		go func() {
			for range 2 {
				client.Write([]byte("message"))
				time.Sleep(second)
			}
			client.Write([]byte("message"))
			client.CloseWrite()
		}()
		b := make([]byte, 100)
		server.Read(b) // directly
		w.sleep(2 * second)
		server.TryRead(b)
		if n, err := io.Copy(io.Discard, server); n != 7 || err != nil {
			w.Errorf("%d bytes, %v", n, err)
		}
		w.awaitIdle()
		peer.want(t, "kcp recv", "len=7", "len=7", "len=7")
		lines.want(t, "kcp send", "len=7", "len=7", "len=7")
		if n := len(lines.with("kcp output fin")); n == 0 || len(lines.with("kcp output")) == 0 || len(lines.with("kcp input ack")) < 3 {
			w.Errorf("%q", lines.lines)
		}
		client.SetLogger(IKCP_LOG_ALL, nil)
		before := len(lines.lines)
		server.Write([]byte("x"))
		w.awaitIdle()
		if len(lines.lines) != before {
			w.Errorf("after it was taken off: %q", lines.lines[before:])
		}
		closeAll(client, server)
	})
}
