package kcp

import (
	"crypto/cipher"
	"encoding/binary"
	"hash/crc32"
)

const (
	nonceSize       = 16 // of the BlockCrypt envelope
	crcSize         = 4
	blockHeaderSize = nonceSize + crcSize
)

// sealPiece is how many datagrams are sealed before they are sent: what fills one send with
// segmentation offload, in full lanes. The receiver, elsewhere, works on it while the next piece is
// sealed, and the kernel copies it while the cache has it.
const sealPiece = gsoMaxPayload / IKCP_MTU_DEF / cfbLanes * cfbLanes

// envelope seals and opens datagrams. It is immutable, and as safe for concurrent use as its cipher
// is.
type envelope struct {
	block   BlockCrypt  // nil for none
	aead    cipher.AEAD // set instead of block
	apart   bool        // aead need not work in place
	heads   bool        // block decrypts the head of a datagram by itself
	entropy Entropy
	head    int // bytes in front of the payload
	spare   int // of them, those that only a sealed datagram uses
	tail    int // bytes behind it
	piece   int // datagrams to be sealed before they are sent, see outBatch
	longest int // datagram that is opened; with block only sealed ones are above mtuLimit

	nonces     *nonceCount // the cipher's, if that takes random nonces
	nonceLimit uint64      // how many it may take, 0 for any number
}

// newEnvelope returns the envelope of a cipher, nil for none.
func newEnvelope(block BlockCrypt) (envelope, error) {
	e := envelope{entropy: blockEntropy(), piece: sealPiece, longest: mtuLimit}
	switch c := block.(type) {
	case nil:
		e.piece = sendPiece
	case *aeadCrypt:
		if c == nil || c.AEAD == nil {
			return e, errNoAEAD
		}
		e.aead, e.apart, e.head, e.tail = c.AEAD, c.apart, c.NonceSize(), c.Overhead()
		e.entropy = aeadEntropy()
		e.nonces, e.nonceLimit = &c.nonces, nonceLimit(e.head)
	default:
		e.block, e.head, e.heads = block, blockHeaderSize, decryptsHeads(block)
	}
	return e, nil
}

// reserve makes the room in front that sealed datagrams need.
func (e *envelope) reserve() {
	if e.head < sealedHead {
		e.head, e.spare = sealedHead, sealedHead-e.head
	}
	e.piece = sealPiece
}

// behind is how many bytes longer than reserved bytes and payload a datagram is that is sealed, or not.
func (e *envelope) behind(sealed bool) int {
	if sealed {
		return sealedSize - e.head
	}
	return e.tail - e.spare
}

// sealAll seals a batch of datagrams, each with the keys of its session, or under the shared cipher.
func (e *envelope) sealAll(batch []outbound) {
	for len(batch) > 0 {
		n := 0
		for n < len(batch) && batch[n].keys == nil {
			n++
		}
		e.sealShared(batch[:n])
		for batch = batch[n:]; len(batch) > 0 && batch[0].keys != nil; batch = batch[1:] {
			batch[0].seal(e.head)
		}
	}
}

// seal seals a datagram, whose payload is behind head bytes, with its session's keys. One that lies in a
// segment is sealed into a packet of its own.
func (o *outbound) seal(head int) {
	b, payload := o.data[head-sealedHead:], o.data[head:]
	switch {
	case !o.inPacket():
		b = o.p.mem[:sealedHead]
	case cap(b) < sealedSize+len(payload): // the shared cipher's head is longer than ours
		b = o.data
		payload = b[sealedHead:][:copy(b[sealedHead:], payload)]
	}
	o.data = o.keys.seal(b, payload)
}

// sealShared seals datagrams under the shared cipher.
func (e *envelope) sealShared(batch []outbound) {
	if e.nonces != nil && len(batch) > 0 {
		e.nonces.add(len(batch), e.nonceLimit)
	}
	c, ok := e.block.(*cfb)
	if !ok {
		for i := range batch {
			e.sealOne(&batch[i])
		}
		return
	}
	var lanes [cfbLanes][]byte
	for len(batch) > 0 {
		n := 0
		for n < min(len(batch), cfbLanes) && len(batch[n].data) == len(batch[0].data) {
			batch[n].copyOut()
			batch[n].data = batch[n].data[e.spare:]
			lanes[n] = batch[n].data
			e.check(lanes[n])
			n++
		}
		c.encryptLanes(lanes[:n])
		batch = batch[n:]
	}
}

// check fills in the nonce and the checksum of the BlockCrypt envelope.
func (e *envelope) check(b []byte) {
	e.entropy.Fill(b[:nonceSize])
	binary.LittleEndian.PutUint32(b[nonceSize:], crc32.ChecksumIEEE(b[blockHeaderSize:]))
}

// plain says whether there is no cipher.
func (e *envelope) plain() bool { return e.aead == nil && e.block == nil }

// authentic says whether whoever sends what opens has the key. A BlockCrypt has a checksum under
// its cipher.
func (e *envelope) authentic() bool {
	_, none := e.block.(noneCrypt)
	return !e.plain() && !none
}

// sealOne seals a datagram. One that lies in a segment is sealed into a packet of its own, as the
// segment may have to be sent again.
func (e *envelope) sealOne(o *outbound) {
	switch {
	case e.plain():
		o.data = o.data[e.spare:]
	case e.apart && !o.inPacket():
		nonce := o.p.mem[:e.head-e.spare]
		e.entropy.Fill(nonce)
		o.data = e.aead.Seal(nonce, nonce, o.data[e.head:], nil)
	default:
		o.copyOut()
		o.data = e.seal(o.data)
	}
}

// seal seals datagram b, which has head bytes of any value in front and room for tail bytes behind
// it, in place, and returns it whole. Each call uses a new nonce.
func (e *envelope) seal(b []byte) []byte {
	b = b[e.spare:]
	head := e.head - e.spare
	switch {
	case e.aead != nil:
		e.entropy.Fill(b[:head])
		return e.aead.Seal(b[:head], b[:head], b[head:], nil)
	case e.block != nil:
		e.check(b)
		e.block.Encrypt(b, b)
	}
	return b
}

// open opens datagram b in place and returns its payload. ok is false when it does not authenticate
// or its checksum is wrong.
func (e *envelope) open(b []byte) (payload []byte, ok bool) {
	switch {
	case e.aead != nil:
		head := e.head - e.spare
		if len(b) < head+e.tail {
			return nil, false
		}
		payload, err := e.aead.Open(b[head:head], b[:head], b[head:], nil)
		return payload, err == nil
	case e.block != nil:
		if len(b) < blockHeaderSize || len(b) > mtuLimit {
			return nil, false
		}
		e.block.Decrypt(b, b)
		sum := binary.LittleEndian.Uint32(b[nonceSize:])
		return b[blockHeaderSize:], sum == crc32.ChecksumIEEE(b[blockHeaderSize:])
	}
	return b, true
}

// openDrops counts the datagrams that were dropped as they did not open, and those that had been received
// before.
type openDrops struct{ invalid, replays uint64 }

// openAll opens a batch, without any lock, and counts it. It returns the contents of those that
// open and are from peer, from anyone if that is nil, at the front of the batch, and how many of
// these were dropped, and why. Where one has not opened, a flood may have begun, and the next ones are opened
// as far as they look like ours. demux finds those that are sealed, nil where none are.
func (e *envelope) openAll(batch []inbound, peer *peerAddr, demux *sealDemux, snmp *Snmp) (opened []inbound, drops openDrops) {
	var count Snmp
	opened = batch[:0]
	for _, d := range batch {
		d.sealed = nil
		count.InPkts++
		count.InBytes += uint64(len(d.data))
		if len(d.data) > e.longest || peer != nil && d.from != *peer {
			count.InErrs++
			continue
		}
		payload, ok := openSealed(&d, demux, &count)
		if !ok {
			continue
		}
		if d.sealed == nil {
			if count.InCsumErrors > 0 && e.alien(d.data) {
				count.InCsumErrors++
				continue
			}
			if payload, ok = e.open(d.data); !ok {
				count.InCsumErrors++
				continue
			}
		}
		d.data = payload
		opened = append(opened, d)
	}
	drops = openDrops{count.InCsumErrors, count.InReplays}
	snmp.fold(&count)
	return opened, drops
}

// openSealed opens a sealed datagram, and says so in it. Any other is as it was. ok is false for one that
// is dropped.
func openSealed(d *inbound, demux *sealDemux, count *Snmp) (payload []byte, ok bool) {
	if demux == nil {
		return nil, true
	}
	p, number := demux.peerOf(d.data)
	if p == nil {
		return nil, true
	}
	payload, result := p.open(d.data, number)
	switch result {
	case sealedOther:
		return nil, true
	case sealedRepeat:
		count.InReplays++
		return nil, false
	case sealedForged:
		count.InCsumErrors++
		return nil, false
	}
	d.sealed, d.number, d.unopened = p, number, result == sealedEarly
	return payload, true
}
