package kcp

import (
	"encoding/binary"
	"fmt"
	"io"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// Stragglers of a session that has ended make no session for a minute; after two minutes the same
// address and conv may be used again. What looks like the start of a new connection is one as soon
// as it cannot be a straggler any more.
func TestTimeWait(t *testing.T) {
	for _, busy := range []bool{false, true} { // whether other sessions end meanwhile
		t.Run(fmt.Sprintf("busy=%t", busy), func(t *testing.T) {
			virtual(t, netem.Path{}, func(w *world) {
				l := w.listen(deployed(w.config(nil, 0, 0)), "10.0.0.2:2000")
				from := w.bind("10.0.0.1:1000")
				open := func(conv, sn uint32) *UDPSession {
					b := segment(conv, IKCP_CMD_PUSH, sn, []byte("x"))
					binary.LittleEndian.PutUint32(b[8:], uint32(time.Now().UnixMilli()))
					from.WriteTo(b, l.Addr())
					synctest.Wait()
					l.SetDeadline(time.Now())
					l.forget()
					return l.knows(from.LocalAddr(), conv)
				}
				open(7, 0).Close()
				ended := time.Now()
				for i := uint32(0); time.Since(ended) < 2*time.Minute; i++ {
					w.sleep(time.Second)
					if busy && i%7 == 0 {
						open(1000+i, 0).Close()
					}
					if since := time.Since(ended); since <= time.Minute && open(7, 1) != nil ||
						since < time.Duration(reconnectAfter) && open(7, 0) != nil {
						t.Errorf("a straggler made a session after %v", since)
						break
					}
					if time.Since(ended) == time.Duration(reconnectAfter) {
						if s := open(7, 0); s == nil {
							t.Error("no new connection after", time.Since(ended))
						} else {
							s.Close()
						}
					}
				}
				w.sleep(time.Duration(reconnectAfter))
				if s := open(7, 1); s == nil {
					t.Errorf("no new session after %v", time.Since(ended))
				} else {
					s.Close()
				}
				l.Close()
			})
		})
	}
}

// What comes for a session that a listener remembers is answered: a first write after the end with
// a reset, for a minute.
func TestWriteAfterPeersEnd(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * time.Millisecond}, func(w *world) {
		l := w.listen(w.config(newCrypt(t, "aes"), 3, 1), "10.0.0.2:2000")
		c := w.dial(l.cfg, l)
		c.Write([]byte("hello"))
		s, err := l.AcceptKCP()
		w.check(err)
		io.ReadFull(s, make([]byte, 5))
		s.Close()
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Fatal(err)
		}
		w.sleep(50 * time.Second)
		w.wantGone(s)
		_, err = c.Write([]byte("anybody?"))
		w.check(err)
		w.awaitIdle()
		_, err = c.Write([]byte("no"))
		wantError(t, "write", err, syscall.ECONNRESET)
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Error(err)
		}
		w.wantSessions(l, 0)
		closeAll(c, l)
	})
}
