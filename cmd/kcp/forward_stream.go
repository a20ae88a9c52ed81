package main

import (
	"encoding/binary"
	"errors"
	"io"
	"net"

	"github.com/xtaci/smux"
)

// A stream begins with a byte from the client: the number of the target in the hello, or largeDatagrams.
// smux (v1.5.56) drops what the server says before its client has said something, so the server's answer,
// a line, comes after that.
const largeDatagrams = 255

// Then each direction of a TCP connection is a sequence of chunks: a length of two bytes and that many
// bytes of data. A length of 0 is the end. smux's own CloseWrite would discard data that was not read when
// both directions have ended.
const maxChunk = 32 << 10

var errNotForward = errors.New("the other end is no kcp forward")

// muxConfig is the same at both ends. The session has keepalives of its own.
func muxConfig() *smux.Config {
	c := smux.DefaultConfig()
	c.Version = 2 // a window for each stream: none blocks the others
	c.MaxStreamBuffer, c.MaxReceiveBuffer = 4<<20, 64<<20
	c.KeepAliveDisabled = true
	return c
}

// join carries data both ways until each direction has ended, or one has failed. After a failure both ends
// see a reset, as a stream that failed must not look like a short one.
func join(tcp duplex, stream io.ReadWriteCloser) {
	ended := make(chan error, 2)
	go func() { ended <- pack(stream, tcp) }()
	go func() { ended <- unpack(tcp, stream) }()
	for range 2 {
		if err := <-ended; err != nil {
			reset(tcp)
			break
		}
	}
	stream.Close()
	tcp.Close()
}

// pack carries the data of a connection to a stream, and the end of the data.
func pack(stream io.Writer, from io.Reader) error {
	b := make([]byte, 2+maxChunk)
	for {
		n, err := from.Read(b[2:])
		if n > 0 {
			binary.BigEndian.PutUint16(b, uint16(n))
			if _, err := stream.Write(b[:2+n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			_, err = stream.Write([]byte{0, 0})
			return err
		case err != nil:
			return err
		}
	}
}

// unpack carries the data of a stream to a connection, and the end of the data.
func unpack(to duplex, stream io.Reader) error {
	b := make([]byte, maxChunk)
	for {
		data, err := readChunk(stream, b)
		switch {
		case err != nil:
			return err
		case len(data) == 0:
			return to.CloseWrite()
		}
		if _, err := to.Write(data); err != nil {
			return err
		}
	}
}

// readChunk reads a length and that many bytes, into b.
func readChunk(r io.Reader, b []byte) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n > len(b) {
		return nil, errNotForward
	}
	_, err := io.ReadFull(r, b[:n])
	return b[:n], err
}

// reset closes a connection so that its peer sees an error.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}
