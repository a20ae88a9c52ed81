package kcp

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// An insider is an end of sealed sessions that has all keys, and says what a fuzz input wants: so that gets
// past the authentication.
type insider struct {
	w        *world
	cfg      *config
	from, to netip.AddrPort
	sealer   *datagramSealer // nil as long as there are no keys
	seqid    uint32
}

const insiderConv = 5

// What an insider does next; each byte of an input is one, and what follows it are its arguments.
const (
	insiderHello    = iota // HELLO of a new session: flags, early data
	insiderPayload         // HELLO, or WELCOME, with any payload
	insiderRecords         // any records, not sealed
	insiderUnsealed        // anything else, not sealed
	insiderSealed          // anything, sealed
	insiderSegment         // a segment, sealed: cmd, frg, sn, data
	insiderShard           // a shard of a group, sealed: kind, content
	insiderTime            // time passes: tenths of a second
	insiderEpoch           // the last datagram before the next change of keys
	insiderMoves           // another port
	insiderSteps
)

// insiderStep is a step with its arguments, and insiderChunk one with a chunk of bytes as the last, which has
// its length before it.
func insiderStep(kind byte, args ...byte) []byte { return append([]byte{kind}, args...) }

func insiderChunk(kind byte, args []byte, chunk []byte) []byte {
	b := append([]byte{kind}, args...)
	return append(binary.LittleEndian.AppendUint16(b, uint16(len(chunk))), chunk...)
}

func (p *program) chunk() []byte {
	return p.bytes(min(int(p.byte())|int(p.byte())<<8, mtuLimit-sealedSize))
}

// unsealed sends a payload under the shared cipher.
func (x *insider) unsealed(payload []byte) {
	b := append(make([]byte, x.cfg.env.head, mtuLimit+sealedSize), payload...)
	x.send(x.cfg.env.seal(b))
}

func (x *insider) sealed(payload []byte) {
	if x.sealer != nil {
		x.send(sealTest(x.sealer, payload))
	}
}

func (x *insider) send(b []byte) {
	x.w.net.Inject(x.from, x.to, b[:min(len(b), mtuLimit)])
	x.w.sleep(time.Millisecond)
}

// records sends records in a WINS, and early data.
func (x *insider) records(list []byte, early []byte) {
	h := header{conv: insiderConv, cmd: IKCP_CMD_WINS, frg: capMark | capFIN | capRecords, wnd: 128, ts: 77}
	b := withRecords(h, list)
	if early != nil {
		b = append(b, segment(insiderConv, IKCP_CMD_PUSH, 0, early)...)
	}
	x.unsealed(b)
}

// step does what both kinds of insiders do. It returns false for what only one does.
func (x *insider) step(kind int, p *program) bool {
	switch kind {
	case insiderRecords:
		x.records(p.chunk(), nil)
	case insiderUnsealed:
		x.unsealed(p.chunk())
	case insiderSealed:
		x.sealed(p.chunk())
	case insiderSegment:
		h := header{conv: insiderConv, cmd: p.byte(), frg: p.byte(), wnd: 128, sn: uint32(p.byte()), ts: uint32(p.byte())}
		h.una = p.offset()
		x.sealed(withRecords(h, p.chunk()))
	case insiderShard:
		kinds := []uint16{fecTypeData, fecTypeParity, fecTypeOOB}
		x.sealed(framed(x.seqid, kinds[p.n(len(kinds))], p.chunk()))
		x.seqid += uint32(p.byte() % 4)
	case insiderTime:
		x.w.sleep(time.Duration(p.byte()) * 100 * time.Millisecond)
	case insiderEpoch:
		if x.sealer != nil {
			x.sealer.number |= 1<<epochShift - 1
		}
	default:
		return false
	}
	return true
}

// helloOf makes HELLO of a new session with some flags of what is not right.
func (x *insider) helloOf(l *Listener, id identity, flags byte, early []byte, payload []byte) {
	l.seal.shakes.Lock()
	ticket, token := l.seal.hs.tickets.ticket(peerAddr{udp: x.from}), l.seal.hs.tokens.token(peerAddr{udp: x.from}, clock())
	l.seal.shakes.Unlock()
	h := hello{time: time.Now().UnixMilli(), index: 9, kind: flags & 1, ticket: ticket, ciphers: flags >> 1 & 1, params: ownParams()}
	if flags&4 != 0 {
		h.ticket[0] ^= 1
	}
	if flags&8 != 0 {
		h.time += 20_000
	}
	if flags&16 == 0 {
		h.digests = []digest{digestOf(IKCP_CMD_PUSH, 0, 0, early)}
	}
	switch flags >> 5 {
	case 1:
	case 2:
		token[0] ^= 1
	case 3:
		token = token[:3]
	default:
		token = nil
	}
	if payload == nil {
		payload = h.append(nil)
	}
	shake, err := newInitiator(id, insiderConv, payload, testRandom(flags))
	x.w.check(err)
	x.records(appendHello(nil, id.pattern, shake.message, token), early)
	l.seal.shakes.Lock()
	defer l.seal.shakes.Unlock()
	if made := l.seal.hs.table.byKey[shake.ephemeral()]; made != nil {
		x.sealer = &datagramSealer{head: headCipher(&id), index: made.index, cipher: made.cipher, secret: made.opener.secrets[0]}
	}
}

func ownParams() params {
	return params{features: ownFeatures, datagram: mtuLimit, ackDelay: int64(20 * time.Millisecond)}
}

// insiderSettings are what the first byte of an input chooses from.
var insiderSettings = []struct {
	crypt   string
	fec     int
	pattern pattern
}{{"gcm", 0, patternPSK}, {"aes", 0, patternPSK}, {"gcm", 3, patternPSK}, {"gcm", 0, patternKey}}

// insiderWorld runs f with the settings that the input begins with, and the rest of it.
func insiderWorld(t *testing.T, in []byte, f func(w *world, p *program, used pattern, settings Settings)) {
	if len(in) == 0 || len(in) > 16<<10 {
		return
	}
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		p := &program{in}
		s := insiderSettings[p.n(len(insiderSettings))]
		f(w, p, s.pattern, Settings{Block: newCrypt(t, s.crypt), DataShards: s.fec, ParityShards: s.fec})
	})
}

// FuzzSealedListener: a listener takes whatever a client with all keys sends, sealed or not, as HELLO or
// TOKEN or ticket, as records, frames and shards, without a panic; nothing is left of it, and other clients
// are served.
func FuzzSealedListener(f *testing.F) {
	hello := insiderChunk(insiderHello, []byte{0}, []byte("request"))
	start := slices.Concat([]byte{0}, hello, insiderChunk(insiderSegment, []byte{IKCP_CMD_WASK, capMark, 0, 0, 0}, nil))
	f.Add(start)
	f.Add(slices.Concat(start, insiderChunk(insiderSegment, []byte{IKCP_CMD_PUSH, 0, 1, 1, 0}, []byte("more")), insiderChunk(insiderSegment, []byte{cmdFIN, 0, 2, 1, 1}, nil)))
	f.Add(slices.Concat([]byte{1}, insiderChunk(insiderHello, []byte{4}, []byte("request")),
		insiderChunk(insiderSegment, []byte{IKCP_CMD_WASK, capMark, 0, 0, 0}, appendEarly(nil, 0, []digest{digestOf(IKCP_CMD_PUSH, 0, 0, []byte("request"))}))))
	f.Add(slices.Concat([]byte{2}, hello, insiderChunk(insiderShard, []byte{0}, segment(insiderConv, IKCP_CMD_PUSH, 1, []byte("x"))), []byte{1},
		insiderChunk(insiderShard, []byte{1}, make([]byte, 60)), []byte{1}, insiderChunk(insiderShard, []byte{2}, []byte("\x05\x00\x00\x00oob")), []byte{1}))
	f.Add(slices.Concat([]byte{3}, insiderChunk(insiderHello, []byte{1<<5 | 16}, []byte("request")), insiderStep(insiderTime, 255), hello))
	f.Add(slices.Concat([]byte{0}, insiderChunk(insiderHello, []byte{1}, nil), insiderChunk(insiderHello, []byte{2 << 5}, nil), insiderChunk(insiderHello, []byte{3 << 5}, nil)))
	f.Add(slices.Concat(start, insiderStep(insiderEpoch), insiderChunk(insiderSealed, nil, segment(insiderConv, cmdDGRAM, 0, []byte("d"))),
		insiderChunk(insiderSealed, nil, segment(insiderConv, cmdREP, 0, make([]byte, 40))), insiderStep(insiderMoves, 3),
		insiderChunk(insiderSealed, nil, segment(insiderConv, cmdREPORT, 0, make([]byte, 16))), insiderStep(insiderTime, 30)))
	f.Add(slices.Concat(start, insiderChunk(insiderSegment, []byte{IKCP_CMD_ACK, capMark, 0, 0, 1}, []byte{1, 0, 0, 0, 1, 0, 0, 0}),
		insiderChunk(insiderSegment, []byte{IKCP_CMD_WINS, capMark, 0, 0, 0}, appendPath(appendProbe(nil, recordProbe, 1), recordPath, 2)),
		insiderChunk(insiderSegment, []byte{cmdRST, 0, 0, 0, 0}, nil)))
	h := insiderHelloPayload()
	f.Add(slices.Concat([]byte{0}, insiderChunk(insiderPayload, []byte{1}, h), insiderChunk(insiderPayload, []byte{2}, h[:len(h)-1]), insiderChunk(insiderRecords, nil, appendRecord(nil, recordToken, make([]byte, 70)))))
	f.Fuzz(func(t *testing.T, in []byte) {
		insiderWorld(t, in, func(w *world, p *program, used pattern, settings Settings) {
			private := PrivateKey{1, 2, 3}
			cfg := w.settle(settings, private)
			l := w.listen(cfg, "10.0.0.2:2000")
			go echo(l)
			id := identity{psk: *cfg.seal.shared, pattern: used}
			if used == patternKey {
				id.server = private.Public()
				settings.ServerKey = id.server
			}
			x := &insider{w: w, cfg: cfg, from: netip.MustParseAddrPort("10.0.0.9:9"), to: peerAddrOf(l.Addr()).udp}
			for steps := 0; !p.done() && steps < 60; steps++ {
				switch kind := p.n(insiderSteps); kind {
				case insiderHello:
					x.helloOf(l, id, p.byte(), p.chunk(), nil)
				case insiderPayload:
					x.helloOf(l, id, p.byte(), nil, append([]byte{}, p.chunk()...))
				case insiderMoves:
					x.from = netip.AddrPortFrom(x.from.Addr(), 9+uint16(p.byte()))
				default:
					x.step(kind, p)
				}
			}
			w.check(ask(w.dial(w.settle(settings, PrivateKey{}), l), "another client"))
			for s := range l.Sessions() {
				s.Abort()
			}
			l.Close()
		})
	})
}

// insiderHelloPayload is HELLO's, as good as one is.
func insiderHelloPayload() []byte {
	return (&hello{index: 3, params: ownParams()}).append(nil)
}
