package kcp

import (
	"bytes"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// Whatever reads beside each other, each byte is read once.
func TestWriteToBesideRead(t *testing.T) {
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		s.SetStreamMode(true)
		var written bytes.Buffer
		read := make(map[byte]int)
		go s.WriteTo(&written)
		w.settle() // it waits first
		go func() {
			b := make([]byte, 100)
			for {
				n, err := s.Read(b)
				for _, x := range b[:n] {
					read[x]++
				}
				if err != nil {
					return
				}
			}
		}()
		for i := range byte(200) {
			w.settle()
			c.Write([]byte{i})
		}
		w.settle()
		c.Close()
		w.settle()
		for _, x := range written.Bytes() {
			read[x]++
		}
		for i := range byte(200) {
			if read[i] != 1 {
				t.Errorf("byte %d was read %d times", i, read[i])
			}
		}
		s.Close()
	})
}

// receives makes s take segments now, as one datagram each, and settle.
func (s *UDPSession) receives(segments ...[]byte) {
	s.mu.Lock()
	for _, b := range segments {
		s.datagramLocked(clock(), b)
	}
	s.driveLocked(clock(), false)
	s.mu.Unlock()
}

// waitingRead starts a Read and returns once it waits; what it has read comes through the channel.
func (s *UDPSession) waitingRead() <-chan string {
	got := make(chan string, 1)
	go func() {
		b := make([]byte, 100)
		n, _ := s.Read(b)
		got <- string(b[:n])
	}()
	synctest.Wait()
	return got
}

// What one Read returns is contiguous, also when another comes before it has run.
func TestReadsHaveNoHole(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // who is woken runs when this goroutine waits
	virtual(t, netem.Path{}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		s.SetStreamMode(true)
		sn := s.core.rcv.nxt
		data := func(i uint32, body string) []byte { return segment(s.core.conv, IKCP_CMD_PUSH, sn+i, []byte(body)) }
		woken := s.waitingRead()
		s.receives(data(1, "b"), data(0, "a")) // one to the reader, one to the window
		time.AfterFunc(time.Millisecond, func() { s.receives(data(2, "c")) })
		b := make([]byte, 4)
		n, err := s.Read(b)
		s.receives(data(2, "c")) // before the other has run, if this one did not wait
		if first := <-woken; first != "ab" || string(b[:n]) != "c" || err != nil {
			t.Errorf("read %q, and %q, %v", first, b[:n], err)
		}
		s.SetLinger(0)
		closeAll(c, s)
	})
}

// The mode that counts is the one when data arrives.
func TestModeOfWaitingRead(t *testing.T) {
	virtual(t, netem.Path{}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		s.SetStreamMode(true)
		got := s.waitingRead()
		s.SetStreamMode(false)
		next := s.core.rcv.nxt
		s.receives(segment(s.core.conv, IKCP_CMD_PUSH, next, []byte("one")), segment(s.core.conv, IKCP_CMD_PUSH, next+1, []byte("two")))
		if got := <-got; got != "one" {
			t.Errorf("read %q in message mode", got)
		}
		s.SetLinger(0)
		closeAll(c, s)
	})
}

// A reader that reads everything at once is not slow, however much one batch brings.
func TestReceiveWindowGrowsWithBatches(t *testing.T) {
	for _, batch := range []int{16, 64, 80, autoWindow} {
		k := NewKCP(1, func([]byte, int) {})
		k.autotune()
		now, sn := int64(time.Second), uint32(0)
		buf := make([]byte, 1<<16)
		for range 100 { // round trips of 20 ms
			for left := int(k.rcv.wnd); left > 0; left -= batch {
				for range min(batch, left) {
					k.input(now, segment(1, IKCP_CMD_PUSH, sn, []byte("abc")), true)
					sn++
				}
				k.read(buf, true)
				now += int64(100 * time.Microsecond)
			}
			k.flush(now)
			now += int64(20 * time.Millisecond)
		}
		if k.rcv.wnd != autoWindowMax {
			t.Errorf("batches of %d: a window of %d", batch, k.rcv.wnd)
		}
	}
}
