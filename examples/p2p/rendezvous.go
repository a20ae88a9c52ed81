package main

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"net"
	"net/netip"
	"time"
)

// A peer asks the rendezvous with the 32 bytes that name its room, and is answered with the room's name, a
// conversation id (4 bytes) and the other peer's address, as text, once there are two. As UDP loses
// datagrams, it asks until it is answered.
const (
	nameSize = 32
	convSize = 4
	// roomLife is how long a peer that does not ask again stays in its room.
	roomLife = 10 * time.Second
	// roomsMax bounds what strangers can make the rendezvous remember.
	roomsMax = 10_000
)

// place is where a peer of a room was seen.
type place struct {
	addr netip.AddrPort
	at   time.Time
}

// introduce answers peers until ctx is over.
func introduce(ctx context.Context, conn net.PacketConn) error {
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	defer conn.Close()
	rooms := make(map[[nameSize]byte][]place)
	b := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(b)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil || n != nameSize: // ICMP, or no peer
			continue
		}
		var name [nameSize]byte
		copy(name[:], b)
		now := time.Now()
		if len(rooms) >= roomsMax {
			forget(rooms, now)
		}
		if peers, ok := rooms[name]; ok || len(rooms) < roomsMax {
			addr := from.(*net.UDPAddr).AddrPort()
			rooms[name] = enter(peers, netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()), now)
			tell(conn, name, rooms[name])
		}
	}
}

// forget removes the rooms that are empty by now.
func forget(rooms map[[nameSize]byte][]place, now time.Time) {
	for name, peers := range rooms {
		if now.Sub(peers[len(peers)-1].at) > roomLife {
			delete(rooms, name)
		}
	}
}

// enter adds a peer, or brings it up to date, and removes those that have not asked for a while. A third
// one has to wait for that. The one that asked last stands at the end.
func enter(peers []place, addr netip.AddrPort, now time.Time) (still []place) {
	for _, p := range peers {
		if p.addr != addr && now.Sub(p.at) <= roomLife {
			still = append(still, p)
		}
	}
	if len(still) < 2 {
		still = append(still, place{addr, now})
	}
	return still
}

var seed = maphash.MakeSeed()

// convOf returns the conversation id of two peers: the same however often they ask, and another one for
// another meeting, as one of the ports is another then.
func convOf(name [nameSize]byte, a, b netip.AddrPort) uint32 {
	if b.Compare(a) < 0 {
		a, b = b, a
	}
	return uint32(maphash.Comparable(seed, struct {
		name [nameSize]byte
		a, b netip.AddrPort
	}{name, a, b})) | 1 // not 0
}

// tell tells both peers of a room where the other is. Both have the same conversation id.
func tell(conn net.PacketConn, name [nameSize]byte, peers []place) {
	if len(peers) < 2 {
		return
	}
	conv := convOf(name, peers[0].addr, peers[1].addr)
	for i, p := range peers {
		b := append(name[:nameSize:nameSize], make([]byte, convSize)...)
		binary.LittleEndian.PutUint32(b[nameSize:], conv)
		b = append(b, peers[1-i].addr.String()...)
		conn.WriteTo(b, net.UDPAddrFromAddrPort(p.addr)) // it asks again if this is lost
	}
}
