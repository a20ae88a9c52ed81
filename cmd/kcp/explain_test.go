package main

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/cmd/kcp/explain"
)

// loopback sends through real sockets for a while, and returns samples of the sender, the last one with
// the receiver's Stats.
func loopback(t *testing.T, sending, receiving kcp.Settings, read func(io.Reader)) (series []explain.Sample) {
	t.Helper()
	lc, d := kcp.ListenConfig{Settings: receiving}, kcp.Dialer{Settings: sending}
	l, err := lc.Listen(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := d.Dial("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s := conn.(*kcp.UDPSession)
	defer s.Abort()
	go writeAll(s)
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.(*kcp.UDPSession).Abort()
	go read(peer)
	ticks := time.NewTicker(sampleEvery / 2)
	defer ticks.Stop()
	for start := time.Now(); len(series) < 12; <-ticks.C {
		series = append(series, sampleOf(s, time.Since(start)))
	}
	stats := peer.(*kcp.UDPSession).Stats()
	series[len(series)-1].Peer = &stats
	return series
}

func readAll(r io.Reader) { io.Copy(io.Discard, r) }

// A session that has all of the CPU that it can get, and would use more.
func TestExplainCPU(t *testing.T) {
	block, err := kcp.NewTwofishBlockCrypt(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	s := kcp.Settings{Block: block, Seal: kcp.SealOff, StreamMode: true, Profile: kcp.Bulk}
	if series := loopback(t, s, s, readAll); explain.Judge(series).Bound != explain.CPU {
		t.Errorf("%+v", explain.Judge(series))
	}
}

// A receive buffer of a few datagrams.
func TestExplainSocketBuffer(t *testing.T) {
	s := kcp.Settings{StreamMode: true, Profile: kcp.Bulk}
	small := s
	small.ReadBuffer = 2 << 10
	series := loopback(t, s, small, readAll)
	if series[len(series)-1].Peer.ReceiveDrops == 0 {
		t.Skip("the kernel tells of no drops")
	}
	if explain.Judge(series).Bound != explain.Buffer {
		t.Errorf("%+v", explain.Judge(series))
	}
}

// What kcp explain reads.
func TestExplainReads(t *testing.T) {
	stats := kcp.Stats{Age: 5 * time.Second, DatagramsSent: 100, SegmentsSent: 100, RTT: 40 * time.Millisecond, SendWindow: 16, InFlight: 16}
	stats.TimeLimited[kcp.LimitSendWindow] = 5 * time.Second
	bare, _ := json.Marshal(stats)
	first, _ := json.Marshal(explain.Sample{Session: "a"})
	second, _ := json.Marshal(explain.Sample{Session: "a", At: stats.Age, Stats: stats})
	other, _ := json.Marshal(explain.Sample{Session: "b", Failed: explain.WrongKey, Why: "keys"})
	name := filepath.Join(t.TempDir(), "samples")
	for _, c := range []struct{ text, want string }{
		{string(bare), "^Bound by: window"},
		{string(first) + "\n" + string(second) + "\n" + string(other), "(?s)^a\nBound by: window.*\nb\nBound by: key"},
	} {
		if err := os.WriteFile(name, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		wantRun(t, 0, c.want, "explain", name)
		wantRun(t, 0, `"bound":"window"`, "explain", name, "-json")
	}
	qlog := "\x1e{\"time\":5,\"name\":\"transport:packet_sent\"}\n"
	if err := os.WriteFile(name, []byte(qlog), 0o600); err != nil {
		t.Fatal(err)
	}
	wantRun(t, 0, "^Bound by: application", "explain", name)
	for _, text := range []string{"", "{}", "x", `{"Age":"x"}`, "[]", `{"kcp":{}}`, `{"stats":1}`} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		wantRun(t, codeUsage, "object 1|no sample", "explain", name)
	}
}

// A test of its own, one that is joined, one that was recorded, and a wrong key.
func TestExplainCommand(t *testing.T) {
	_, private, public := keys(t)
	_, _, other := keys(t)
	socket := filepath.Join(t.TempDir(), "s")
	s := startServer(t, "perf", "-serve", "127.0.0.1:0", "-private", private, "-stats", socket)
	wantRun(t, 0, "^Bound by: .*\n  Seen: .*\n", "explain", s.address, "-server-key", public, "-rate", "1MB", "-time", "1s")
	logs := t.TempDir()
	wantRun(t, 0, "goodput", "perf", s.address, "-server-key", public, "-rate", "1MB", "-time", "1s", "-qlog", logs)
	wantRun(t, 0, "^Bound by: rate limit", "explain", largest(t, logs))
	wantRun(t, 0, "^Bound by: key .*\n  Seen: .*another key", "explain", s.address, "-server-key", other, "-timeout", "200ms")
	wantRun(t, codeAddress, "another program listens there", "perf", "-serve", "127.0.0.1:0", "-stats", socket)
	joined := make(chan struct{})
	go func() {
		defer close(joined)
		kcpRun(t, "perf", s.address, "-server-key", public, "-rate", "1MB", "-time", "2s")
	}()
	for { // until there is a session to watch
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		var first explain.Sample
		err = json.NewDecoder(conn).Decode(&first)
		conn.Close()
		if err == nil {
			break
		}
	}
	wantRun(t, 0, "(?s)^127.0.0.1:.* to 127.0.0.1:.*Bound by: ", "explain", socket, "-time", "1s")
	<-joined
	s.wantEnd(codeDone)
	wantRun(t, codeUsage, "no address", "explain", socket)
}

// largest returns the largest qlog file: a test has sessions for its control and latency, too.
func largest(t *testing.T, dir string) (name string) {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(dir, "*_client_*.sqlog"))
	size := int64(-1)
	for _, n := range names {
		if info, err := os.Stat(n); err == nil && info.Size() > size {
			name, size = n, info.Size()
		}
	}
	if name == "" {
		t.Fatal("no qlog file")
	}
	return name
}

func FuzzSamples(f *testing.F) {
	for _, seed := range []string{`{"Age":1}`, `{"stats":{"Age":5,"SegmentsSent":9,"DatagramsSent":99}}`, `{"kcp":{"client":[{"stats":{}}],"server":[{"stats":{}}]}}`} {
		f.Add(seed + "\n" + seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, _ := readSamples(strings.NewReader(text))
		for _, series := range all {
			if v := explain.Judge(series); v.Bound == "" || v.Do == "" {
				t.Errorf("%+v", v)
			}
		}
	})
}

func writeAll(w io.Writer) {
	for b := make([]byte, flowBuffer); ; {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}
