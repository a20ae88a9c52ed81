package soak

import (
	"encoding/binary"
	"fmt"
	"sync"
)

// mix is splitmix64's finalizer, which makes unrelated numbers of related ones.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// fill makes b the bytes from off on of the infinite text that key names.
func fill(b []byte, key uint64, off int64) {
	var word [8]byte
	for i := 0; i < len(b); {
		at := off + int64(i)
		binary.LittleEndian.PutUint64(word[:], mix(key+uint64(at/8)))
		i += copy(b[i:], word[at%8:])
	}
}

// A flow is one direction of a connection as its two programs know it: what was written, and what was
// read. Its bytes begin with its id, so that whoever reads them knows whose they are.
type flow struct {
	id uint64

	mu      sync.Mutex
	written int64 // bytes that Write has taken
	offered int64 // with those of a Write that goes on
	read    int64
	scratch []byte
}

const idSize = 8

func (f *flow) at(b []byte, off int64) {
	fill(b, f.id, off)
	if off < idSize {
		var id [idSize]byte
		binary.BigEndian.PutUint64(id[:], f.id)
		copy(b, id[off:])
	}
}

// next makes b what is to be written next, and counts it as offered.
func (f *flow) next(b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at(b, f.written)
	f.offered = f.written + int64(len(b))
}

// wrote counts what was taken of what next gave.
func (f *flow) wrote(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.written += int64(n)
	f.offered = f.written
}

// got checks what was read.
func (f *flow) got(b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.read+int64(len(b)) > f.offered {
		return fmt.Errorf("bytes %d to %d were read, of %d that were written", f.read, f.read+int64(len(b)), f.offered)
	}
	if cap(f.scratch) < len(b) {
		f.scratch = make([]byte, len(b))
	}
	want := f.scratch[:len(b)]
	f.at(want, f.read)
	for i := range b {
		if b[i] != want[i] {
			return fmt.Errorf("byte %d was read as %#x, and written as %#x (a read of %d bytes from %d on: %x, want %x)",
				f.read+int64(i), b[i], want[i], len(b), f.read, clip(b[i:]), clip(want[i:]))
		}
	}
	f.read += int64(len(b))
	return nil
}

func clip(b []byte) []byte { return b[:min(len(b), 24)] }

// left returns how much of what was written has not been read.
func (f *flow) left() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.written - f.read
}

// counts returns how much was written and read.
func (f *flow) counts() (written, read int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.written, f.read
}

// A parcel is a message, a datagram or an out-of-band datagram: it says whose it is, which one, and how
// long, and the rest follows from that.
const parcelHeader = idSize + 8 + 4

func parcel(id, number uint64, size int) []byte {
	b := make([]byte, max(size, parcelHeader))
	fill(b, mix(id)^number, 0)
	binary.BigEndian.PutUint64(b, id)
	binary.BigEndian.PutUint64(b[8:], number)
	binary.BigEndian.PutUint32(b[16:], uint32(len(b)))
	return b
}

// opened returns which parcel b is, if it is one of id, whole and unchanged.
func opened(id uint64, b []byte) (number uint64, err error) {
	if len(b) < parcelHeader {
		return 0, fmt.Errorf("%d bytes are no whole one: %x", len(b), b)
	}
	number = binary.BigEndian.Uint64(b[8:])
	if want := parcel(id, number, len(b)); string(want) != string(b) {
		return 0, fmt.Errorf("%d bytes are not those of number %d of %x: %x", len(b), number, id, clip(b))
	}
	return number, nil
}
