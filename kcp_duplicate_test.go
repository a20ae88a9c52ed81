package kcp

import (
	"testing"
	"time"
)

// On a path that loses a good deal a retransmission is sent twice, the second time later, and not
// at all when it was acknowledged meanwhile.
func TestDuplicates(t *testing.T) {
	l := pathLine(t, 2)
	l.both(func(n *node) { n.loss.lossRate = lossRateOne / 8 })
	sn := l.a.snd.nxt
	l.drop(l.a, sn)
	l.chat(30)
	gaps := l.a.gaps(sn)
	if len(gaps) != 2 || gaps[1] != time.Duration(l.a.duplicateGap()) {
		t.Errorf("sent again after %v, want once, and a duplicate %v later", gaps, time.Duration(l.a.duplicateGap()))
	}
	if l.a.dup.sent != 1 {
		t.Errorf("%d duplicates", l.a.dup.sent)
	}

	for name, change := range map[string]func(k *KCP){
		"a clean path":  func(k *KCP) { k.loss.lossRate = 0 },
		"no redundancy": func(k *KCP) { k.dup.percent, k.dup.credit = 0, 0 },
		"bulk":          func(k *KCP) { k.rtt.nodelay = false },
	} {
		l := pathLine(t, 2)
		l.both(func(n *node) { n.loss.lossRate = lossRateOne / 8; change(n.KCP) })
		l.drop(l.a, l.a.snd.nxt)
		l.chat(30)
		if l.a.dup.sent != 0 {
			t.Errorf("%s: %d duplicates", name, l.a.dup.sent)
		}
	}
}
