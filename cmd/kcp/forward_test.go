package main

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tcpTarget serves connections with f, and returns its address.
func tcpTarget(t *testing.T, f func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go f(conn.(*net.TCPConn))
		}
	}()
	return l.Addr().String()
}

// reversed answers a request that ends with a half-close.
func reversed(conn *net.TCPConn) {
	defer conn.Close()
	b, _ := io.ReadAll(conn)
	conn.Write(bytes.ToUpper(b))
}

// udpEcho returns the address of a UDP server that echoes.
func udpEcho(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		b := make([]byte, maxUDP)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			conn.WriteTo(b[:n], from)
		}
	}()
	return conn.LocalAddr().String()
}

// listenedAt returns where the client listens for a target.
func (s *server) listenedAt(target string) string {
	s.t.Helper()
	m := regexp.MustCompile(`address=(\S+) target=` + regexp.QuoteMeta(target) + `\n`).FindStringSubmatch(s.log.String())
	if m == nil {
		s.t.Fatalf("nothing listens for %s:\n%s", target, s.log.String())
	}
	return m[1]
}

func dialTCP(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn.(*net.TCPConn)
}

// wantReversed sends so many bytes through a port that leads to reversed.
func wantReversed(t *testing.T, address string, size int) {
	t.Helper()
	conn := dialTCP(t, address)
	b := bytes.Repeat([]byte("abcdefgh"), size/8)
	go func() {
		conn.Write(b)
		conn.CloseWrite()
	}()
	if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, bytes.ToUpper(b)) {
		t.Errorf("%d bytes of %d came back, %v", len(got), len(b), err)
	}
}

func TestForward(t *testing.T) {
	shared, private, public := keys(t)
	web, dns := tcpTarget(t, reversed), udpEcho(t)
	breaks := tcpTarget(t, func(conn *net.TCPConn) {
		io.ReadFull(conn, make([]byte, 1))
		reset(conn)
	})
	nobody := freePort(t)
	s := startServer(t, "forward", "-serve", "127.0.0.1:0", "-key", shared, "-private", private, "-silence", "5s",
		"-allow", "tcp:"+web, "-allow", "tcp:127.0.0.1:*", "-allow", "udp:"+dns)
	config := filepath.Join(t.TempDir(), "kcp.conf")
	lines := []string{"# a client", "", "via " + s.address, "key " + shared, "server-key " + public, "silence 1ms is replaced",
		"tcp 127.0.0.1:0=" + web, "tcp 127.0.0.1:0=" + breaks, "tcp 127.0.0.1:0=" + nobody, "udp 127.0.0.1:0=" + dns}
	if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startServer(t, "forward", "-config", config, "-silence", "5s")
	wantReversed(t, c.address, 8)
	wantReversed(t, c.address, 1<<20)
	for _, target := range []string{breaks, nobody} {
		conn, err := net.Dial("tcp", c.listenedAt("tcp:"+target))
		if err == nil { // otherwise the reset has overtaken the dial
			conn.Write([]byte("x"))
			_, err = conn.Read(make([]byte, 1))
			conn.Close()
		}
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a connection that was broken, or refused, at the target ends with %v", err)
		}
	}
	wantEchoes(t, c.listenedAt("udp:"+dns))
	wantRun(t, 0, "2 came back", "ping", s.address, "-key", shared, "-count", "2", "-interval", "1ms")
	c.wantEnd(codeDone)
	s.wantEnd(codeDone)
	if log := c.log.String(); !strings.Contains(log, "nobody listens at "+nobody) {
		t.Errorf("the client's log:\n%s", log)
	}
	if log := s.log.String(); !strings.Contains(log, "the client has ended it") {
		t.Errorf("the server's log:\n%s", log)
	}
}

// wantEchoes sends UDP datagrams of many sizes.
func wantEchoes(t *testing.T, address string) {
	t.Helper()
	udp, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	udp.SetDeadline(time.Now().Add(20 * time.Second))
	for _, size := range []int{0, 1, 1200, 1400, 60000} {
		b, got := make([]byte, size), make([]byte, maxUDP)
		rand.NewChaCha8([32]byte{1}).Read(b)
		udp.Write(b)
		if n, err := udp.Read(got); err != nil || !bytes.Equal(got[:n], b) {
			t.Errorf("of a datagram of %d bytes %d came back, %v", size, n, err)
		}
	}
}

// freePort returns an address at which nobody listens.
func freePort(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().String()
}

// The client is started before the server, either is ended and started again, and connections go on.
func TestForwardRestarts(t *testing.T) {
	shared, _, _ := keys(t)
	web, dns, address := tcpTarget(t, reversed), udpEcho(t), freePort(t)
	server := []string{"forward", "-serve", address, "-key", shared, "-allow", "any"}
	client := []string{"forward", "-via", address, "-key", shared, "-tcp", "127.0.0.1:0=" + web, "-udp", "127.0.0.1:0=" + dns, "-timeout", "10s"}
	c := startServer(t, client...)
	conn := dialTCP(t, c.address) // waits for the session
	s := startServer(t, server...)
	conn.Write([]byte("half a request"))
	conn.CloseWrite()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "HALF A REQUEST" {
		t.Errorf("%q, %v", got, err)
	}
	open := dialTCP(t, c.address)
	open.Write([]byte("x"))
	wantEchoes(t, c.listenedAt("udp:"+dns))
	s.wantEnd(codeDone)
	if _, err := open.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("an open connection ends with %v", err)
	}
	s = startServer(t, server...)
	wantReversed(t, c.address, 800)
	wantEchoes(t, c.listenedAt("udp:"+dns))
	c.wantEnd(codeDone)
	c = startServer(t, client...)
	wantReversed(t, c.address, 800)
	c.wantEnd(codeDone)
	s.wantEnd(codeDone)
}

func TestForwardFailures(t *testing.T) {
	shared, private, _ := keys(t)
	_, _, otherPublic := keys(t)
	s := startServer(t, "forward", "-serve", "127.0.0.1:0", "-key", shared, "-private", private, "-allow", "tcp:localhost:80")
	port := strings.TrimPrefix(tcpTarget(t, reversed), "127.0.0.1:")
	for _, c := range []struct {
		code          int
		want, options string
	}{
		{codeUsage, "want -serve ADDRESS at one end", ""},
		{codeUsage, "-allow is missing", "-serve :0"},
		{codeUsage, "-key is missing", "-serve :0 -allow any"},
		{codeUsage, "want tcp:HOST:PORT", "-serve :0 -allow localhost:80 -anyone"},
		{codeUsage, "-tcp or -udp is missing", "-via localhost:1"},
		{codeUsage, "want LISTEN=TARGET", "-via localhost:1 -tcp localhost:80"},
		{codeUsage, `"80" is no address`, "-via localhost:1 -udp localhost:80=80"},
		{codeUsage, "are the client's", "-serve :0 -tcp :1=a:2"},
		{codeUsage, "-allow is the server's", "-via localhost:1 -tcp :1=a:2 -allow any"},
		{codeUsage, "no such file", "-config /nonexistent"},
		{codeUsage, `line 1: there is no option "//"`, "-config main.go"},
		{codeAddress, "TCP port of .* is in use", "-via " + s.address + " -tcp 127.0.0.1:" + port + "=a:2"},
		{codeKey, "another key than -server-key", "-via " + s.address + " -tcp 127.0.0.1:0=a:2 -timeout 200ms -key " + shared + " -server-key " + otherPublic},
		{codeRefused, "tcp:localhost:81 is not among the targets", "-via " + s.address + " -tcp 127.0.0.1:0=localhost:81 -key " + shared},
		{codeRefused, "kcp forward -serve\", which runs no tests", "perf"},
	} {
		args := append([]string{"forward"}, strings.Fields(c.options)...)
		if c.options == "perf" {
			args = []string{"perf", s.address, "-key", shared}
		}
		wantRun(t, c.code, c.want, args...)
	}
}

func TestAllowances(t *testing.T) {
	all, err := allowances([]string{"tcp:localhost:80", "tcp:*:443", "udp:[::1]:*"})
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]bool{
		"tcp:localhost:80": true, "tcp:localhost:81": false, "udp:localhost:80": false, "tcp:a.b:443": true,
		"udp:[::1]:53": true, "udp:[::2]:53": false, "tcp:443": false, "": false, "tcp:localhost:80:80": false,
	} {
		if allowed(all, target) != want {
			t.Errorf("%q: %v", target, !want)
		}
	}
}

// What a service manager is told.
func TestSystemd(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Skip(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	t.Setenv("WATCHDOG_USEC", "20000")
	s := startServer(t, "forward", "-serve", "127.0.0.1:0", "-anyone", "-allow", "any")
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	b := make([]byte, 1<<10)
	for _, want := range []string{"READY=1", "WATCHDOG=1", "STOPPING=1"} {
		for {
			n, err := conn.Read(b)
			if err != nil {
				t.Fatalf("no %s: %v", want, err)
			}
			if strings.HasPrefix(string(b[:n]), want) {
				break
			}
		}
		if want == "WATCHDOG=1" {
			s.stop()
		}
	}
}
