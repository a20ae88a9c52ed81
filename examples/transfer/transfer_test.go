package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestTransfer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "payload")
	if err := os.WriteFile(file, bytes.Repeat([]byte("kcp"), 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	for width, flags := range []string{
		"-size 300KiB -rtt 4ms -bandwidth 20MB",
		"-size 300KiB -rtt 4ms -jitter 2ms -loss 20% -bandwidth 0 -fec 10/3 -crypt aes-128-gcm",
		"-size 0 -rtt 0 -loss 0",
		"-size 1 -rtt 400ms -loss 0 -window 1", // the confirmation takes two ticks
		"-size 1 -udp -crypt chacha20-poly1305 -mtu 128",
		"-udp -file " + file,
	} {
		t.Run(flags, func(t *testing.T) {
			o, err := parse(strings.Fields(flags))
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if err := run(t.Context(), o, &out, func() int { return 60 * width }); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"100%", "SHA-256 matches: "} {
				if n := strings.Count(out.String(), want); n != 1 {
					t.Errorf("%q is %d times in\n%s", want, n, &out)
				}
			}
			for _, bad := range []string{" 1 segments", " 1 bytes"} {
				if strings.Contains(out.String(), bad) {
					t.Errorf("%q is in\n%s", bad, &out)
				}
			}
		})
	}
}

// What others do is told of paths like those that it was measured on.
func TestComparison(t *testing.T) {
	for flags, want := range map[string]bool{
		"": true, "-loss 1": true, "-loss 10": true, "-loss 0": false, "-loss 20": false,
		"-rtt 10ms": false, "-bandwidth 1MB": false, "-jitter 1ms": false, "-udp": false,
		"-dial :1": false, "-listen :1": false,
	} {
		o, err := parse(strings.Fields(flags))
		if err != nil || o.comparable() != want {
			t.Errorf("%q: %v, %v, want %v", flags, o.comparable(), err, want)
		}
	}
}

// Two programs make a transfer, each with one end.
func TestTwoPrograms(t *testing.T) {
	receiver, err := parse(strings.Fields("-listen 127.0.0.1:0 -crypt aes-128-gcm"))
	if err != nil {
		t.Fatal(err)
	}
	read, write := io.Pipe()
	received := make(chan error, 1)
	go func() {
		received <- run(t.Context(), receiver, write, func() int { return 0 })
		write.Close()
	}()
	lines, addr := bufio.NewScanner(read), ""
	for addr == "" && lines.Scan() {
		if link, ok := strings.CutPrefix(lines.Text(), "link"); ok {
			addr = strings.TrimPrefix(strings.TrimSpace(link), "at ")
		}
	}
	there := make(chan string, 1)
	go func() {
		rest, _ := io.ReadAll(read)
		there <- string(rest)
	}()
	sender, err := parse([]string{"-dial", addr, "-crypt", "aes-128-gcm", "-size", "300KiB"})
	if err != nil {
		t.Fatal(err)
	}
	var here strings.Builder
	if err := run(t.Context(), sender, &here, func() int { return 0 }); err != nil {
		t.Fatal(err)
	}
	if err := <-received; err != nil {
		t.Fatal(err)
	}
	_, sent, _ := strings.Cut(here.String(), "SHA-256 matches: ")
	_, got, _ := strings.Cut(<-there, "SHA-256 matches: ")
	if sent == "" || got != sent {
		t.Errorf("sent %q, received %q", sent, got)
	}
}

// A line must fit into its terminal, or it could not be redrawn in place.
func TestProgressFits(t *testing.T) {
	for width := 1; width < 200; width++ {
		var out strings.Builder
		p := newProgress(&out, func() int { return width }, 1e9, 1400, func() int32 { return 60 })
		p.moved.Store(5e8)
		p.show()
		line := strings.TrimSuffix(strings.TrimPrefix(out.String(), "\r"), "\x1b[K")
		if n := utf8.RuneCountInString(line); n > width-1 {
			t.Errorf("%d columns on a terminal of %d: %q", n, width, line)
		}
	}
}

func TestProgressLeft(t *testing.T) {
	for _, c := range []struct {
		after    time.Duration
		received int64
		want     string
	}{
		{100 * time.Millisecond, 1e3, ""},
		{100 * time.Millisecond, 0, ""},
		{time.Second, 1e8, "9s left"},
		{time.Second, 1e6, "16m39s left"},
		{time.Second, 0, "stalled"},
		{2 * time.Second, 999_999_999, "<1s left"},
		{2 * time.Second, 1e9, "done"},
	} {
		p := newProgress(io.Discard, func() int { return 0 }, 1e9, 1400, func() int32 { return 60 })
		p.recent = append(p.recent, sample{p.start.Add(c.after), c.received})
		_, line := p.line()
		_, left, _ := strings.Cut(line, "resent")
		_, left, _ = strings.Cut(left, "%")
		if left = strings.TrimSpace(left); left != c.want {
			t.Errorf("%d bytes after %v: %q, want %q", c.received, c.after, left, c.want)
		}
		if strings.Contains(line, "100%") != (c.want == "done") {
			t.Errorf("%d bytes after %v: %q", c.received, c.after, line)
		}
	}
}

func TestSI(t *testing.T) {
	for _, c := range []struct {
		bytes float64
		want  string
	}{
		{0, "0 B"}, {1, "1 B"}, {999.4, "999 B"}, {999.5, "1.00 kB"}, {3.8e6, "3.80 MB"},
		{9.996e6, "10.0 MB"}, {99.96e6, "100 MB"}, {999.4e6, "999 MB"}, {999.6e6, "1.00 GB"},
		{1 << 50, "1.13 PB"},
	} {
		if got := si(c.bytes); got != c.want {
			t.Errorf("%g: %s, want %s", c.bytes, got, c.want)
		}
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o, err := parse([]string{"-size", "1GB"})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run(ctx, o, &out, func() int { return 80 }); err == nil || strings.Contains(out.String(), "SHA-256") {
		t.Errorf("error %v, output\n%s", err, &out)
	}
}

func TestBadFlags(t *testing.T) {
	for _, c := range []struct{ flags, want string }{
		{"-loss 90", "-loss: want at least 0 and less than 90 percent"},
		{"-loss -1", "-loss: want at least 0 and less than 90 percent"},
		{"-loss NaN", "-loss: want at least 0 and less than 90 percent"},
		{"-rtt 60", "-rtt: want 0 to 5s, such as 60ms"},
		{"-rtt 1h", "-rtt: want 0 to 5s, such as 60ms"},
		{"-bandwidth 5GB", "-bandwidth is 5.00 GB a second, want 10 kB to 4 GB, or 0 for no limit"},
		{"-size many", "-size: want bytes from 0 to 1 PiB"},
		{"-size -1", "-size: want bytes from 0 to 1 PiB"},
		{"-fec 10", "-fec: want data/parity, both at least 1, such as 10/3"},
		{"-fec 200/100", "-fec is 200/100, want at most 256 shards together"},
		{"-crypt rot13", `-crypt is "rot13", want one of 3des, aes-128, `},
		{"-window 65536", "-window: want 1 to 65535"},
		{"-mtu 1501", "-mtu: want 128 to 1500"},
		{"-udp -loss 1", "-loss describes the emulated link, which -udp does without"},
		{"-file x -size 1", "-size is of random bytes, which -file does without"},
		{"-listen :1 -dial :2", "-listen and -dial are two programs"},
		{"-listen :1 -loss 1", "-loss describes the emulated link, which -listen does without"},
		{"-dial :1 -rtt 1ms", "-rtt describes the emulated link, which -dial does without"},
		{"-dial :1 -udp", "-udp is for both ends in one program"},
		{"-listen :1 -size 1", "-size is the sender's"},
		{"-file=", "-file: want a path"},
		{"-listen=", "-listen: want an address"},
		{"-dial=", "-dial: want an address"},
		{"-nonsense", "-nonsense"},
		{"x", `unexpected argument "x"`},
	} {
		_, err := parse(strings.Fields(c.flags))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %s", c.flags, err, c.want)
		}
	}
	for _, name := range []string{"/nowhere/to/be/found", t.TempDir()} {
		o, err := parse([]string{"-file", name})
		if err != nil {
			t.Fatal(err)
		}
		if err := run(t.Context(), o, new(strings.Builder), func() int { return 0 }); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("-file %s: error %v", name, err)
		}
	}
}
