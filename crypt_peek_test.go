package kcp

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// In a flood of datagrams under another key all that are ours are opened, whatever they are.
func TestFloodHidesNothing(t *testing.T) {
	var ours [][]byte
	for cmd := IKCP_CMD_PUSH; cmd <= cmdLast; cmd++ {
		ours = append(ours, append([]byte{1, 2, 3, 4, byte(cmd)}, make([]byte, 400)...))
	}
	for kind := uint16(fecTypeData); kind <= fecTypeOOB; kind++ {
		b := binary.LittleEndian.AppendUint16([]byte{1, 2, 3, 4}, kind)
		ours = append(ours, b, append(b, make([]byte, 1300)...))
	}
	for _, spec := range cipherSpecs {
		t.Run(spec.name, func(t *testing.T) {
			env, err := newEnvelope(mustCrypt(t, spec, random(1, spec.keySize)))
			if err != nil {
				t.Fatal(err)
			}
			rnd := rand.NewChaCha8([32]byte{1})
			var batch []inbound
			forged := 0
			for _, payload := range ours {
				for range 5 {
					b := make([]byte, 700)
					rnd.Read(b)
					batch = append(batch, inbound{data: b})
					forged++
				}
				b := append(make([]byte, env.head, mtuLimit), payload...)
				batch = append(batch, inbound{data: env.seal(b)})
			}
			snmp := newSnmp()
			opened, drops := env.openAll(batch, nil, nil, snmp)
			if len(opened) != len(ours) || drops.invalid != uint64(forged) || snmp.InCsumErrors != drops.invalid {
				t.Errorf("%d of %d opened, %d of %d refused, %d counted", len(opened), len(ours), drops.invalid, forged, snmp.InCsumErrors)
			}
		})
	}
}
