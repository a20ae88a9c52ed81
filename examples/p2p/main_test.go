package main

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5"
)

// Two peers that both dial, and nobody who listens.
func TestAll(t *testing.T) {
	var out strings.Builder
	if err := all(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	a, b, ok := strings.Cut(out.String(), "Bob hears:")
	if n := strings.Count(out.String(), "ChaCha20") + strings.Count(out.String(), "AES-256"); n != 2 {
		t.Errorf("%d ends are sealed", n)
	}
	if !ok || !strings.Contains(a, "this is Bob") || !strings.Contains(b, "this is Alice") {
		t.Error(out.String())
	}
}

// A peer that is alone in its room waits for another until it is told to stop.
func TestAlone(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	tr, err := kcp.OpenTransport("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if _, err := meet(ctx, tr, "127.0.0.1:9", "nobody else"); err == nil {
		t.Error("it met somebody")
	}
}

// A room has two places. One is free again when who had it has not asked for a while.
func TestRooms(t *testing.T) {
	var peers []place
	start := time.Now()
	for _, c := range []struct {
		addr  string
		after time.Duration
		want  string
	}{
		{"192.0.2.1:1", 0, "1"}, {"192.0.2.1:1", time.Second, "1"}, {"192.0.2.1:2", 2 * time.Second, "1 2"},
		{"192.0.2.1:3", 3 * time.Second, "1 2"}, {"192.0.2.1:1", 5 * time.Second, "2 1"},
		{"192.0.2.1:3", 14 * time.Second, "1 3"},
	} {
		peers = enter(peers, netip.MustParseAddrPort(c.addr), start.Add(c.after))
		var ports []string
		for _, p := range peers {
			ports = append(ports, strings.TrimPrefix(p.addr.String(), "192.0.2.1:"))
		}
		if got := strings.Join(ports, " "); got != c.want {
			t.Errorf("after %v: %s, want %s", c.after, got, c.want)
		}
	}
}

func TestStatus(t *testing.T) {
	for _, c := range []struct {
		args, want string
		status     int
	}{
		{"-rendezvous :1 -at :2", "-rendezvous and -at", 2},
		{"-at :1", "-room", 2},
		{"x", `unexpected argument "x"`, 2},
		{"-h", "room", 0},
		{"-rendezvous 127.0.0.1:http-of-nowhere", "-rendezvous: ", 1},
	} {
		var complaints strings.Builder
		if got := status(strings.Fields(c.args), &complaints); got != c.status || !strings.Contains(complaints.String(), c.want) {
			t.Errorf("%s: status %d, %q, want %d, %q", c.args, got, &complaints, c.status, c.want)
		}
	}
}
