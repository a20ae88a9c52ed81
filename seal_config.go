package kcp

import (
	"crypto/cipher"

	"github.com/pkg/errors"
)

// SealMode says whether sessions are sealed: see Settings.Seal.
type SealMode int

const (
	// SealAuto seals a session where both ends can, and a cipher is configured that was chosen for
	// secrecy, or a key.
	SealAuto SealMode = iota
	// SealRequired makes no session that is not sealed.
	SealRequired
	// SealOff seals none.
	SealOff
)

// sealConfig is how sessions are sealed. It is immutable.
type sealConfig struct {
	required bool
	noEarly  bool
	shared   *psk       // of the cipher, nil for none
	private  PrivateKey // a listener's, zeros for none
	keyLog   keyLog

	// Of what is dialled.
	id   identity
	head cipher.Block
}

// setSeal takes Settings.Seal and what belongs to it, for what is dialled, or for a listener with that
// key, if any. c.seal stays nil where nothing is sealed.
func (c *config) setSeal(s *Settings, private PrivateKey) error {
	server := s.ServerKey
	required := s.Seal == SealRequired || server != PublicKey{}
	hasKey := server != PublicKey{} || private != PrivateKey{}
	switch {
	case s.Seal < SealAuto || s.Seal > SealOff:
		return errors.Errorf("kcp: Seal %d: must be SealAuto, SealRequired or SealOff", s.Seal)
	case s.Seal == SealOff && hasKey:
		return errors.New("kcp: SealOff with a key, which is for sealed sessions")
	case s.Seal == SealOff, c.caps == 0:
		return nil
	}
	z := &sealConfig{required: required, noEarly: s.NoEarlyData, private: private, keyLog: keyLog{s.KeyLog}}
	if s.Block != nil && (required || hasKey || !cheapCipher(s.Block)) {
		if key, ok := pskOf(s.Block); ok {
			z.shared, z.id.psk = &key, key
		} else if required && !hasKey {
			return errors.New("kcp: SealRequired: the cipher gives no key, as it encrypts nothing, or the same differently each time")
		}
	}
	if server != (PublicKey{}) {
		z.id.pattern, z.id.server = patternKey, server
	}
	switch {
	case z.shared == nil && !hasKey && required:
		return errors.New("kcp: SealRequired: needs a cipher, or a key")
	case z.shared == nil && !hasKey:
		return nil
	case c.mtu < c.sealedMTU() && required:
		return errors.Errorf("kcp: MTU %d: must be at least %d for sealed sessions", c.mtu, c.sealedMTU())
	case c.mtu < c.sealedMTU():
		return nil
	}
	c.seal, z.head = z, headCipher(&z.id)
	c.env.reserve()
	return nil
}

// sealedMTU is the least MTU that has room for HELLO and data behind it.
func (c *config) sealedMTU() int {
	fec := 0
	if c.fec != nil {
		fec = fecHeaderSize
	}
	return max(c.env.head+c.env.tail, sealedSize) + fec + 2*IKCP_OVERHEAD + helloMax + sealFirstMin
}

// sealFirstMin is the least data that goes with HELLO.
const sealFirstMin = 16

// seals says whether what is dialled is to be sealed. A listener's key alone is not for that.
func (z *sealConfig) seals() bool {
	return z != nil && (z.shared != nil || z.id.pattern == patternKey)
}

// holdsData says whether what is dialled sends no data before it is sealed.
func (z *sealConfig) holdsData() bool { return z.noEarly || z.shared == nil }

// listener returns the listener's side of handshakes.
func (z *sealConfig) listener(own params) *sealListener {
	l := newSealListener(z.shared, z.private, own)
	l.keyLog = z.keyLog
	return l
}
