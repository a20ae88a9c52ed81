//go:build !kcpgeneric

package kcp

import (
	"testing"
)

// hookCipher is a cipher that lets a test in while a batch is sealed.
type hookCipher struct{ hook func() }

func (c hookCipher) Encrypt(dst, src []byte) {
	if c.hook != nil {
		c.hook()
	}
	copy(dst, src)
}
func (hookCipher) Decrypt(dst, src []byte) { copy(dst, src) }

// Out-of-band datagrams while a batch is sealed are bounded.
func TestOOBWhileSealing(t *testing.T) {
	var c *UDPSession
	const count = 20_000
	once := false
	most := 0
	cfg, err := newConfig(hookCipher{func() {
		if once || c == nil {
			return
		}
		once = true
		for range count {
			if err := c.SendOOB([]byte("beside")); err != nil {
				t.Error(err)
			}
		}
		c.mu.Lock()
		most = len(c.tx.queue)
		c.mu.Unlock()
	}}, 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	cfg.sched, cfg.snmp = NewTimedSched(1), newSnmp()
	defer cfg.sched.Close()
	tr, near := newTrunk(t)
	defer tr.conn.Close()
	c = cfg.dial(1, letter("far"), near)
	defer c.Close()
	c.SetLinger(0)
	if _, err := c.Write(make([]byte, 5000)); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d of %d wait, %d kB", most, count, most*1536>>10)
	if most > sendBurstMax {
		t.Errorf("%d datagrams wait for a batch that is being sealed", most)
	}
}
