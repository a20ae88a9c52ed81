package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/cmd/kcp/explain"
)

// serveStats writes samples of all sessions of the process to whoever connects to a Unix socket, lines of JSON,
// until ctx is done or stop is called, which removes the socket. A name of "" is no socket.
func serveStats(ctx context.Context, name string) (stop func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	if info, err := os.Stat(name); err == nil && info.Mode()&os.ModeSocket != 0 {
		if conn, err := net.Dial("unix", name); err == nil {
			conn.Close()
			return nil, failf(codeAddress, "-stats %s: another program listens there", name)
		}
		os.Remove(name) // of a program that was killed
	}
	l, err := net.Listen("unix", name)
	if err != nil {
		return nil, failf(codeAddress, "-stats %s: %v", name, errors.Unwrap(err))
	}
	os.Chmod(name, 0o600)
	go acceptEach(ctx, l, func(conn net.Conn) {
		ticks := time.NewTicker(sampleEvery)
		defer ticks.Stop()
		for start := time.Now(); writeSamples(conn, time.Since(start)) == nil; {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
			}
		}
	})
	return func() { l.Close() }, nil
}

// writeSamples writes one sample of each session.
func writeSamples(conn net.Conn, at time.Duration) error {
	conn.SetWriteDeadline(time.Now().Add(sayTime))
	w := bufio.NewWriter(conn)
	for s := range kcp.Sessions() {
		x := sampleOf(s, at)
		x.Session = fmt.Sprintf("%v to %v (%x)", s.LocalAddr(), s.RemoteAddr(), s.GetConv())
		if err := writeLine(w, x); err != nil {
			return err
		}
	}
	return w.Flush()
}

// joinSocket reads samples from a socket of serveStats for a time.
func joinSocket(ctx context.Context, name string, d time.Duration) ([][]explain.Sample, error) {
	conn, err := net.Dial("unix", name)
	if err != nil {
		return nil, failf(codeNoAnswer, "nobody serves %s any more: the program with -stats has ended", name)
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(d))
	defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Now()) })()
	var all [][]explain.Sample
	for in := json.NewDecoder(conn); ; {
		var s explain.Sample
		switch err := in.Decode(&s); {
		case err == nil:
			all = addSample(all, s)
		case len(all) == 0:
			return nil, failf(codeFailed, "%s has no session now", name)
		default:
			return all, nil
		}
	}
}
