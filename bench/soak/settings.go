package soak

import (
	"crypto/aes"
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
	w.checked = block != nil || w.sealed
	w.replays = w.has(featReplays) && w.sealed
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
	if !w.has(featProfile) {
		return s
	}
	s.Profile = kcp.Profile(r.IntN(4))
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
	return s
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

// stable are the setters that a live session may be called at any time; what they set leaves a path
// that a session has to survive.
var setters = []func(r *rand.Rand, e *end){
	func(r *rand.Rand, e *end) { e.s.SetNoDelay(r.IntN(2), 10+r.IntN(200), r.IntN(4), 0) },
	func(r *rand.Rand, e *end) { e.s.SetNoDelay(1, 10, 2, 1) },
	func(r *rand.Rand, e *end) { e.s.SetWindowSize(sized(r, 1, 2000), 0) },
	func(r *rand.Rand, e *end) { e.s.SetWindowSize(0, sized(r, 128, 2000)) },
	func(r *rand.Rand, e *end) { e.s.SetMtu(one(r, 1400, sized(r, 200, 1500))) },
	func(r *rand.Rand, e *end) { e.s.SetDUP(r.IntN(3)) },
	func(r *rand.Rand, e *end) { e.s.SetACKNoDelay(chance(r, 0.5)) },
	func(r *rand.Rand, e *end) { e.s.SetWriteDelay(chance(r, 0.5)) },
	func(r *rand.Rand, e *end) {
		if !e.w.has(featMessages) {
			e.s.SetStreamMode(chance(r, 0.5))
		}
	},
	func(r *rand.Rand, e *end) { e.s.SetRateLimit(one(r, 0, uint32(sized(r, 50_000, 1_000_000)))) },
	func(r *rand.Rand, e *end) { e.s.SetMinParity(r.IntN(4)) },
	func(r *rand.Rand, e *end) { e.s.SetRedundancy(r.IntN(101)) },
	func(r *rand.Rand, e *end) { e.s.SetMaxWindow(one(r, 0, sized(r, 128, 65535))) },
	func(r *rand.Rand, e *end) {
		e.s.SetCongestionControl(one(r, kcp.NewBBR, kcp.NewCubic, kcp.NewConservation)())
	},
	func(r *rand.Rand, e *end) { e.s.SetKeepAlivePeriod(between(r, time.Second, time.Minute)) },
	func(r *rand.Rand, e *end) { e.s.SetUserTimeout(between(r, 30*time.Second, 3*time.Minute)) },
	func(r *rand.Rand, e *end) { e.s.ResetRTO() },
	func(r *rand.Rand, e *end) { e.s.Stats() },
	func(r *rand.Rand, e *end) { e.poke() },
}
