package kcp

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// A program may write a whole request before it reads, while the peer answers as it reads: the rest
// of a Write that has begun is queued, although the peer's window is closed.
func TestWriteThenRead(t *testing.T) {
	request := random(1, 1<<20)
	for _, c := range []struct {
		name         string
		block        string
		data, parity int
		wnd          int  // 0 for the default
		deployed     bool // the peer
		buffers      bool
	}{
		{name: "default"},
		{name: "default, deployed peer", deployed: true},
		{name: "windows of 32", wnd: 32},
		{name: "windows of 32, deployed peer", wnd: 32, deployed: true},
		{name: "WriteBuffers", wnd: 32, buffers: true},
		{name: "CFB and FEC", block: "aes", data: 10, parity: 3},
		{name: "CFB and FEC, windows of 32, deployed peer", block: "aes", data: 10, parity: 3, wnd: 32, deployed: true},
	} {
		for _, stream := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/stream=%t", c.name, stream), func(t *testing.T) {
				virtual(t, netem.Path{Delay: 5 * time.Millisecond}, func(w *world) {
					config := func() *config {
						var block BlockCrypt
						if c.block != "" {
							block = newCrypt(t, c.block)
						}
						cfg := w.config(block, c.data, c.parity)
						if cfg.stream = stream; c.wnd != 0 {
							cfg.sndWnd, cfg.rcvWnd = c.wnd, c.wnd
						}
						return cfg
					}
					peer := config()
					if c.deployed {
						deployed(peer)
					}
					client, server := w.join(config(), peer)
					defer closeAll(client, server)
					go io.Copy(struct{ io.Writer }{server}, struct{ io.Reader }{server})
					client.SetDeadline(time.Now().Add(time.Minute))
					var n int
					var err error
					if c.buffers {
						n, err = client.WriteBuffers([][]byte{request[:1], request[1:300_000], request[300_000:]})
					} else {
						n, err = client.Write(request)
					}
					if n != len(request) || err != nil {
						t.Fatalf("%d of %d bytes were written: %v", n, len(request), err)
					}
					got := make([]byte, len(request))
					if n, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, request) {
						t.Errorf("%d bytes came back, changed %t: %v", n, !bytes.Equal(got[:n], request[:n]), err)
					}
				})
			})
		}
	}
}

// What a large Write has queued beyond the window is delivered after Close as if Write had waited for
// room: while the peer takes it, the linger time starts again. A peer that takes nothing is given up
// when the linger time is over.
func TestCloseDeliversQueue(t *testing.T) {
	const size = 1 << 20
	path := netem.Path{Delay: 20 * time.Millisecond, Bandwidth: 100_000, Queue: 20_000}
	for _, peer := range []string{"extended", "deployed", "stuck"} {
		t.Run(peer, func(t *testing.T) {
			virtual(t, path, func(w *world) {
				listening := w.config(nil, 0, 0)
				if peer == "deployed" {
					deployed(listening)
				}
				c, s := w.join(w.config(nil, 0, 0), listening)
				w.check(c.SetUserTimeout(-1))
				start := time.Now()
				if n, err := c.Write(random(1, size)); n != size || err != nil {
					t.Errorf("%d bytes, %v", n, err)
				}
				if took := time.Since(start); took > atOnce {
					t.Errorf("Write took %v", took)
				}
				w.check(c.Close())
				if peer == "stuck" {
					w.sleep(closeTimeout + 15*time.Second) // it takes 176 KB
					w.wantGone(c)
					s.Close()
					return
				}
				s.SetReadDeadline(time.Now().Add(time.Minute))
				if n, err := io.CopyN(io.Discard, s, size); n != size || err != nil {
					t.Errorf("%d bytes were delivered, %v", n, err)
				}
				within(t, closeTimeout, "Done", func() { s.Close(); <-c.Done() })
			})
		})
	}
}

// Sessions whose peers take nothing hold a window's worth of what a Write of any size has, and 4 MB.
func TestStuckWrites(t *testing.T) {
	const sessions, wnd = 4, 128
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		cfg := w.config(newCrypt(t, "aes"), 10, 3)
		l := w.listen(cfg, "10.0.0.2:2000")
		before := heapInUse()
		data := make([]byte, 64<<20)
		var all []*UDPSession
		for range sessions {
			c := w.dial(cfg, l)
			c.SetWindowSize(wnd, wnd)
			c.SetLinger(0)
			all = append(all, c)
			for range 3 { // one of them is queued, and the others wait for their turn
				go c.Write(data)
			}
		}
		w.sleep(30 * time.Second)
		for _, c := range all {
			if st := c.Stats(); st.Unacknowledged > wnd+restMax || st.BytesQueued < 4<<20-wnd<<11 || st.BytesQueued > 4<<20+wnd<<10 {
				t.Errorf("%d segments are unacknowledged, %d bytes queued", st.Unacknowledged, st.BytesQueued)
			}
		}
		const most = (wnd + restMax) * (mtuLimit + 300) // at either end at most as much
		if held := (heapInUse() - before - int64(len(data))) / sessions; held > 2*most {
			t.Errorf("%d kB a session are held, want at most %d", held>>10, 2*most>>10)
		} else {
			t.Logf("%d kB a session are held", held>>10)
		}
		for _, c := range all {
			c.Close()
		}
		l.Close()
	})
}

// A Write that has begun, and waits for a socket that takes nothing, or a datagram now and then, waits
// for that alone: the timer does not run again and again.
func TestRestBehindSocket(t *testing.T) {
	for _, takes := range []time.Duration{0, 3 * time.Millisecond} {
		t.Run(fmt.Sprint(takes), func(t *testing.T) {
			virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
				v, c, s := w.stuckPair()
				c.SetNoDelay(1, 10, 2, 1)
				c.SetWindowSize(600, 600)
				go io.Copy(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{s})
				runs := c.countTimer()
				begun := make(chan bool)
				go func() {
					for i := range 8 {
						c.Write(make([]byte, 1<<20))
						if i == 0 {
							close(begun)
						}
					}
				}()
				<-begun
				v.shut(takes)
				w.sleep(10 * time.Second)
				if runs.Load() > 3000 {
					t.Errorf("the timer ran %d times in 10 s", runs.Load())
				} else {
					t.Logf("the timer ran %d times in 10 s", runs.Load())
				}
				v.open()
				c.SetLinger(0)
				closeAll(c, s)
			})
		})
	}
}

// On a short path, where room comes at once, a bulk of large writes queues no more than the window: a
// longer queue would only be memory to be fetched again. Where the peer then stops reading the rest is
// queued all the same, after restWait.
func TestShortPathQueue(t *testing.T) {
	const wnd = 256
	virtual(t, netem.Path{Delay: 100 * time.Microsecond}, func(w *world) {
		c, s := w.pair(w.config(nil, 0, 0))
		lowLatency(wnd, c, s)
		const bulk = 10
		read := make(chan error, 1)
		go func() {
			_, err := io.CopyN(io.Discard, s, bulk<<20)
			read <- err
		}()
		for range bulk {
			_, err := c.Write(make([]byte, 1<<20))
			w.check(err)
			if n := c.Stats().Unacknowledged; n > wnd {
				t.Errorf("%d segments are unacknowledged, with a window of %d", n, wnd)
			}
		}
		w.check(<-read)
		pieces := make([][]byte, 16)
		for i := range pieces {
			pieces[i] = make([]byte, 1<<16)
		}
		start := time.Now()
		n, err := c.WriteBuffers(pieces)
		if took := time.Since(start); n != 1<<20 || err != nil || took < time.Duration(restWait) || took > 4*time.Duration(restWait) { // room came meanwhile
			t.Errorf("%d bytes after %v, %v", n, took, err)
		}
		c.SetLinger(0)
		closeAll(c, s)
	})
}
