package kcp

import (
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// A session with a cipher shares its transport with a listener without one. A datagram without the cipher that
// says that it is of the session's peer is not taken for it, whatever it comes right behind.
func TestTransportTakesNoPlainForCipher(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * millisecond}, func(w *world) {
		hub := w.transport("10.0.0.1:1000")
		open := w.accepts(hub, w.config(nil, 0, 0))
		cfg := w.settle(Settings{Block: newCrypt(t, "aes"), Seal: SealOff}, PrivateKey{})
		l := w.listen(cfg, "10.0.0.2:2000")
		go echo(l)
		s := w.over(hub, cfg, 0, l.Addr())
		w.check(s.SetDeadline(time.Now().Add(5 * time.Second)))
		w.check(ask(s, "hello"))

		p := packets.get()
		p.data = append(p.mem[:cfg.env.head], segmentOf(header{conv: s.conv, cmd: IKCP_CMD_WASK, una: 1})...)
		genuine := []outbound{{p.data, p, nil, nil}}
		cfg.env.sealAll(genuine)
		from := peerAddrOf(l.Addr())
		newTransportReader(hub, hub.socks[0]).receive([]inbound{
			{data: genuine[0].data, from: from},
			{data: segment(s.conv, IKCP_CMD_PUSH, 1, []byte("forged")), from: from},
		}, clock())
		w.check(s.SetDeadline(time.Now().Add(time.Second)))
		b := make([]byte, 100)
		if n, err := s.Read(b); err == nil {
			w.Errorf("read %q", b[:n])
		}
		closeAll(s, l, open, hub)
	})
}
