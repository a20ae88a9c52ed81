package kcp

import (
	"crypto/cipher"
	"crypto/rand"
	"time"
)

// sealPhase is how far a session is on the way to being sealed:
//
//	           WELCOME             something sealed opens
//	offered ───────────▶ welcomed ───────────────────────▶ proven
//	    │ the peer shows that it has this session unsealed
//	    ▼
//	unsealed
//
// A listener's session begins as welcomed. What comes first decides for the session's life.
type sealPhase uint8

const (
	sealUnsealed sealPhase = iota
	sealOffered            // HELLO is on its way
	sealWelcomed           // everything is sealed; nothing sealed of the peer's has come
	sealProven             // something has
)

// sealInput is what comes.
type sealInput uint8

const (
	inOwnHello sealInput = iota // our own HELLO has come back
	inWelcome                   // a WELCOME that opens
	inRetry                     // a RETRY
	inUnsealed                  // something else that is not sealed
	inProof                     // likewise, and the peer shows by it that it has this session
	inSealed                    // something sealed opens
	sealInputs
)

// sealAction is what is done with it.
type sealAction uint8

const (
	doTake  sealAction = 1 << iota // it goes to the core
	doHello                        // HELLO goes out once more, with the token
	doSeal                         // from now on everything is sealed
)

// onDatagram returns the phase after an input, and what is done with it; without doTake it is dropped.
// required says that the session is not to be unsealed.
func (p sealPhase) onDatagram(in sealInput, required bool) (sealPhase, sealAction) {
	switch {
	case in == inOwnHello:
		return p, 0
	case p == sealUnsealed:
		return p, doTake
	case in == inSealed && p != sealOffered:
		return sealProven, doTake
	case p != sealOffered:
		return p, 0
	case in == inWelcome:
		return sealWelcomed, doSeal
	case in == inRetry:
		return p, doHello
	case in == inUnsealed && !required:
		return p, doTake // the core holds it, until it is shown to be of this session
	case in == inProof && !required:
		return sealUnsealed, doTake
	}
	return p, 0
}

// sealDialler is the dialler's side of a handshake.
type sealDialler struct {
	curve   curveLimit // of answers to HELLOs, where the peer dials, too
	id      identity
	head    cipher.Block
	conv    uint32
	index   uint32     // ours
	shake   *initiator // nil until HELLO is made
	token   []byte
	retries int // tokens that there were
	params  params
	listed  int // segments that HELLO lists

	asked *initiator // a HELLO that asks whether the session is known
	peer  uint32     // the listener's index

	differs bool // the listener says that HELLO does not open
}

// makeHello makes HELLO, once, and lists the segments with those digests.
func (d *sealDialler) makeHello(wall time.Time, ticket [ticketSize]byte, digests []digest) error {
	d.listed = min(len(digests), helloDigestsMax)
	h := hello{
		time: wall.UnixMilli(), index: d.index, kind: helloNew, ticket: ticket, ciphers: ownCiphers(),
		digests: digests[:d.listed], params: d.params,
	}
	shake, err := newInitiator(d.id, d.conv, h.append(nil), rand.Reader)
	d.shake = shake
	return err
}

// records appends HELLO, with a token if there is one.
func (d *sealDialler) records(b []byte) []byte {
	return appendHello(b, d.id.pattern, d.shake.message, d.token)
}

// isOwn says whether HELLO's body is of this end: somebody has sent it back.
func (d *sealDialler) isOwn(body []byte) bool {
	_, message, ok := parseHelloRecord(body)
	if !ok {
		return false
	}
	e := ephemeral(message)
	return d.shake != nil && e == d.shake.ephemeral() || d.asked != nil && e == d.asked.ephemeral()
}

// retriesMax is how many tokens HELLO goes out with at once: whoever can forge RETRY, without a cipher, does not draw
// more with more of them. (RFC 9000, section 17.2.5.2, takes one; a forged one may be the first.)
const retriesMax = 4

// retry takes a token from RETRY. It says whether that is another than before, and whether HELLO goes out with it
// at once.
func (d *sealDialler) retry(token []byte) (taken, atOnce bool) {
	if len(token) == 0 || len(token) > tokenMax || string(token) == string(d.token) {
		return false, false
	}
	d.token = append([]byte(nil), token...)
	d.retries++
	return true, d.retries <= retriesMax
}

// welcome opens WELCOME, and makes the keys.
func (d *sealDialler) welcome(message []byte) (w welcome, sealer *datagramSealer, opener *datagramOpener, ok bool) {
	if len(message) == 0 {
		d.differs = true
		return w, nil, nil, false
	}
	payload, send, receive, ok := d.shake.open(message)
	if !ok {
		return w, nil, nil, false
	}
	if w, ok = parseWelcome(payload); !ok || w.status != welcomeYes {
		return w, nil, nil, false
	}
	d.peer, d.shake, d.token = w.index, nil, nil
	sealer = &datagramSealer{head: d.head, index: w.index, cipher: w.cipher, secret: send}
	return w, sealer, newDatagramOpener(w.cipher, receive), true
}

// ask makes a HELLO that asks whether the session is still known.
func (d *sealDialler) ask(wall time.Time) ([]byte, error) {
	h := hello{
		time: wall.UnixMilli(), index: d.index, kind: helloKnown, peer: d.peer, ciphers: ownCiphers(), params: d.params,
	}
	shake, err := newInitiator(d.id, d.conv, h.append(nil), rand.Reader)
	if err != nil {
		return nil, err
	}
	d.asked = shake
	return appendHello(nil, d.id.pattern, shake.message, nil), nil
}

// unknown says whether a WELCOME is the answer to that question, and says that the listener does not have
// the session.
func (d *sealDialler) unknown(message []byte) (answer, gone bool) {
	if d.asked == nil || len(message) == 0 {
		return false, false
	}
	payload, _, _, ok := d.asked.open(message)
	if !ok {
		return false, false
	}
	d.asked = nil
	w, ok := parseWelcome(payload)
	return ok, ok && w.status == welcomeNo
}
