//go:build !kcpgeneric

package kcp

import (
	"net"
	"strings"
	"testing"
	"time"
)

// What the kernel drops, as a receive buffer is full, is counted in the listener, its sessions and the
// process, and reported once for a socket.
func TestReceiveDrops(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadBuffer(4096)
	peer, err := net.Dial("udp4", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	cfg := standalone(t, nil, 0, 0)
	sock := newSocket(conn, true)
	overflow := func() { // more than the buffer holds
		for range 64 {
			peer.Write(make([]byte, 1000))
		}
	}
	reports := warnings(func() {
		overflow() // nobody reads yet
		l, err := cfg.listen(sock)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		// The kernel tells with what comes when there is room again.
		go func() {
			for try := uint32(0); try < 100; try++ {
				peer.Write(segment(1, IKCP_CMD_PUSH, 0, []byte("hello")))
				time.Sleep(10 * time.Millisecond)
			}
		}()
		l.SetDeadline(time.Now().Add(10 * time.Second))
		s, err := l.AcceptKCP()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Abort()
		drops := l.Stats().ReceiveDrops
		if drops < 40 || drops > 64 {
			t.Errorf("%d drops", drops)
		}
		if n := s.Stats().ReceiveDrops; n != drops {
			t.Errorf("the session tells of %d drops, its listener of %d", n, drops)
		}
		if n := cfg.snmp.Copy().RcvbufErrs; n != drops {
			t.Errorf("the process tells of %d drops, its listener of %d", n, drops)
		}
		sock.noteOverflow(uint32(drops) + 5) // as the kernel would
		if n := l.Stats().ReceiveDrops; n != drops+5 {
			t.Errorf("%d drops after five more than %d", n, drops)
		}
	})
	if len(reports) != 1 || !strings.Contains(reports[0], "raise net.core.rmem_max") || !strings.Contains(reports[0], conn.LocalAddr().String()) {
		t.Errorf("reported:\n%s", strings.Join(reports, "\n"))
	}
}

// The kernel's counter wraps, and is never taken to have run back.
func TestReceiveDropsWrap(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sock := newSocket(conn, true)
	sock.snmp = newSnmp()
	sock.overflow.kernel = 1<<32 - 3
	sock.overflow.total.Store(10)
	for _, step := range []struct {
		counter uint32
		total   uint64
	}{{1<<32 - 3, 10}, {1<<32 - 1, 12}, {4, 17}, {2, 17}, {5, 18}} {
		if sock.noteOverflow(step.counter); sock.overflow.total.Load() != step.total {
			t.Errorf("at %d: %d, want %d", step.counter, sock.overflow.total.Load(), step.total)
		}
	}
}
