package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/xtaci/kcp-go/v5/cmd/kcp/explain"
)

// text collects what is written, and may be read meanwhile.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *text) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(b)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

func noTerminal() int { return 0 }

// kcpRun runs the command, and returns its exit code and what it printed.
func kcpRun(t *testing.T, args ...string) (code int, out, err string) {
	t.Helper()
	var o, e text
	code = run(t.Context(), args, &stdio{in: strings.NewReader(""), out: &o, err: &e, width: noTerminal})
	return code, o.String(), e.String()
}

// wantRun runs the command, which has to end with that code, and to print what the pattern finds.
func wantRun(t *testing.T, want int, pattern string, args ...string) string {
	t.Helper()
	code, out, err := kcpRun(t, args...)
	if code != want || !regexp.MustCompile(pattern).MatchString(out+err) {
		t.Errorf("kcp %s: exit code %d, want %d with %q, printed:\n%s%s", strings.Join(args, " "), code, want, pattern, out, err)
	}
	return out
}

// A server is a command that runs until it is stopped.
type server struct {
	t       *testing.T
	address string // of the first thing that it listens at
	log     text
	stop    context.CancelFunc
	ended   chan int // its exit code
}

var loggedAddress = regexp.MustCompile(`msg=listening.* address=(\S+)`)

// startServer starts a command that logs where it listens.
func startServer(t *testing.T, args ...string) *server {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	s := &server{t: t, stop: stop, ended: make(chan int, 1)}
	r, w := io.Pipe()
	listening := make(chan string)
	go func() {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			s.log.Write(append(lines.Bytes(), '\n'))
			if m := loggedAddress.FindStringSubmatch(lines.Text()); m != nil && listening != nil {
				listening <- m[1]
				listening = nil
			}
		}
	}()
	go func() {
		s.ended <- run(ctx, args, &stdio{in: strings.NewReader(""), out: io.Discard, err: w, width: noTerminal})
		w.Close()
	}()
	t.Cleanup(func() { s.wantEnd(codeDone) })
	select {
	case s.address = <-listening:
	case code := <-s.ended:
		t.Fatalf("kcp %s: ended with %d:\n%s", strings.Join(args, " "), code, s.log.String())
	}
	return s
}

// wantEnd stops the server, which has to end with that code.
func (s *server) wantEnd(code int) {
	s.t.Helper()
	s.stop()
	got, ok := <-s.ended
	if ok {
		close(s.ended)
		if got != code {
			s.t.Errorf("the server ended with %d, want %d:\n%s", got, code, s.log.String())
		}
	}
}

// keys makes a shared key and a private one, in files, and returns the files and the public key.
func keys(t *testing.T) (shared, private, public string) {
	t.Helper()
	dir := t.TempDir()
	shared, private = filepath.Join(dir, "shared.key"), filepath.Join(dir, "server.key")
	wantRun(t, 0, "^$", "key", "shared", shared)
	return shared, private, strings.TrimSpace(wantRun(t, 0, "^.{44}\n$", "key", "private", private))
}

func TestUsage(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "kcp perf"},
		{"perv", `no command "perv"`},
		{"perf", "HOST:PORT of the server, or -serve ADDRESS is missing"},
		{"perf a:1 b:2", `unexpected argument "b:2"`},
		{"perf -tme 3 a:1", "-tme.*kcp help perf"},
		{"perf a:1 -time 3", "want a time from 100ms to 1h"},
		{"perf a:1 -bytes x", "want bytes from 1"},
		{"perf a:1 -fec 300/2", "at most 256"},
		{"perf a:1 -cc reno", "want one of bbr"},
		{"perf a:1 -window 0", "want 1 to 65535"},
		{"perf a:1 -reverse -both", "exclude each other"},
		{"perf a:1 -once", "-once is the server's"},
		{"perf a", "missing port"},
		{"perf a:1 -key /nonexistent", "no such file"},
		{"perf a:1 -server-key x", "neither a public key"},
		{"perf a:1 -private x", "-private is the server's"},
		{"perf a:1 -seal required", "needs a key"},
		{"perf -serve :0 -server-key x", "-server-key is the client's"},
		{"perf -serve :0 -seal off -private x", "no use"},
		{"ping", "HOST:PORT is missing"},
		{"ping a:1 -size 3", "want 8 to"},
		{"key", "want one of private"},
		{"key secret", `no "secret" key`},
		{"key public", "file with the private key is missing"},
		{"help nothing", "no command"},
	} {
		wantRun(t, codeUsage, c.want, strings.Fields(c.args)...)
	}
}

func TestHelp(t *testing.T) {
	wantRun(t, 0, `(?s)kcp perf .*Exit codes:.*  130  `, "help")
	for _, c := range commands() {
		help := wantRun(t, 0, "^kcp "+c.name, "help", c.name)
		if short := wantRun(t, 0, "", c.name, "-h"); short != help {
			t.Errorf("kcp %s -h prints:\n%s", c.name, short)
		}
	}
}

func TestKeys(t *testing.T) {
	shared, private, public := keys(t)
	wantRun(t, codeUsage, "exists", "key", "shared", shared)
	wantRun(t, codeUsage, "exists", "key", "private", private)
	wantRun(t, 0, "^"+regexp.QuoteMeta(public)+"\n$", "key", "public", private)
	wantRun(t, codeUsage, "no private key", "key", "public", os.DevNull)
	for _, name := range []string{shared, private} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	var out text
	secret := wantRun(t, 0, "^.{44}\n$", "key", "private")
	code := run(t.Context(), []string{"key", "public", "-"}, &stdio{in: strings.NewReader(secret), out: &out, err: &out})
	if code != 0 || len(out.String()) != 45 || out.String() == secret {
		t.Errorf("key public -: %d, %s", code, out.String())
	}
}

// docs/command.md has the exit codes and the bounds as the command has them.
func TestManualIsComplete(t *testing.T) {
	manual, err := os.ReadFile("../../docs/command.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range exitCodes {
		if row := fmt.Sprintf("| %d | %s |\n", e.code, e.text); !strings.Contains(string(manual), row) {
			t.Errorf("the manual lacks %q", row)
		}
	}
	for _, b := range explain.Bounds {
		if row := fmt.Sprintf("| %s | %s |\n", b.Name, b.Means); !strings.Contains(string(manual), row) {
			t.Errorf("the manual lacks %q", row)
		}
	}
}
