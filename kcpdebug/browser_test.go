package kcpdebug

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/qlog"
)

// chromium returns a command that opens url in a headless one. It skips without one.
func chromium(t *testing.T, ctx context.Context, url string, args ...string) *exec.Cmd {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			dir, err := os.MkdirTemp("", "kcpdebug")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) }) // as far as its processes have ended
			args = append(args, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+dir, url)
			return exec.CommandContext(ctx, path, args...)
		}
	}
	t.Skip("no Chromium here")
	return nil
}

// browse returns what it has made of the page at url after so long.
func browse(t *testing.T, url string, after time.Duration) string {
	t.Helper()
	out, err := chromium(t, t.Context(), url, fmt.Sprintf("--virtual-time-budget=%d", after.Milliseconds()), "--dump-dom").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// The page shows sessions, one session and the listeners in a browser, under its own policy.
func TestBrowser(t *testing.T) {
	l, err := kcp.ListenWithOptions("127.0.0.1:0", nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	go serve(l)
	s, err := kcp.DialWithOptions(l.Addr().String(), nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	say(t, s)
	server := httptest.NewServer(Handler())
	defer func() {
		server.Close()
		s.Close()
		l.Close()
	}()
	conv := fmt.Sprintf("%08x", s.GetConv())
	page := browse(t, server.URL+"/", 2*time.Second)
	link := regexp.MustCompile(`href="(#/session/\d+)">` + regexp.QuoteMeta(l.Addr().String())).FindStringSubmatch(page)
	if link == nil || !strings.Contains(page, conv) || !strings.Contains(page, "nothing to send") {
		t.Fatalf("the list of sessions lacks some of it:\n%s", page)
	}
	page = browse(t, server.URL+"/"+link[1], 2*time.Second)
	for _, text := range []string{conv, "The application: all that was written is sent.", "Round trip", "<canvas"} {
		if !strings.Contains(page, text) {
			t.Errorf("the session lacks %q:\n%s", text, page)
		}
	}
}

// qlogFiles are files that the page can open, and what its diagrams have of them.
var qlogFiles = []struct {
	name, file string
	want       map[string][]float64 // by series: times and values by turns
	err        string
}{
	{name: "this package's", file: "\x1e" + `{"file_schema":"urn:ietf:params:qlog:file:sequential","serialization_format":"application/qlog+json-seq","trace":{"vantage_point":{"type":"client"}}}
` + "\x1e" + `{"time":10,"name":"transport:packet_sent","data":{"header":{"packet_number":0},"frames":[{"frame_type":"kcp_wins","sn":0},{"frame_type":"stream","offset":0,"sn":0}]}}
` + "\x1e" + `{"time":20,"name":"transport:packet_sent","data":{"header":{"packet_number":1},"frames":[{"frame_type":"stream","offset":1000,"sn":1}]}}
` + "\x1e" + `{"time":60,"name":"transport:packet_received","data":{"frames":[{"frame_type":"kcp_ack","sn":1},{"frame_type":"ack","acked_ranges":[[1]],"sns":[[1,1]]}]}}
` + "\x1e" + `{"time":70,"name":"recovery:packet_lost","data":{"sn":0,"header":{"packet_number":0}}}
` + "\x1e" + `{"time":71,"name":"transport:packet_sent","data":{"header":{"packet_number":2},"frames":[{"frame_type":"stream","offset":0,"sn":0,"again":true}]}}
` + "\x1e" + `{"time":72,"name":"recovery:metrics_updated","data":{"congestion_window":14000,"smoothed_rtt":40.5,"pacing_rate":80000}}
` + "\x1e" + `{"time":80,"name":"recovery:metrics_updated","data":{"congestion_window":7000}}
` + "\x1e" + `{"time":83,"name":"cut off`,
		want: map[string][]float64{
			"sent": {0, 0, 0.01, 1000}, "acked": {0.05, 1000}, "lost": {0.06, 0}, "again": {0.061, 0},
			"cwnd": {0.062, 14000, 0.07, 14000, 0.07, 7000}, "srtt": {0.062, 40.5}, "pacing": {0.062, 10000},
		}},
	{name: "QUIC's, in one JSON text", file: `{"qlog_version":"0.3","title":"<b>a title</b>","traces":[{"vantage_point":{"type":"server"},"events":[
		{"time":1,"name":"transport:packet_sent","data":{"header":{"packet_number":7}}},
		{"time":31,"name":"transport:packet_received","data":{"frames":[{"frame_type":"ack","acked_ranges":[[7,7]]}]}},
		{"time":32,"name":"transport:packet_received","data":{"frames":[{"frame_type":"ack","acked_ranges":[[0,7]]}]}}]}]}`,
		want: map[string][]float64{"sent": {0, 7}, "acked": {0.03, 7}}},
	{name: "no qlog", file: "hello\nworld", err: "there is no qlog event in it"},
	{name: "hostile", file: `{"time":1,"name":"transport:packet_received","data":{"frames":[{"frame_type":"ack","sns":[[0,1e18]],"acked_ranges":[[0,1e18]]},null,7]}}
{"time":{},"name":[]}
null
{"time":2,"name":"recovery:metrics_updated","data":{"congestion_window":"x"}}
{"time":3,"name":"__proto__","data":null}`, want: map[string][]float64{}},
}

// qlogPage has the module that reads qlog files read all, and tells the series.
const qlogPage = `<!doctype html><script type="module">
import { readFile } from "./qlog_read.js";
const out = {};
for (const [name, text] of Object.entries(await (await fetch("files")).json())) {
	try {
		const log = await readFile(new File([text], name));
		out[name] = Object.fromEntries(Object.entries(log.series).map(([k, s]) => [k, s.t.flatMap((t, i) => [Math.round(1e6 * t) / 1e6, s.v[i]])]));
	} catch (e) { out[name] = e.message; }
}
await fetch("result", { method: "POST", body: JSON.stringify(out) });
</script>`

// The page reads qlog files as the draft has them, and none does it harm.
func TestBrowserQlog(t *testing.T) {
	files := make(map[string]string)
	for _, f := range qlogFiles {
		files[f.name] = f.file
	}
	files["written"] = writeQlog(t)
	mux := http.NewServeMux()
	mux.Handle("/", Handler())
	mux.HandleFunc("/test", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, qlogPage)
	})
	mux.HandleFunc("/files", func(w http.ResponseWriter, r *http.Request) { json.NewEncoder(w).Encode(files) })
	results := make(chan map[string]any, 1)
	mux.HandleFunc("/result", func(w http.ResponseWriter, r *http.Request) {
		var got map[string]any
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		results <- got
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := chromium(t, ctx, server.URL+"/test", "--remote-debugging-port=0")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cancel()
	var got map[string]any
	select {
	case got = <-results:
	case <-ctx.Done():
		t.Fatal("the page tells no result")
	}
	for _, f := range qlogFiles {
		if f.err != "" {
			if got[f.name] != f.err {
				t.Errorf("%s: %v, want %s", f.name, got[f.name], f.err)
			}
			continue
		}
		series, _ := got[f.name].(map[string]any)
		if series == nil || f.name != "hostile" && fmt.Sprint(series) != fmt.Sprint(anyMap(f.want)) {
			t.Errorf("%s: %v, want %v", f.name, got[f.name], f.want)
		}
	}
	series, _ := got["written"].(map[string]any)
	for _, name := range []string{"sent", "acked", "cwnd", "flight", "rtt", "srtt", "pacing"} {
		if points, _ := series[name].([]any); len(points) < 4 {
			t.Errorf("a file of package qlog: %d times and values of %s", len(points), name)
		}
	}
}

// qlogBuffer is a file in memory.
type qlogBuffer struct{ bytes.Buffer }

func (*qlogBuffer) Close() error { return nil }

// writeQlog returns what package qlog writes of a session that sends something.
func writeQlog(t *testing.T) string {
	l, err := kcp.ListenWithOptions("127.0.0.1:0", nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var file qlogBuffer
	var d kcp.Dialer
	d.Tracer = qlog.New(func(*kcp.UDPSession, bool) (io.WriteCloser, error) { return &file, nil })
	c, err := d.Dial("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		c.Write(make([]byte, 300_000))
		c.Close()
	}()
	peer, err := l.AcceptKCP()
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, peer)
	peer.Close()
	<-c.(*kcp.UDPSession).Done()
	return file.String()
}

func anyMap(m map[string][]float64) map[string]any {
	out := make(map[string]any)
	for k, v := range m {
		out[k] = v
	}
	return out
}
