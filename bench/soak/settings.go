package soak

import (
	"crypto/aes"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/internal/unmarked"
	"golang.org/x/crypto/chacha20poly1305"
)

// key is a key of that many bytes.
func key(n int) []byte {
	b := make([]byte, n)
	fill(b, 7, 0)
	return b
}

func chacha(size int) func([]byte) (kcp.BlockCrypt, error) {
	return func(k []byte) (kcp.BlockCrypt, error) {
		aead, err := chacha20poly1305.New(k[:size])
		return kcp.NewAEADCrypt(aead), err
	}
}

// ciphers are all there are, with the length of a key.
var ciphers = []struct {
	name string
	key  int
	make func([]byte) (kcp.BlockCrypt, error)
}{
	{"aes-128", 16, kcp.NewAESBlockCrypt}, {"aes-192", 24, kcp.NewAESBlockCrypt}, {"aes", 32, kcp.NewAESBlockCrypt},
	{"aes-128-gcm", 16, kcp.NewAESGCMCrypt}, {"aes-gcm", 32, kcp.NewAESGCMCrypt}, {"chacha20", 32, chacha(32)},
	{"blowfish", 32, kcp.NewBlowfishBlockCrypt}, {"cast5", 16, kcp.NewCast5BlockCrypt}, {"none", 0, kcp.NewNoneBlockCrypt},
	{"sm4", 16, kcp.NewSM4BlockCrypt}, {"salsa20", 32, kcp.NewSalsa20BlockCrypt}, {"xor", 32, kcp.NewSimpleXORBlockCrypt},
	{"tea", 16, kcp.NewTEABlockCrypt}, {"3des", 24, kcp.NewTripleDESBlockCrypt}, {"twofish", 32, kcp.NewTwofishBlockCrypt},
	{"xtea", 16, kcp.NewXTEABlockCrypt},
}

// configure draws what both ends are told.
func (w *world) configure() error {
	r := w.rand("settings")
	var block kcp.BlockCrypt
	cipher := ciphers[r.IntN(len(ciphers))]
	if w.peer != "" {
		cipher = ciphers[2] // which internal/unmarked has, too
	}
	if w.has(featCipher) {
		var err error
		if block, err = cipher.make(key(cipher.key)); err != nil {
			return err
		}
		w.cipher = cipher.name
	}
	l, d := &w.listening.Settings, &w.dialling.Settings
	*l, *d = w.settings("listener", block), w.settings("dialler", block)
	if w.peer != "" { // whose decoder believes that the shard counts are its own, until it has seen others
		d.DataShards, d.ParityShards, d.MinParity = l.DataShards, l.ParityShards, l.MinParity
	}
	w.seal(r)
	if w.sealed {
		l.MTU, d.MTU = sealedMTU(l.MTU), sealedMTU(d.MTU)
	}
	w.limit(r)
	w.checked = block != nil || w.sealed
	w.replays = w.has(featReplays) && w.sealed
	return w.configureOld(r)
}

// configureOld draws what a peer without extensions is told.
func (w *world) configureOld(r *rand.Rand) error {
	w.old = unmarked.Config{
		SendWindow: sized(r, 16, 1024), ReceiveWindow: sized(r, 128, 1024), NoDelay: chance(r, 0.5), Resend: r.IntN(3),
		Interval: between(r, 10*ms, 100*ms), ACKNoDelay: chance(r, 0.5), WriteDelay: chance(r, 0.3), Stream: chance(r, 0.5),
	}
	if w.has(featCipher) {
		b, err := aes.NewCipher(key(32))
		if err != nil {
			return err
		}
		w.old.Envelope = unmarked.CFB(b)
	}
	if w.has(featFEC) {
		w.old.DataShards, w.old.ParityShards = w.listening.DataShards, w.listening.ParityShards
	}
	return nil
}

// sealedMTU raises an MTU, 0 for the default, to the least that sealed sessions need.
func sealedMTU(mtu int) int {
	if mtu == 0 {
		return 0
	}
	return max(mtu, 524)
}

// settings draws those of one end.
func (w *world) settings(end string, block kcp.BlockCrypt) kcp.Settings {
	s, r := kcp.Settings{Block: block}, w.rand("settings", end)
	s.OOBHandler = w.outOfBand
	if w.has(featFEC) {
		s.DataShards, s.ParityShards = 1+r.IntN(20), 1+r.IntN(8)
		s.MinParity = r.IntN(s.ParityShards + 1)
		s.RepairBudget = one(r, 0, 0, 0.1, 1, 2, -1)
	}
	s.UserTimeout = between(r, 30*time.Second, 3*time.Minute)
	if chance(r, 0.5) {
		s.KeepAlive = between(r, time.Second, time.Minute)
	}
	if s.KeepAlive > 0 && chance(r, 0.3) {
		s.IdleTimeout = between(r, 5*time.Minute, time.Hour)
	}
	s.CloseTimeout = one(r, 0, -1, time.Second, time.Minute)
	s.PathHandler = w.paths.changed
	w.measures(&s, r)
	if w.has(featTrace) {
		s.Tracer, s.KeyLog = w.trace, io.Discard
	}
	if w.has(featProfile) {
		w.profile(&s, r)
	}
	if w.jumbo() && !s.FixedMTU {
		s.MTU = one(r, 9000, sized(r, 1500, 9000))
	}
	return s
}

// measures draws how a session comes to know its path.
func (w *world) measures(s *kcp.Settings, r *rand.Rand) {
	s.FixedMTU = !w.has(featMTU) || chance(r, 0.1)
	s.Roam = one(r, kcp.RoamAuto, kcp.RoamAuto, kcp.RoamAuto, kcp.RoamOff)
	if chance(r, 0.2) {
		s.ReadBuffer = sized(r, 100_000, 8<<20)
	}
}

// profile draws settings of flows and congestion.
func (w *world) profile(s *kcp.Settings, r *rand.Rand) {
	s.Profile = kcp.Profile(r.IntN(4))
	if chance(r, 0.2) {
		s.Timing = &kcp.Timing{NoDelay: chance(r, 0.5), Interval: between(r, 10*ms, 5*time.Second), Resend: r.IntN(4), ACKNoDelay: chance(r, 0.5)}
	}
	s.StreamMode = !w.has(featMessages) && chance(r, 0.5)
	s.MTU = one(r, 0, 1500, 1200, sized(r, 200, 1500))
	s.ACKNoDelay, s.WriteDelay = chance(r, 0.3), chance(r, 0.2)
	s.Redundancy = one(r, 0, -1, 100)
	s.Congestion = one(r, nil, kcp.NewBBR, kcp.NewCubic, kcp.NewConservation)
	s.MaxWindow = one(r, 0, 128, 1000)
	if chance(r, 0.3) {
		s.SendWindow = sized(r, 1, 2000)
	}
	if chance(r, 0.3) {
		s.ReceiveWindow = sized(r, 128, 2000)
	}
	if chance(r, 0.2) {
		s.RateLimit = int64(sized(r, 50_000, 1_000_000))
	}
	s.DatagramQueue = one(r, 0, 1, 4096)
}

// limit draws the listener's limits, which may be so low that every client has to show that it is there, and
// none that ends what has shown that.
func (w *world) limit(r *rand.Rand) {
	if !w.has(featLimits) {
		return
	}
	l := &w.listening
	l.LimitAmplification = chance(r, 0.5)
	l.UnprovenTimeout = one(r, 0, -1, 2*time.Minute)
	low := 1
	if w.has(featStalls) { // for longer than a session that makes way is given
		low = 100
	}
	l.MaxUnproven, l.MaxUnprovenPerPrefix = one(r, 0, -1, low, 5*low), one(r, 0, -1, low, 5*low)
	kcp.SetWindowMemory(one[int64](r, 0, -1, 4<<20))
	l.MaxSessions, l.MaxSessionsPerPrefix = one(r, 0, 100_000), one(r, 0, 100_000)
}

// trace makes a Tracer that checks the order of what it is told.
func (w *world) trace(*kcp.UDPSession) kcp.Tracer { return &tracer{w: w} }

type tracer struct {
	w     *world
	at    time.Duration
	ended bool
}

// Event implements kcp.Tracer.
func (t *tracer) Event(e *kcp.Event) {
	if e.At < t.at || t.ended {
		t.w.fail("event %v at %v behind one at %v (ended: %v)", e.Kind, e.At, t.at, t.ended)
	}
	for range e.Segments() {
	}
	t.at, t.ended = e.At, e.Kind == kcp.EventEnded
}

// seal draws whether, and how, sessions are sealed.
func (w *world) seal(r *rand.Rand) {
	mode := one(r, kcp.SealAuto, kcp.SealRequired)
	private := kcp.NewPrivateKey()
	useKey, noEarly := chance(r, 0.4), chance(r, 0.3)
	l, d := &w.listening.Settings, &w.dialling.Settings
	if w.peer != "" {
		return
	}
	if !w.has(featSeal) {
		l.Seal, d.Seal = kcp.SealOff, kcp.SealOff
		return
	}
	if useKey {
		w.listening.PrivateKey, d.ServerKey = private, private.Public()
	}
	secret := l.Block != nil && !slices.Contains([]string{"none", "xor", "sm4"}, w.cipher)
	if secret || useKey {
		l.Seal, d.Seal, w.sealed = kcp.SealRequired, mode, true
	}
	d.NoEarlyData = noEarly
}
