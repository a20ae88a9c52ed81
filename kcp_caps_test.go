package kcp

import "testing"

// A reset has to know where the session is.
func TestForgedReset(t *testing.T) {
	l := newLine(t, 0)
	l.both(func(n *node) { n.caps.own = capMark | capFIN })
	n := l.a
	n.write(3)
	for _, una := range []uint32{4, n.snd.una - 1, 1 << 31} {
		before := n.count.KCPInErrors
		code := n.input(l.now, segmentOf(header{conv: testConv, cmd: cmdRST, frg: n.caps.own, sn: una, una: una}), true)
		if n.caps.reset {
			t.Fatalf("una %d resets", una)
		}
		if code == 0 && n.count.KCPInErrors != before+1 {
			t.Errorf("una %d is not counted", una)
		}
	}
	n.input(l.now, segmentOf(header{conv: testConv, cmd: cmdRST, frg: n.caps.own, sn: 2, una: 2}), true)
	if !n.caps.reset {
		t.Error("no reset")
	}
	n.caps.own = 0
	if code := n.input(l.now, segmentOf(header{conv: testConv, cmd: cmdFIN}), true); code != -3 {
		t.Errorf("without extensions a FIN is %d, want -3", code)
	}
}

// A FIN counts where it is in order only, and nothing behind it.
func TestFINInOrder(t *testing.T) {
	l := newLine(t, 0)
	n := l.a
	n.caps.own = capMark | capFIN
	n.SetStreamMode(true)
	in := func(cmd uint8, sn uint32, data string) {
		h := header{conv: testConv, cmd: cmd, sn: sn, len: uint32(len(data))}
		n.input(l.now, append(segmentOf(h), data...), true)
	}
	in(IKCP_CMD_PUSH, 3, "beyond")
	in(cmdFIN, 2, "")
	in(IKCP_CMD_PUSH, 1, "b")
	if n.rcv.fin {
		t.Fatal("out of order")
	}
	in(IKCP_CMD_PUSH, 0, "a")
	if !n.rcv.fin || n.rcv.una() != 3 || n.rcv.held != 2 || n.finished() {
		t.Fatalf("fin %t, una %d, %d held", n.rcv.fin, n.rcv.una(), n.rcv.held)
	}
	in(IKCP_CMD_PUSH, 3, "beyond")
	in(cmdFIN, 2, "")
	if n.rcv.held != 2 || n.count.RepeatSegs != 1 {
		t.Errorf("%d held, %d repeated", n.rcv.held, n.count.RepeatSegs)
	}
	b := make([]byte, 10)
	if k := n.read(b); string(b[:k]) != "ab" || !n.finished() {
		t.Errorf("%q, finished %t", b[:k], n.finished())
	}
}
