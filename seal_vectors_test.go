package kcp

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"testing"
	"time"
)

var updateVectors = flag.Bool("update-seal-vectors", false, "write testdata/seal.json")

// sealVector is a known answer for another implementation: hexadecimal, but for numbers and names. HELLO's
// and WELCOME's datagrams are whole, as they are on the wire; their nonces are f0, f1, f2 and so on.
type sealVector struct {
	SharedCipher, SharedKey                string // what both ends are configured with
	Pattern                                int
	Conv                                   uint32
	PSK, HeadKey                           string
	ServerPrivate, ServerPublic            string
	DiallerEphemeral, ListenerEphemeral    string // the private keys
	Early                                  string // the data of segment 0, which goes with HELLO
	HelloPayload, HelloMessage             string
	HelloDatagram                          string // of a WINS with HELLO, and segment 0
	WelcomePayload, WelcomeMessage         string
	WelcomeDatagram                        string // of a WINS with WELCOME
	ToListener, ToDialler, ToListenerEpoch string // the secrets; the last is of epoch 1
	Datagrams                              []sealedVector
}

type sealedVector struct {
	Cipher            int
	Index             uint32
	Number            uint64
	Payload, Datagram string
}

// sealVectorOf is what a vector is made of.
type sealVectorOf struct {
	cipher  string
	key     []byte
	pattern pattern
}

const (
	vectorConv  = 99
	vectorEarly = "request"
)

// The whole envelope has its known answers.
func TestSealVectors(t *testing.T) {
	key := make([]byte, 16)
	for i := range key {
		key[i] = byte(i)
	}
	var got []sealVector
	for _, of := range []sealVectorOf{
		{"AES-128 in CFB mode", key, patternPSK}, {"AES-128-GCM", key, patternPSK}, {"AES-128-GCM", key, patternKey}, {"", nil, patternKey},
	} {
		got = append(got, of.compute(t))
	}
	const file = "testdata/seal.json"
	text, err := json.MarshalIndent(got, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	if *updateVectors {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(text, want) {
		t.Errorf("%v; not as in %s:\n%s", err, file, text)
	}
}

// config returns that of both ends, without a cipher for none.
func (of *sealVectorOf) config(t *testing.T) *config {
	var block BlockCrypt
	var err error
	switch of.cipher {
	case "AES-128-GCM":
		block, err = NewAESGCMCrypt(of.key)
	case "AES-128 in CFB mode":
		block, err = NewAESBlockCrypt(of.key)
	}
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := newConfig(block, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	cfg.env.entropy = countingEntropy{}
	return cfg
}

// compute computes the answers.
func (of *sealVectorOf) compute(t *testing.T) sealVector {
	cfg := of.config(t)
	id := identity{pattern: of.pattern}
	if of.key != nil {
		id.psk = *cfg.seal.shared
	}
	if of.pattern == patternKey {
		id.private = PrivateKey{1, 2, 3}
		id.server = id.private.Public()
	}
	h := hello{
		time: 1700000000000, index: 0x11223344, ticket: [ticketSize]byte{1}, ciphers: ciphersGCM,
		params: params{features: 7, datagram: mtuLimit, ackDelay: int64(20 * time.Millisecond)},
	}
	if of.key != nil {
		h.digests = []digest{digestOf(IKCP_CMD_PUSH, 0, 0, []byte(vectorEarly))}
	}
	w := welcome{
		index: 0x55667788, ticket: [ticketSize]byte{2}, cipher: sealGCM, early: of.key != nil,
		seen: netip.MustParseAddrPort("192.0.2.1:4000"), params: h.params,
	}
	i, err := newInitiator(id, vectorConv, h.append(nil), testRandom(10))
	if err != nil {
		t.Fatal(err)
	}
	var listener [ephemeralSize]byte
	testRandom(11).Read(listener[:])
	r, _, ok := openHello(&id, vectorConv, i.message, testRandom(11))
	message, _, _, ok2 := r.answer(w.append(nil))
	_, send, receive, ok3 := i.open(message)
	if !ok || !ok2 || !ok3 {
		t.Fatal("no handshake")
	}
	next := nextSecret(&send)
	v := sealVector{
		SharedCipher: of.cipher, SharedKey: hex.EncodeToString(of.key), Pattern: int(of.pattern), Conv: vectorConv,
		PSK: hex.EncodeToString(id.psk[:]), HeadKey: hex.EncodeToString(headKey(&id)),
		DiallerEphemeral: hex.EncodeToString(i.seed[:]), ListenerEphemeral: hex.EncodeToString(listener[:]),
		HelloPayload: hex.EncodeToString(h.append(nil)), HelloMessage: hex.EncodeToString(i.message),
		WelcomePayload: hex.EncodeToString(w.append(nil)), WelcomeMessage: hex.EncodeToString(message),
		ToListener: hex.EncodeToString(send[:]), ToDialler: hex.EncodeToString(receive[:]), ToListenerEpoch: hex.EncodeToString(next[:]),
	}
	if of.pattern == patternKey {
		v.ServerPrivate, v.ServerPublic = hex.EncodeToString(id.private[:]), hex.EncodeToString(id.server[:])
	}
	early := ""
	if of.key != nil {
		early = vectorEarly
	}
	v.Early = hex.EncodeToString([]byte(early))
	v.HelloDatagram = of.datagram(t, cfg, appendHello(nil, of.pattern, i.message, nil), early)
	v.WelcomeDatagram = of.datagram(t, cfg, appendRecord(nil, recordWelcome, message), "")
	v.Datagrams = sealedVectors(&id, w.index, send)
	return v
}

// datagram returns one of a WINS with records, and of segment 0 if that has data. It is read back.
func (of *sealVectorOf) datagram(t *testing.T, cfg *config, records []byte, early string) string {
	const number = 0xa1b2c3d4 // of the session
	p := cfg.recordsPacket(vectorConv, records)
	defer packets.put(p)
	lead := p.data[cfg.env.head:]
	(&header{conv: vectorConv, cmd: IKCP_CMD_WINS, frg: capMark | capFIN | capRecords, wnd: 128, ts: number, len: uint32(len(records))}).put(lead)
	if early != "" {
		p.appendHeader(&header{conv: vectorConv, cmd: IKCP_CMD_PUSH, wnd: 128, ts: 0x01020304, len: uint32(len(early))})
		p.data = append(p.data, early...)
	}
	one := []outbound{{p.data, p, nil, nil}}
	cfg.env.sealAll(one)
	sealed := hex.EncodeToString(one[0].data)
	payload, ok := cfg.env.open(one[0].data)
	c, parsed := parseContents(payload)
	rec := c.handshake(vectorConv)
	if !ok || !parsed || !wellFormed(vectorConv, c.body) || rec.hello == nil && rec.welcome == nil {
		t.Fatalf("%q is not read back: %t, %t, %+v", of.cipher, ok, parsed, rec)
	}
	return sealed
}

// sealedVectors are datagrams of both ciphers, around a change of the keys.
func sealedVectors(id *identity, index uint32, first secret) (list []sealedVector) {
	for _, kind := range []uint8{sealGCM, sealChaCha} {
		for _, number := range []uint64{0, 1<<epochShift - 1, 1 << epochShift} {
			s := &datagramSealer{head: headCipher(id), index: index, number: number, cipher: kind, secret: first}
			b := sealTest(s, []byte("payload"))
			list = append(list, sealedVector{
				int(kind), index, number, hex.EncodeToString([]byte("payload")), hex.EncodeToString(b),
			})
		}
	}
	return list
}
