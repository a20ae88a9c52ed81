package kcp

import (
	"io"
	"net"
	"sync"
)

// copyBuffer is how much WriteTo and ReadFrom move at a time: of files and sockets a large read
// or write is cheaper than many into packets, although those would save a copy.
const copyBuffer = 32 << 10

// copyPackets is how many packets WriteTo hands on at a time: about as much.
const copyPackets = 24

var copyBuffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// buffersWriter writes many slices at once.
type buffersWriter interface {
	WriteBuffers(v [][]byte) (n int, err error)
}

// WriteTo writes what arrives to w until the end of the stream, and returns how many bytes; the end
// is no error. It makes io.Copy fast: where w is a TCP or Unix connection or another session, and
// this one in stream mode, data goes there straight from the receive window. Outside stream mode w
// gets one Write for each Read there would have been. What w fails to take is lost.
func (s *UDPSession) WriteTo(w io.Writer) (n int64, err error) {
	var gather func([][]byte) (int64, error)
	switch w := w.(type) {
	case *net.TCPConn, *net.UnixConn:
		gather = func(v [][]byte) (int64, error) { b := net.Buffers(v); return b.WriteTo(w) }
	case buffersWriter:
		gather = func(v [][]byte) (int64, error) { n, err := w.WriteBuffers(v); return int64(n), err }
	}
	b := copyChunk{copied: gather == nil}
	for {
		if err = s.readChunk(&b); err != nil {
			break
		}
		var m int64
		if gather != nil {
			m, err = gather(b.views)
			s.releaseChunk(&b)
		} else {
			var k int
			if k, err = w.Write(b.buf[:b.n]); err == nil && k != b.n {
				err = io.ErrShortWrite
			}
			m = int64(k)
			copyBuffers.Put(b.buf)
		}
		if n += m; err != nil {
			return n, err
		}
	}
	if err == io.EOF {
		return n, nil
	}
	return n, s.opError("read", err)
}

// copyChunk is what WriteTo takes at a time: packets of the receive window, or a copy of their data.
type copyChunk struct {
	packets [copyPackets]*packet
	views   [][]byte
	copied  bool
	buf     *[copyBuffer]byte // if copied; not while there is nothing to be read
	n       int               // packets, or bytes in buf
}

// readBatch waits for data and takes it.
func (s *UDPSession) readChunk(b *copyChunk) (err error) {
	s.mu.Lock()
	for b.n = 0; b.n == 0 && err == nil; {
		if _, err = s.awaitDataLocked(nil); err != nil {
			break
		}
		if b.copied {
			b.buf = copyBuffers.Get().(*[copyBuffer]byte)
			if b.n = s.core.read(b.buf[:]); b.n == 0 {
				copyBuffers.Put(b.buf) // it was an empty message
			}
			s.countReadLocked(b.n)
		} else {
			b.n = s.core.take(b.packets[:])
			for _, p := range b.packets[:b.n] {
				b.views = append(b.views, p.data)
				s.countReadLocked(len(p.data))
			}
		}
	}
	s.unlockReader()
	return err
}

// releaseChunk gives the packets of a chunk back.
func (s *UDPSession) releaseChunk(b *copyChunk) {
	s.mu.Lock()
	for i, p := range b.packets[:b.n] {
		s.pool.put(p)
		b.packets[i] = nil
	}
	s.mu.Unlock()
	b.views = b.views[:0]
}

// ReadFrom writes what it reads from r until r returns io.EOF, and returns how many bytes. It makes
// io.Copy read in large pieces, without allocating.
func (s *UDPSession) ReadFrom(r io.Reader) (n int64, err error) {
	buf := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buf)
	for {
		k, rerr := r.Read(buf[:])
		if k > 0 {
			m, err := s.Write(buf[:k])
			n += int64(m)
			if err != nil {
				return n, err
			}
		}
		if rerr == io.EOF {
			return n, nil
		}
		if rerr != nil {
			return n, rerr
		}
	}
}
