package kcp

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/flynn/noise"
)

// The handshake is one of the Noise Protocol Framework, revision 34 (https://noiseprotocol.org/noise.html):
// HELLO is its first message, WELCOME its second.

// pattern is HELLO's first byte.
type pattern uint8

const (
	patternPSK pattern = 0 // Noise_NNpsk0_25519_ChaChaPoly_SHA256
	patternKey pattern = 1 // Noise_NKpsk0_25519_ChaChaPoly_SHA256: the dialler knows the listener's static key
)

var (
	noiseSuite    = noise.NewCipherSuite(noise.DH25519, noise.CipherChaChaPoly, noise.HashSHA256)
	noisePatterns = [...]noise.HandshakePattern{patternPSK: noise.HandshakeNN, patternKey: noise.HandshakeNK}
)

const (
	ephemeralSize  = 32 // the ephemeral key, which both messages begin with
	noiseTag       = 16 // and the payload's tag, which they end with
	noiseOverhead  = ephemeralSize + noiseTag
	prologueLabel  = "kcp sealed session 1"
	headLabel      = "kcp head"
	headKeySize    = 16
	secretSize     = 32
	nextEpochLabel = "kcp next epoch"
)

// ephemeral is the public key that a handshake is known by.
type ephemeral = [ephemeralSize]byte

// secret is a direction's key for an epoch.
type secret = [secretSize]byte

// identity is what both ends of a handshake have before it.
type identity struct {
	psk     psk
	pattern pattern
	server  PublicKey  // with patternKey
	private PrivateKey // its listener's
}

// start begins a handshake. random is where the ephemeral key comes from.
func (id *identity) start(conv uint32, initiator bool, random io.Reader) (*noise.HandshakeState, error) {
	c := noise.Config{
		CipherSuite: noiseSuite, Random: random, Pattern: noisePatterns[id.pattern], Initiator: initiator,
		Prologue:     binary.LittleEndian.AppendUint32([]byte(prologueLabel), conv),
		PresharedKey: id.psk[:],
	}
	switch {
	case id.pattern != patternKey:
	case initiator:
		c.PeerStatic = id.server[:]
	default:
		c.StaticKeypair = noise.DHKey{Private: id.private[:], Public: id.server[:]}
	}
	return noise.NewHandshakeState(c)
}

// initiator is a handshake from the dialler's side. Its message is made once.
type initiator struct {
	id      identity
	conv    uint32
	seed    [ephemeralSize]byte // the ephemeral private key
	payload []byte
	message []byte
	state   *noise.HandshakeState
}

// newInitiator makes HELLO's message.
func newInitiator(id identity, conv uint32, payload []byte, random io.Reader) (*initiator, error) {
	i := &initiator{id: id, conv: conv, payload: payload}
	if _, err := io.ReadFull(random, i.seed[:]); err != nil {
		return nil, err
	}
	return i, i.restart()
}

// restart makes the state and the message, the same each time.
func (i *initiator) restart() (err error) {
	if i.state, err = i.id.start(i.conv, true, bytes.NewReader(i.seed[:])); err == nil {
		i.message, _, _, err = i.state.WriteMessage(nil, i.payload)
	}
	return err
}

// ephemeral returns the key that the handshake is known by.
func (i *initiator) ephemeral() ephemeral { return ephemeral(i.message) }

// open reads WELCOME's message. ok is false if it is not the answer to this HELLO, which leaves
// everything as it was.
func (i *initiator) open(message []byte) (payload []byte, send, receive secret, ok bool) {
	payload, a, b, err := i.state.ReadMessage(nil, message)
	if err != nil {
		i.restart() // as the state is of no use after some failures; it has succeeded before
		return nil, send, receive, false
	}
	return payload, a.UnsafeKey(), b.UnsafeKey(), true
}

// responder is a handshake from the listener's side, after HELLO.
type responder struct {
	state *noise.HandshakeState
}

// openHello reads HELLO's message. With patternPSK that needs no operation on the curve. ok is false for
// one that does not open.
func openHello(id *identity, conv uint32, message []byte, random io.Reader) (r responder, payload []byte, ok bool) {
	if len(message) < noiseOverhead {
		return r, nil, false
	}
	state, err := id.start(conv, false, random)
	if err != nil {
		return r, nil, false
	}
	payload, _, _, err = state.ReadMessage(nil, message)
	return responder{state}, payload, err == nil
}

// answer makes WELCOME's message.
func (r responder) answer(payload []byte) (message []byte, send, receive secret, ok bool) {
	message, a, b, err := r.state.WriteMessage(nil, payload)
	if err != nil {
		return nil, send, receive, false
	}
	return message, b.UnsafeKey(), a.UnsafeKey(), true
}
