package main

import (
	"context"
	"encoding/binary"

	"github.com/xtaci/smux"

	"github.com/xtaci/kcp-go/v5"
)

// A tunnel is a session that carries streams and datagrams, at either end.
type tunnel struct {
	session *kcp.UDPSession
	mux     *smux.Session
	large   chan []byte // datagrams that are to go through a stream
	take    func(d tunnelDatagram)
}

// A tunnelDatagram is a UDP datagram on its way: a byte with the number of the target, four with the
// number that the client has given the flow, and its payload.
type tunnelDatagram []byte

// datagramHead is the length of those numbers.
const datagramHead = 5

func newDatagram(target byte, flow uint32, payload []byte) tunnelDatagram {
	b := make([]byte, datagramHead, datagramHead+len(payload))
	b[0] = target
	binary.BigEndian.PutUint32(b[1:], flow)
	return append(b, payload...)
}

func (d tunnelDatagram) target() byte    { return d[0] }
func (d tunnelDatagram) flow() uint32    { return binary.BigEndian.Uint32(d[1:]) }
func (d tunnelDatagram) payload() []byte { return d[datagramHead:] }

// maxUDP is the most bytes of a UDP datagram's payload.
const maxUDP = 65507

// newTunnel carries streams and datagrams over a session whose hello is over. take gets the datagrams, one
// at a time.
func newTunnel(s *kcp.UDPSession, mux *smux.Session, take func(tunnelDatagram)) *tunnel {
	return &tunnel{session: s, mux: mux, large: make(chan []byte, 64), take: take}
}

// send sends a datagram, or drops it as UDP does.
func (t *tunnel) send(d tunnelDatagram) {
	if len(d) <= t.session.MaxDatagramSize() {
		t.session.SendDatagram(d)
		return
	}
	select {
	case t.large <- d:
	default:
	}
}

// receive takes the datagrams that are no stream's until the session is over.
func (t *tunnel) receive(ctx context.Context) {
	for {
		b, err := t.session.ReceiveDatagram(ctx)
		if err != nil {
			return
		}
		if len(b) >= datagramHead {
			t.take(b)
		}
	}
}

// carryLarge carries the datagrams that are too long for one of the session's through a stream, both ways,
// until one fails.
func (t *tunnel) carryLarge(stream *smux.Stream) {
	go func() {
		defer stream.Close()
		for {
			select {
			case b := <-t.large:
				if _, err := stream.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)); err != nil {
					return
				}
			case <-t.mux.CloseChan():
				return
			}
		}
	}()
	b := make([]byte, datagramHead+maxUDP)
	for {
		d, err := readChunk(stream, b)
		if err != nil || len(d) < datagramHead {
			return
		}
		t.take(d)
	}
}

// close ends the session, so that the other end learns of it.
func (t *tunnel) close() {
	t.mux.Close()
	t.session.Close()
}

// openLarge opens the stream of long datagrams.
func (t *tunnel) openLarge() error {
	stream, err := t.mux.OpenStream()
	if err != nil {
		return err
	}
	if _, err := stream.Write([]byte{largeDatagrams}); err != nil {
		return err
	}
	go t.carryLarge(stream)
	return nil
}
