package qlog_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/kcptest"
	"github.com/xtaci/kcp-go/v5/qlog"
)

// file is what a session writes.
type file struct {
	bytes.Buffer
	closed bool
}

func (f *file) Close() error { f.closed = true; return nil }

// files are those of two ends.
type files struct {
	mu             sync.Mutex
	client, server file
}

func (f *files) open(_ *kcp.UDPSession, dialled bool) (io.WriteCloser, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if dialled {
		return &f.client, nil
	}
	return &f.server, nil
}

// transfer sends bytes over a path, by sessions with those settings.
func transfer(t *testing.T, n *kcptest.Network, settings kcp.Settings, size int) {
	t.Helper()
	lc := kcp.ListenConfig{Settings: settings, OwnConn: true}
	l, err := lc.ListenConn(n.Listen("10.0.0.1:4000"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := kcp.Dialer{Settings: settings, OwnConn: true, Conv: 0xabc}
	c, err := d.DialConn(t.Context(), n.Listen("10.0.1.1:0"), l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		c.Write(make([]byte, size))
		c.Close()
	}()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.Copy(io.Discard, s); err != nil || got != int64(size) {
		t.Errorf("%d bytes of %d, %v", got, size, err)
	}
	s.Close()
	<-c.Done()
	<-s.(*kcp.UDPSession).Done()
}

// entry is a record of a file.
type entry struct {
	Time float64        `json:"time"`
	Name string         `json:"name"`
	Data map[string]any `json:"data"`
}

// read checks a file against the drafts' definitions, and returns its events.
func read(t *testing.T, b []byte, side string) (list []entry) {
	t.Helper()
	records := bytes.Split(b, []byte{0x1e})
	if len(records) < 3 || len(records[0]) > 0 {
		t.Fatalf("%d records, %q before the first", len(records), records[0])
	}
	var header map[string]any
	for i, r := range records[1:] {
		if !bytes.HasSuffix(r, []byte("\n")) {
			t.Fatalf("record %d does not end with a line feed: %q", i, r)
		}
		var v any
		if err := json.Unmarshal(r, &v); err != nil {
			t.Fatalf("record %d: %v: %q", i, err, r)
		}
		if i == 0 {
			if err := check("QlogFileSeq", v); err != nil {
				t.Fatal(err)
			}
			header = v.(map[string]any)
			continue
		}
		var e entry
		json.Unmarshal(r, &e)
		if err := check("Event", v); err != nil {
			t.Fatal(err)
		}
		space, name, _ := strings.Cut(e.Name, ":")
		if err := check(name, v.(map[string]any)["data"]); err != nil {
			t.Fatalf("%s: %v", e.Name, err)
		}
		if !strings.Contains(string(records[1]), "/"+space+`"`) {
			t.Errorf("the namespace of %s is not in event_schemas", e.Name)
		}
		if n := len(list); n > 0 && e.Time < list[n-1].Time {
			t.Errorf("%s at %v after %v", e.Name, e.Time, list[n-1].Time)
		}
		list = append(list, e)
	}
	if first := string(records[1]); strings.Index(first, "serialization_format") > 200 || strings.Index(first, "file_schema") > 200 {
		t.Errorf("the format is not within the first 256 bytes: %s", first)
	}
	trace := header["trace"].(map[string]any)
	if got := trace["vantage_point"].(map[string]any)["type"]; got != side {
		t.Errorf("vantage point %v, want %s", got, side)
	}
	return list
}

// numbers are the packet numbers that the events of a name have.
func numbers(list []entry, name string) (all []float64) {
	for _, e := range list {
		if e.Name == name {
			all = append(all, e.Data["header"].(map[string]any)["packet_number"].(float64))
		}
	}
	return all
}

// The files of both ends of a session are what the drafts define, and tell what has happened: each datagram
// once, losses and acknowledgements of those that were sent, and metrics.
func TestFiles(t *testing.T) {
	kcptest.Run(t, 1, func(t *testing.T, n *kcptest.Network) {
		n.SetPath(kcptest.Path{Delay: 20 * time.Millisecond, Rate: 1_000_000, Loss: 0.03, Duplicate: 0.01})
		block, err := kcp.NewAESGCMCrypt(make([]byte, 16))
		if err != nil {
			t.Fatal(err)
		}
		var f files
		transfer(t, n, kcp.Settings{Block: block, Tracer: qlog.New(f.open)}, 200_000)
		if !f.client.closed || !f.server.closed {
			t.Error("a file was not closed")
		}
		client := read(t, f.client.Bytes(), "client")
		server := read(t, f.server.Bytes(), "server")
		count := make(map[string]int)
		for _, e := range append(client, server...) {
			count[e.Name]++
		}
		for name, want := range map[string]int{
			"connectivity:connection_started": 2, "connectivity:connection_closed": 2, "connectivity:connection_state_updated": 2,
			"kcp:sealed": 2,
		} {
			if count[name] != want {
				t.Errorf("%d of %s, want %d", count[name], name, want)
			}
		}
		for _, name := range []string{
			"transport:packet_sent", "transport:packet_received", "transport:packet_dropped", "recovery:packet_lost",
			"recovery:metrics_updated", "recovery:congestion_state_updated", "kcp:limit_updated",
		} {
			if count[name] == 0 {
				t.Errorf("no %s", name)
			}
		}
		wantAcknowledged(t, client)
	})
}

// wantAcknowledged checks that packet numbers count, that what was lost was sent, and that every datagram
// with data was acknowledged, or what was in it was sent again.
func wantAcknowledged(t *testing.T, list []entry) {
	t.Helper()
	sent := numbers(list, "transport:packet_sent")
	for i, n := range sent {
		if n != float64(i+1) {
			t.Fatalf("packet %v is the %dth", n, i+1)
		}
	}
	for _, n := range numbers(list, "recovery:packet_lost") {
		if n < 1 || n > float64(len(sent)) {
			t.Errorf("packet %v was lost, of %d", n, len(sent))
		}
	}
	length, acked := 0.0, make(map[float64]bool)
	for _, e := range list {
		frames, _ := e.Data["frames"].([]any)
		for _, f := range frames {
			f := f.(map[string]any)
			switch {
			case e.Name == "transport:packet_sent" && f["frame_type"] == "stream" && f["again"] == nil:
				if f["offset"].(float64) != length {
					t.Errorf("offset %v after %v bytes", f["offset"], length)
				}
				length += f["length"].(float64)
			case f["frame_type"] == "ack":
				for _, r := range f["sns"].([]any) {
					r := r.([]any)
					for sn := r[0].(float64); sn <= r[len(r)-1].(float64); sn++ {
						if acked[sn] {
							t.Errorf("%v is acknowledged twice", sn)
						}
						acked[sn] = true
					}
				}
			}
		}
	}
	if length != 200_000 {
		t.Errorf("%v bytes were sent", length)
	}
	for i := range len(acked) {
		if !acked[float64(i)] {
			t.Errorf("%v is not acknowledged", i)
		}
	}
	if len(acked) < 200_000/1400 {
		t.Errorf("%d segments are acknowledged", len(acked))
	}
}

// Dir makes the directory, a file for each end, and nothing without a name.
func TestDir(t *testing.T) {
	if qlog.Dir("") != nil {
		t.Error("a tracer without a directory")
	}
	dir := filepath.Join(t.TempDir(), "a", "b")
	kcptest.Run(t, 1, func(t *testing.T, n *kcptest.Network) {
		transfer(t, n, kcp.Settings{Tracer: qlog.Dir(dir)}, 1000)
	})
	for _, side := range []string{"client", "server"} {
		names, _ := filepath.Glob(filepath.Join(dir, "00000abc_"+side+"_*.sqlog"))
		if len(names) != 1 {
			t.Fatalf("%s: %v", side, names)
		}
		b, err := os.ReadFile(names[0])
		if err != nil {
			t.Fatal(err)
		}
		read(t, b, side)
	}
}

// broken fails after some bytes.
type broken struct {
	left   int
	closed int
}

func (b *broken) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errors.New("the disk is full")
	}
	return len(p), nil
}
func (b *broken) Close() error { b.closed++; return nil }

// A file that cannot be opened or written ends the log, with one report, and not the session.
func TestFailures(t *testing.T) {
	var reports bytes.Buffer
	was := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&reports, nil)))
	defer slog.SetDefault(was)
	full := &broken{left: 40 << 10}
	tracer := qlog.New(func(_ *kcp.UDPSession, dialled bool) (io.WriteCloser, error) {
		if dialled {
			return full, nil
		}
		return nil, errors.New("no permission")
	})
	kcptest.Run(t, 1, func(t *testing.T, n *kcptest.Network) { transfer(t, n, kcp.Settings{Tracer: tracer}, 500_000) })
	if got := reports.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "the disk is full") || !strings.Contains(got, "no permission") {
		t.Error(got)
	}
	if full.closed != 1 {
		t.Errorf("closed %d times", full.closed)
	}
	silent := qlog.New(func(*kcp.UDPSession, bool) (io.WriteCloser, error) { return nil, nil })
	kcptest.Run(t, 1, func(t *testing.T, n *kcptest.Network) { transfer(t, n, kcp.Settings{Tracer: silent}, 1000) })
	if strings.Count(reports.String(), "\n") != 2 {
		t.Error(reports.String())
	}
}
