package main

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/xtaci/kcp-go/v5"
)

const (
	// askEvery is how often a peer asks the rendezvous.
	askEvery = 500 * time.Millisecond
	// patience is how long two peers that know each other's address may take to hear each other.
	patience = 10 * time.Second
)

// secrets returns what a room is called at the rendezvous, and the key of the session in it, which cannot
// be found out from the name.
func secrets(room string) (name, key []byte, err error) {
	const iterations = 100_000 // makes guessing slow
	secret, err := pbkdf2.Key(sha256.New, room, []byte("kcp-go p2p"), iterations, 32)
	if err != nil {
		return nil, nil, err
	}
	if name, err = hkdf.Expand(sha256.New, secret, "name", nameSize); err != nil {
		return nil, nil, err
	}
	key, err = hkdf.Expand(sha256.New, secret, "key", 32)
	return name, key, err
}

// meet returns a session with the other peer of the room, over t: it is that socket whose address the
// rendezvous has seen.
func meet(ctx context.Context, t *kcp.Transport, at, room string) (*kcp.UDPSession, error) {
	name, key, err := secrets(room)
	if err != nil {
		return nil, err
	}
	rendezvous, err := net.ResolveUDPAddr("udp", at)
	if err != nil {
		return nil, fmt.Errorf("-at: %w", err)
	}
	conv, peer, err := await(ctx, t, rendezvous, name)
	if err != nil {
		return nil, err
	}
	return dial(ctx, t, conv, peer, key)
}

// await asks until there is an answer. Neither is KCP.
func await(ctx context.Context, t *kcp.Transport, rendezvous *net.UDPAddr, name []byte) (conv uint32, peer netip.AddrPort, err error) {
	b := make([]byte, 1500)
	for ctx.Err() == nil {
		if _, err := t.WriteTo(name, rendezvous); err != nil {
			return 0, peer, err
		}
		wait, cancel := context.WithTimeout(ctx, askEvery)
		n, from, err := t.ReadNonKCP(wait, b)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			continue
		} else if err != nil {
			return 0, peer, fmt.Errorf("the rendezvous at %v: %w", rendezvous, err)
		}
		answer, ok := bytes.CutPrefix(b[:n], name)
		if ok && len(answer) > convSize && sameAddr(from, rendezvous) {
			if peer, err = netip.ParseAddrPort(string(answer[convSize:])); err == nil {
				return binary.LittleEndian.Uint32(answer), peer, nil
			}
		}
	}
	return 0, peer, ctx.Err()
}

func sameAddr(a net.Addr, b *net.UDPAddr) bool {
	u, ok := a.(*net.UDPAddr)
	return ok && u.IP.Equal(b.IP) && u.Port == b.Port
}

// dial dials the peer while the peer dials us, and returns the session when they have heard each other.
func dial(ctx context.Context, t *kcp.Transport, conv uint32, peer netip.AddrPort, key []byte) (*kcp.UDPSession, error) {
	block, err := kcp.NewAESGCMCrypt(key)
	if err != nil {
		return nil, err
	}
	d := kcp.Dialer{
		Settings: kcp.Settings{
			Block: block, Seal: kcp.SealRequired, StreamMode: true,
			KeepAlive: 15 * time.Second, // NATs forget in 30 s
		},
		Conv:         conv,
		Simultaneous: true,
		Timeout:      patience,
		WaitForPeer:  true,
	}
	s, err := t.Dial(ctx, &d, net.UDPAddrFromAddrPort(peer))
	if err != nil {
		return nil, fmt.Errorf("the peer at %v: %w", peer, err)
	}
	return s, nil
}
