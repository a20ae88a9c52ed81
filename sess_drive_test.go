package kcp

import (
	"runtime"
	"testing"
	"time"
)

// A timer that runs while the session ends, and finds its reader late, does not keep the session
// from leaving.
func TestTimerBesideEnd(t *testing.T) {
	t.Parallel() // it takes a second of real time
	l, err := ListenWithOptions("127.0.0.1:0", nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	go echo(l)
	c := dialUDP(t, l.Addr().String(), nil, 0, 0)
	if err := ask(c, "who is there?"); err != nil {
		t.Fatal(err)
	}
	c.SetLinger(1)
	c.Close()
	for end := time.Now().Add(realPatience); c.state() < stateDraining; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("the session does not end")
		}
	}
	c.readerOverdue()
	await(t, "the end of the session", c.Done())
	l.Close()
}
