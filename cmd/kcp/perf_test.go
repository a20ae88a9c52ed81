package main

import (
	"encoding/json"
	"net"
	"strings"
	"testing"
)

func TestPerf(t *testing.T) {
	shared, private, public := keys(t)
	s := startServer(t, "perf", "-serve", "127.0.0.1:0", "-key", shared, "-private", private)
	client := []string{"perf", s.address, "-key", shared, "-server-key", public, "-bytes", "300kB"}
	for _, c := range []struct{ options, want string }{
		{"", `(?s)client sends 300 kB, 1 session; sealed with AES-256-GCM.*goodput up .*bit/s \(300 kB in .*` +
			`latency idle +median.*latency loaded.*cpu +client.*loss up.*limit up`},
		{"-reverse -cc cubic", `(?s)server sends 300 kB.*goodput down .*\(300 kB.*loss down`},
		{"-both -sessions 3 -profile low-latency -fec 10/3", `(?s)both send 300 kB, 3 sessions.*goodput up.*\(900 kB.*goodput down.*\(900 kB`},
		{"-tcp -window 64 -rate 10MB", `(?s)KCP +TCP\ngoodput up .*\(300 kB .*\(300 kB `},
	} {
		wantRun(t, 0, c.want, append(client, strings.Fields(c.options)...)...)
	}
	s.wantEnd(codeDone)
	if log := s.log.String(); strings.Count(log, "msg=done") != 5 || strings.Contains(log, "WARN") {
		t.Errorf("the server's log:\n%s", log)
	}
}

func TestPerfForATime(t *testing.T) {
	s := startServer(t, "perf", "-serve", "127.0.0.1:0", "-once")
	out := wantRun(t, 0, "", "perf", "-time", "300ms", "-interval", "100ms", s.address, "-json")
	var r perfResult
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	k := r.KCP
	if k.Up.Bytes == 0 || k.Up.Bytes != k.Client.sent() || k.Up.Took < r.Spec.Time || k.Down.Bytes != 0 ||
		k.Idle.Count != idleProbes || k.Client[0].Stats.BytesSent < uint64(k.Up.Bytes) || len(k.Every) == 0 || r.TCP != nil {
		t.Errorf("results: %s", out)
	}
	if code := <-s.ended; code != codeDone {
		t.Errorf("-once: ended with %d:\n%s", code, s.log.String())
	}
	close(s.ended)
}

// What can be wrong is told in words, with a code.
func TestPerfFailures(t *testing.T) {
	shared, private, public := keys(t)
	other, otherPrivate, otherPublic := keys(t)
	s := startServer(t, "perf", "-serve", "127.0.0.1:0", "-key", shared, "-private", private)
	open := startServer(t, "perf", "-serve", "127.0.0.1:0")
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.LocalAddr().String()
	free.Close()
	for _, c := range []struct {
		code    int
		want    string
		options string
	}{
		{codeNoAnswer, "nobody listens at", nobody},
		{codeNoAnswer, "no answer .* another -key", s.address + " -timeout 200ms -key " + other},
		{codeNoAnswer, "no answer .* has a -key", s.address + " -timeout 200ms"},
		{codeKey, "another key than -server-key", s.address + " -timeout 200ms -key " + shared + " -server-key " + otherPublic},
		{codeKey, "does not seal", open.address + " -server-key " + public},
		{codeAddress, "UDP port of .* in use", "-serve " + s.address + " -private " + otherPrivate},
		{codeAddress, `no host "nothing.invalid"`, "nothing.invalid:4000"},
	} {
		wantRun(t, c.code, c.want, append([]string{"perf"}, strings.Fields(c.options)...)...)
	}
}

// A server that ends in the middle of a test, and one that has another.
func TestPerfServerEnds(t *testing.T) {
	s := startServer(t, "perf", "-serve", "127.0.0.1:0")
	ended := make(chan string, 1)
	began := make(chan struct{})
	go func() {
		out := &signalled{began: began}
		var err text
		code := run(t.Context(), []string{"perf", s.address, "-interval", "100ms"}, &stdio{out: out, err: &err, width: noTerminal})
		if code != codeLost {
			t.Errorf("exit code %d", code)
		}
		ended <- err.String()
	}()
	<-began
	wantRun(t, codeRefused, "another test is running", "perf", s.address)
	wantRun(t, codeDone, "2 sent, 2 came back", "ping", s.address, "-count", "2", "-interval", "1ms")
	s.wantEnd(codeDone)
	if err := <-ended; !strings.Contains(err, s.address+" has ") {
		t.Errorf("it says: %s", err)
	}
}

// signalled closes began with the second thing that is written.
type signalled struct {
	n     int
	began chan struct{}
}

func (s *signalled) Write(b []byte) (int, error) {
	if s.n++; s.n == 2 {
		close(s.began)
	}
	return len(b), nil
}

func TestPing(t *testing.T) {
	shared, _, _ := keys(t)
	s := startServer(t, "perf", "-serve", "127.0.0.1:0", "-key", shared)
	for _, how := range []string{"-size 1000", "-stream -size 5000"} {
		wantRun(t, 0, `(?s)sealed with AES-256-GCM\n.*5 sent, 5 came back, 0.0% lost\nround trip min .* p99 `,
			append([]string{"ping", s.address, "-key", shared, "-count", "5", "-interval", "1ms"}, strings.Fields(how)...)...)
	}
	var r pingResult
	out := wantRun(t, 0, "", "ping", s.address, "-key", shared, "-count", "3", "-interval", "1ms", "-json")
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Sent != 3 || r.Answered != 3 || r.Max == 0 {
		t.Errorf("%v in %s", err, out)
	}
	wantRun(t, codeUsage, "a datagram has at most", "ping", s.address, "-key", shared, "-size", "1490")
	wantRun(t, codeNoAnswer, "no answer", "ping", s.address, "-timeout", "200ms")
}
