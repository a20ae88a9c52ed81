package kcp

import (
	"math"
	"testing"
)

// A waiting reader gets what is next in order, whole messages and no more than it has room for;
// everything else takes the way through the window, in order.
func TestWaitingReader(t *testing.T) {
	type step struct {
		sn   uint32
		frg  uint8
		body string
	}
	for _, tt := range []struct {
		name   string
		room   int
		stream bool
		steps  []step
		direct string // what the reader has then
		window string // and what is read afterwards
	}{
		{"in order", 10, true, []step{{0, 0, "abc"}, {1, 0, "def"}}, "abcdef", ""},
		{"one message", 10, false, []step{{0, 0, "abc"}, {1, 0, "def"}}, "abc", "def"},
		{"fragments", 10, false, []step{{0, 1, "abc"}, {1, 0, "def"}}, "", "abcdef"},
		{"no room", 5, true, []step{{0, 0, "abc"}, {1, 0, "def"}, {2, 0, "g"}}, "abc", "defg"},
		{"just room", 6, true, []step{{0, 0, "abc"}, {1, 0, "def"}, {2, 0, "g"}}, "abcdef", "g"},
		{"empty", 5, true, []step{{0, 0, ""}, {1, 0, "abc"}}, "", "abc"},
		{"out of order", 10, true, []step{{1, 0, "def"}, {2, 0, "ghi"}, {0, 0, "abc"}, {3, 0, "j"}}, "abc", "defghij"},
		{"repeated", 10, true, []step{{0, 0, "abc"}, {0, 0, "abc"}, {1, 0, "def"}, {0, 0, "abc"}}, "abcdef", ""},
		{"nobody waits", 0, true, []step{{0, 0, "abc"}}, "", "abc"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := NewKCP(1, func([]byte, int) {})
			room := make([]byte, tt.room)
			k.SetStreamMode(tt.stream)
			k.pendingRead = pendingRead{buf: room}
			for _, s := range tt.steps {
				b := segment(1, IKCP_CMD_PUSH, s.sn, []byte(s.body))
				b[5] = s.frg
				if code := k.Input(b, true, false); code != 0 {
					t.Fatalf("segment %d: %d", s.sn, code)
				}
			}
			if got := string(room[:k.pendingRead.n]); got != tt.direct {
				t.Errorf("the reader has %q, want %q", got, tt.direct)
			}
			rest := make([]byte, 20)
			if got := string(rest[:k.rcv.read(rest, true, k.pool)]); got != tt.window {
				t.Errorf("the window had %q, want %q", got, tt.window)
			}
			if k.acks.segments != len(tt.steps) || k.rcv.held != 0 || k.rcv.head != k.rcv.nxt {
				t.Errorf("acknowledgements of %d segments, not %d; %d held", k.acks.segments, len(tt.steps), k.rcv.held)
			}
		})
	}
}

func TestInputCodes(t *testing.T) {
	good := header{conv: testConv, cmd: IKCP_CMD_PUSH, len: 1, wnd: 32}
	ahead := func(bad []byte) []byte { return append(encode(good), bad...) }
	other, long, huge, unknown, low := good, good, good, good, good
	other.conv++
	long.len, huge.len = 2, math.MaxUint32
	unknown.cmd, low.cmd = 85, 80
	endless := good
	endless.len = mtuLimit + 1
	cut := func(h header) []byte { // its data is one byte, whatever it says
		b := make([]byte, IKCP_OVERHEAD+1)
		h.put(b)
		return b
	}
	for _, c := range []struct {
		what string
		b    []byte
		code int
		msgs int
	}{
		{"nothing", nil, -1, 0},
		{"less than a header", make([]byte, 23), -1, 0},
		{"another conversation", cut(other), -1, 0},
		{"longer than what is left", cut(long), -2, 0},
		{"longer than anything", cut(huge), -2, 0},
		{"unknown cmd", cut(unknown), -3, 0},
		{"unknown cmd below", cut(low), -3, 0},
		{"longer than any datagram", encode(endless), -2, 0},
		{"good", encode(good), 0, 1},
		{"good, then less than a header", ahead(make([]byte, 23)), 0, 1},
		{"good, then another conversation", ahead(cut(other)), -1, 1},
		{"good, then too long", ahead(cut(long)), -2, 1},
		{"good, then unknown", ahead(cut(unknown)), -3, 1},
	} {
		n := alone(t)
		if code := n.input(n.l.now, c.b, true); code != c.code {
			t.Errorf("%s: %d, want %d", c.what, code, c.code)
		}
		if got := len(n.l.recv(n)); got != c.msgs {
			t.Errorf("%s: %d messages, want %d", c.what, got, c.msgs)
		}
	}
}

// A datagram whose second half is nonsense has acknowledged what its first half says.
func TestInputTakesEffectUpToTheBadSegment(t *testing.T) {
	n := alone(t)
	n.write(3)
	n.l.now += int64(25 * millisecond)
	bad := n.ackOf(1)
	bad.cmd = 99
	if code := n.hear(n.ackOf(0), bad, n.ackOf(2)); code != -3 {
		t.Errorf("%d, want -3", code)
	}
	n.want("una", 1)
	n.want("flight", 2)
	n.want("srtt", 25*millisecond)
}

func TestInputAcknowledgesAtOnce(t *testing.T) {
	var acks []header
	k := NewKCP(1, func(b []byte, n int) { acks = append(acks, header{}); acks[len(acks)-1].parse(b) })
	push := encode(header{conv: 1, cmd: IKCP_CMD_PUSH, ts: 99, len: 1})
	if k.Input(push, true, false); len(acks) != 0 {
		t.Error("acknowledged though that may wait")
	}
	if k.Input(push, true, true); len(acks) != 1 || acks[0].cmd != IKCP_CMD_ACK || acks[0].ts != 99 || acks[0].una != 1 {
		t.Errorf("acknowledged with %+v", acks)
	}
}
