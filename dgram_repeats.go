package kcp

// dgramRepeatsMax is how many DGRAMs behind the newest a repeated one is recognized.
const dgramRepeatsMax = 1024

// dgramRepeats finds DGRAMs that have arrived before: the path, SetDUP and FEC bring some twice. It is the
// window of RFC 6479 (https://www.rfc-editor.org/rfc/rfc6479), but for what is behind it, which is taken for
// new, so that a forged serial number keeps nothing out.
type dgramRepeats struct {
	next uint32 // the serial number behind the newest
	seen [dgramRepeatsMax / 64]uint64
}

// note notes the arrival of DGRAM sn, and says whether it is known to have arrived before.
func (r *dgramRepeats) note(sn uint32) (repeated bool) {
	switch {
	case !before(sn, r.next):
		if sn-r.next >= dgramRepeatsMax {
			clear(r.seen[:])
			r.next = sn
		}
		for ; r.next != sn+1; r.next++ {
			word, bit := r.bit(r.next)
			*word &^= bit
		}
	case r.next-sn > dgramRepeatsMax:
		return false
	}
	word, bit := r.bit(sn)
	repeated = *word&bit != 0
	*word |= bit
	return repeated
}

func (r *dgramRepeats) bit(sn uint32) (word *uint64, bit uint64) {
	return &r.seen[sn/64%uint32(len(r.seen))], 1 << (sn % 64)
}
