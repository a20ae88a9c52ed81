package kcp

import "testing"

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
			k.pendingRead = pendingRead{buf: room, stream: tt.stream}
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
			if got := string(rest[:k.read(rest, true)]); got != tt.window {
				t.Errorf("the window had %q, want %q", got, tt.window)
			}
			if len(k.acks) != len(tt.steps) || k.rcv.held != 0 || k.rcv.head != k.rcv.nxt {
				t.Errorf("%d acknowledgements of %d, %d segments held", len(k.acks), len(tt.steps), k.rcv.held)
			}
		})
	}
}
