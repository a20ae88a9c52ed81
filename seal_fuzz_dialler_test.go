package kcp

import (
	"bytes"
	"io"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// FuzzSealedDialler: a dialled session takes whatever a listener with all keys answers, as WELCOME or RETRY,
// as records, frames and shards, sealed or not, without a panic; it ends when it is closed.
func FuzzSealedDialler(f *testing.F) {
	w := (&welcome{index: 3, cipher: sealChaCha, params: ownParams()}).append(nil)
	good := slices.Concat([]byte{0}, insiderChunk(insiderPayload, nil, w))
	f.Add(good)
	f.Add(slices.Concat(good, insiderChunk(insiderSegment, []byte{IKCP_CMD_PUSH, 0, 0, 0, 1}, []byte("answer")), insiderChunk(insiderSegment, []byte{cmdFIN, 0, 1, 0, 1}, nil)))
	f.Add(slices.Concat([]byte{1}, insiderChunk(insiderRecords, nil, appendRecord(nil, recordRetry, make([]byte, 16))), insiderStep(insiderTime, 5), insiderChunk(insiderPayload, nil, w)))
	f.Add(slices.Concat([]byte{2}, insiderChunk(insiderUnsealed, nil, segment(insiderConv, IKCP_CMD_PUSH, 0, []byte("x"))), insiderChunk(insiderPayload, nil, w[:len(w)-3])))
	f.Add(slices.Concat([]byte{3}, insiderChunk(insiderRecords, nil, appendRecord(nil, recordWelcome)), insiderChunk(insiderHello, nil, nil)))
	f.Add(slices.Concat(good, insiderStep(insiderTime, 100), insiderChunk(insiderPayload, nil, append([]byte{1}, w[1:]...)), insiderStep(insiderTime, 100)))
	f.Fuzz(func(t *testing.T, in []byte) {
		insiderWorld(t, in, func(w *world, p *program, used pattern, settings Settings) {
			id := identity{psk: *w.settle(settings, PrivateKey{}).seal.shared, pattern: used}
			if used == patternKey {
				id.private = PrivateKey{1, 2, 3}
				id.server = id.private.Public()
				settings.ServerKey = id.server
			}
			cfg := w.settle(settings, PrivateKey{})
			conn := w.bind("10.0.0.2:2000")
			c := cfg.dial(insiderConv, conn.LocalAddr(), newSocket(w.bind("10.0.0.1:1000"), true))
			io.WriteString(c, "request")
			go io.Copy(io.Discard, struct{ io.Reader }{c})
			x := &insiderListener{insider{w: w, cfg: cfg, from: netip.MustParseAddrPort("10.0.0.2:2000"), to: netip.MustParseAddrPort("10.0.0.1:1000")}, conn, id, nil}
			for steps := 0; !p.done() && steps < 60; steps++ {
				switch kind := p.n(insiderSteps); kind {
				case insiderPayload:
					x.welcome(p.chunk())
				case insiderHello: // the last one comes back
					x.records(appendRecord(nil, recordHello, []byte{byte(id.pattern)}, x.last), p.chunk())
				default:
					x.step(kind, p)
				}
			}
			c.Abort()
			conn.Close()
		})
	})
}

// insiderListener is one that is dialled.
type insiderListener struct {
	insider
	conn *netem.Conn
	id   identity
	last []byte // HELLO's message
}

// hellos takes what the dialler has sent.
func (x *insiderListener) hellos() {
	buf := make([]byte, mtuLimit)
	for {
		x.conn.SetReadDeadline(time.Now().Add(2 * time.Millisecond))
		n, _, err := x.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		payload, ok := x.cfg.env.open(bytes.Clone(buf[:n]))
		if c, parsed := parseContents(payload); ok && parsed {
			if _, message, ok := parseHelloRecord(c.handshake(insiderConv).hello); ok {
				x.last = bytes.Clone(message)
			}
		}
	}
}

// welcome answers the last HELLO with a payload.
func (x *insiderListener) welcome(payload []byte) {
	x.hellos()
	r, opened, ok := openHello(&x.id, insiderConv, x.last, testRandom(1))
	if !ok {
		return
	}
	h, _ := parseHello(opened)
	message, send, _, ok := r.answer(payload)
	if !ok {
		return
	}
	if w, ok := parseWelcome(payload); ok && w.status == welcomeYes && x.sealer == nil {
		x.sealer = &datagramSealer{head: headCipher(&x.id), index: h.index, cipher: w.cipher, secret: send}
	}
	x.records(appendRecord(nil, recordWelcome, message), nil)
}
