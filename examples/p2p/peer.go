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
	"os"
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

// meet returns a session with the other peer of the room. It asks and dials from one socket, as it is that
// socket whose address the rendezvous has seen.
func meet(ctx context.Context, at, room string) (*kcp.UDPSession, error) {
	name, key, err := secrets(room)
	if err != nil {
		return nil, err
	}
	rendezvous, err := net.ResolveUDPAddr("udp", at)
	if err != nil {
		return nil, fmt.Errorf("-at: %w", err)
	}
	conn, err := net.ListenUDP("udp", nil)
	if err != nil {
		return nil, err
	}
	conv, peer, err := await(ctx, conn, rendezvous, name)
	if err == nil {
		var s *kcp.UDPSession
		if s, err = dial(ctx, conn, conv, peer, key); err == nil {
			return s, nil
		}
	}
	conn.Close()
	return nil, err
}

// await asks until there is an answer.
func await(ctx context.Context, conn *net.UDPConn, rendezvous *net.UDPAddr, name []byte) (conv uint32, peer netip.AddrPort, err error) {
	defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })()
	b := make([]byte, 1500)
	for ctx.Err() == nil {
		if _, err := conn.WriteTo(name, rendezvous); err != nil {
			return 0, peer, err
		}
		conn.SetReadDeadline(time.Now().Add(askEvery))
		n, _, err := conn.ReadFromUDPAddrPort(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		} else if err != nil {
			return 0, peer, fmt.Errorf("the rendezvous at %v: %w", rendezvous, err)
		}
		if answer, ok := bytes.CutPrefix(b[:n], name); ok && len(answer) > convSize {
			if peer, err = netip.ParseAddrPort(string(answer[convSize:])); err == nil {
				conn.SetReadDeadline(time.Time{})
				return binary.LittleEndian.Uint32(answer), peer, nil
			}
		}
	}
	return 0, peer, ctx.Err()
}

// dial dials the peer while the peer dials us, and returns the session when they have heard each other.
func dial(ctx context.Context, conn *net.UDPConn, conv uint32, peer netip.AddrPort, key []byte) (*kcp.UDPSession, error) {
	block, err := kcp.NewAESGCMCrypt(key)
	if err != nil {
		return nil, err
	}
	d := kcp.Dialer{
		Settings:    kcp.Settings{Block: block, StreamMode: true, KeepAlive: 15 * time.Second}, // NATs forget in 30 s
		Conv:        conv,
		Timeout:     patience,
		WaitForPeer: true,
		OwnConn:     true,
	}
	s, err := d.DialConn(ctx, conn, net.UDPAddrFromAddrPort(peer))
	if err != nil {
		return nil, fmt.Errorf("the peer at %v: %w", peer, err)
	}
	return s, nil
}
