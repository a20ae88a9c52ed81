package kcpdebug

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/kcptest"
)

// get returns the status and the body of an answer.
func get(h http.Handler, url string) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", url, nil))
	return w.Code, w.Body.String()
}

// ask reads an answer into v.
func ask(t *testing.T, h http.Handler, url string, v any) {
	t.Helper()
	code, body := get(h, "/debug/kcp/"+url)
	if code != http.StatusOK {
		t.Fatalf("%s: status %d: %s", url, code, body)
	}
	if err := json.Unmarshal([]byte(body), v); err != nil {
		t.Fatalf("%s: %v in %s", url, err, body)
	}
}

// secret is what sessions carry in these tests.
const secret = "what nobody but the ends may see"

// serve answers all that sessions of l say, until l is closed.
func serve(l *kcp.Listener) {
	for {
		s, err := l.AcceptKCP()
		if err != nil {
			return
		}
		go func() {
			io.Copy(s, s)
			s.Close()
		}()
	}
}

// open opens a listener, and n sessions to it that have had an answer.
func open(t *testing.T, net *kcptest.Network, block kcp.BlockCrypt, n int) (*kcp.Listener, []*kcp.UDPSession) {
	t.Helper()
	l, err := kcp.ServeConn(block, 0, 0, net.Listen("10.0.0.1:4000"))
	if err != nil {
		t.Fatal(err)
	}
	go serve(l)
	var all []*kcp.UDPSession
	for i := range n {
		s, err := kcp.NewConn2(l.Addr(), block, 0, 0, net.Listen(fmt.Sprintf("10.0.1.%d:5000", 1+i)))
		if err != nil {
			t.Fatal(err)
		}
		say(t, s)
		all = append(all, s)
	}
	return l, all
}

// say has s say something, and hear the answer.
func say(t *testing.T, s *kcp.UDPSession) {
	t.Helper()
	s.Write([]byte(secret))
	if _, err := io.ReadFull(s, make([]byte, len(secret))); err != nil {
		t.Fatal(err)
	}
}

func closeAll(all []*kcp.UDPSession, l *kcp.Listener) {
	for _, s := range all {
		s.Close()
	}
	time.Sleep(10 * time.Second) // the other ends have ended, too
	l.Close()
}

// run is kcptest.Run over a path with a delay.
func run(t *testing.T, f func(t *testing.T, n *kcptest.Network)) {
	kcptest.Run(t, 1, func(t *testing.T, n *kcptest.Network) {
		n.SetPath(kcptest.Path{Delay: 20 * time.Millisecond, Rate: 1_000_000, Queue: 100_000})
		f(t, n)
	})
}

// The list has both ends of each session, once, with what they measure.
func TestSessions(t *testing.T) {
	run(t, func(t *testing.T, n *kcptest.Network) {
		block, err := kcp.NewAESGCMCrypt(make([]byte, 32))
		if err != nil {
			t.Fatal(err)
		}
		l, all := open(t, n, block, 3)
		time.Sleep(time.Second)
		h := Handler()
		var got list
		ask(t, h, "sessions.json?sort=peer", &got)
		if got.Total != 6 || got.Matched != 6 || len(got.Sessions) != 6 || got.Sealed != 6 || got.States["open"] != 6 || got.Limits["application"] != 6 {
			t.Fatalf("%+v", got)
		}
		ids := make(map[uint64]string)
		for _, s := range got.Sessions {
			ids[s.ID] = s.Peer
			if s.RTT < 40 || s.RTT > 70 || s.Limit != "application" || !s.Sealed || s.Age < 40 || s.Out <= 0 || s.In <= 0 {
				t.Errorf("%+v", s)
			}
		}
		// One of them is busy; the others are not.
		all[1].SetDeadline(time.Now().Add(3 * time.Second))
		go all[1].Write(make([]byte, 10_000_000))
		go io.Copy(io.Discard, all[1])
		time.Sleep(1500 * time.Millisecond)
		ask(t, h, "sessions.json?sort=-out&limit=3", &got)
		time.Sleep(1500 * time.Millisecond)
		ask(t, h, "sessions.json?sort=-out&limit=3", &got)
		if len(got.Sessions) != 3 {
			t.Fatalf("%+v", got.Sessions)
		}
		for _, busy := range got.Sessions[:2] { // both ends of it
			if busy.Local != "10.0.1.2:5000" && busy.Peer != "10.0.1.2:5000" || ids[busy.ID] != busy.Peer ||
				busy.Out < 700_000 || busy.Out > 1_100_000 || busy.InFlight == 0 {
				t.Errorf("busy: %+v", busy)
			}
		}
		if sum := got.Out; sum < got.Sessions[0].Out+got.Sessions[1].Out || sum > 2.2e6 {
			t.Errorf("all send %v bytes a second", sum)
		}
		closeAll(all, l)
		ask(t, h, "sessions.json", &got)
		if got.Total != 0 || len(got.Sessions) != 0 {
			t.Errorf("after the end: %+v", got)
		}
	})
}

// Filters, orders and pages are those that were asked for; whatever else is asked for does no harm.
func TestSessionsQuery(t *testing.T) {
	run(t, func(t *testing.T, n *kcptest.Network) {
		l, all := open(t, n, nil, 5)
		h := Handler()
		for _, c := range []struct {
			query   string
			matched int
			shown   int
		}{
			{"", 10, 10},
			{"q=10.0.1.3", 2, 2}, // as the peer, and as the local address
			{"q=10.0.1.3:5000+OPEN", 2, 2},
			{"q=sealed", 0, 0},
			{"q=unsealed", 10, 10},
			{"q=application", 10, 10},
			{fmt.Sprintf("q=%08x", all[2].GetConv()), 2, 2},
			{"q=%22%3Cscript%3E", 0, 0},
			{"limit=4", 10, 4},
			{"limit=4&offset=8", 10, 2},
			{"limit=4&offset=100", 10, 0},
			{"limit=-1&offset=-1&sort=--", 10, 10},
			{"limit=99999999999999999999&offset=x&sort=nothing", 10, 10},
			{"limit=0", 10, 0},
		} {
			var got list
			ask(t, h, "sessions.json?"+c.query, &got)
			if got.Total != 10 || got.Matched != c.matched || len(got.Sessions) != c.shown {
				t.Errorf("%s: %d of %d, %d shown", c.query, got.Matched, got.Total, len(got.Sessions))
			}
		}
		for name, compare := range columns {
			var up, down list
			ask(t, h, "sessions.json?sort="+name, &up)
			ask(t, h, "sessions.json?sort=-"+name, &down)
			by := func(a, b row) int { return compare(&a, &b) }
			slices.Reverse(down.Sessions)
			if !slices.IsSortedFunc(up.Sessions, by) || !slices.IsSortedFunc(down.Sessions, by) {
				t.Errorf("not in the order of %s", name)
			}
		}
		closeAll(all, l)
	})
}

// One session is told about in full as long as it is there, under the same id, and the page keeps none.
func TestSession(t *testing.T) {
	run(t, func(t *testing.T, n *kcptest.Network) {
		l, all := open(t, n, nil, 2)
		h := Handler()
		var before, after list
		var one detail
		ask(t, h, "sessions.json?sort=local&q=10.0.1.1", &before)
		id := before.Sessions[len(before.Sessions)-1].ID
		ask(t, h, fmt.Sprintf("session.json?id=%d", id), &one)
		if one.ID != id || one.Conv != all[0].GetConv() || one.Local != "10.0.1.1:5000" || one.State != "open" || one.Stats.BytesSent != uint64(len(secret)) ||
			one.Limit != "application" || len(one.Limits) != len(one.Stats.TimeLimited) {
			t.Errorf("%+v", one)
		}
		time.Sleep(2 * time.Second)
		ask(t, h, "sessions.json?sort=local&q=10.0.1.1", &after)
		if got := after.Sessions[len(after.Sessions)-1].ID; got != id {
			t.Errorf("session %d has become %d", id, got)
		}
		closeAll(all, l)
		get(h, "/sessions.json")
		for _, query := range []string{fmt.Sprint(id), "", "x", "-1", "18446744073709551616"} {
			if code, _ := get(h, "/session.json?id="+query); code != http.StatusNotFound {
				t.Errorf("id %q: status %d", query, code)
			}
		}
		runtime.KeepAlive(all)
	})
}

// Listeners tell their counters.
func TestListeners(t *testing.T) {
	run(t, func(t *testing.T, n *kcptest.Network) {
		h := Handler()
		var got []listener
		ask(t, h, "listeners.json", &got)
		if len(got) != 0 {
			t.Errorf("%+v", got)
		}
		l, all := open(t, n, nil, 3)
		ask(t, h, "listeners.json", &got)
		if len(got) != 1 || got[0].Addr != "10.0.0.1:4000" || got[0].Stats.Sessions != 3 || got[0].Stats.Opened != 3 {
			t.Errorf("%+v", got)
		}
		closeAll(all, l)
	})
}

// However many look, sessions are sampled once a second.
func TestSampling(t *testing.T) {
	run(t, func(t *testing.T, n *kcptest.Network) {
		l, all := open(t, n, nil, 2)
		s := newSampler()
		first := s.sample()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if s.sample() != first {
					t.Error("sampled again within a second")
				}
			})
		}
		wg.Wait()
		time.Sleep(sampleEvery)
		if next := s.sample(); next.pass != first.pass+1 || len(next.rows) != len(first.rows) {
			t.Errorf("pass %d with %d sessions follows %d with %d", next.pass, len(next.rows), first.pass, len(first.rows))
		}
		closeAll(all, l)
		time.Sleep(sampleEvery)
		if s.sample(); len(s.tracked) != 0 || len(s.byID) != 0 {
			t.Errorf("%d sessions are kept that have ended", len(s.tracked))
		}
	})
}

// Nothing that sessions carry is told.
func TestNoContent(t *testing.T) {
	run(t, func(t *testing.T, n *kcptest.Network) {
		l, all := open(t, n, nil, 1)
		all[0].Write([]byte(secret)) // and not read
		time.Sleep(time.Second)
		h := Handler()
		var found list
		ask(t, h, "sessions.json", &found)
		one, other := found.Sessions[0].ID, found.Sessions[1].ID
		for _, url := range []string{"sessions.json", fmt.Sprintf("session.json?id=%d", one), fmt.Sprintf("session.json?id=%d", other), "listeners.json"} {
			code, body := get(h, "/"+url)
			if code != http.StatusOK || strings.Contains(body, secret[:8]) {
				t.Errorf("%s: status %d, %s", url, code, body)
			}
		}
		closeAll(all, l)
	})
}

var references = regexp.MustCompile(`(?:href|src)="([^"#]+)"|from "\./([^"]+)"`)

// The page is what the handler serves, wherever that is mounted, and loads nothing else.
func TestAssets(t *testing.T) {
	h := Handler()
	err := fs.WalkDir(assets, "assets", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := strings.TrimPrefix(path, "assets/")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/some/where/"+name, nil))
		body := w.Body.String()
		if w.Code != http.StatusOK || w.Header().Get("Content-Security-Policy") != policy || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: status %d, %v", name, w.Code, w.Header())
		}
		for _, m := range references.FindAllStringSubmatch(body, -1) {
			if ref := m[1] + m[2]; strings.Contains(ref, "/") {
				t.Errorf("%s refers to %s", name, ref)
			} else if code, _ := get(h, "/"+ref); code != http.StatusOK {
				t.Errorf("%s refers to %s, which is not there", name, ref)
			}
		}
		for _, bad := range []string{"<style", "style=\"", "onclick=\"", "innerHTML", "eval(", "@import", "localStorage"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s has %s", name, bad)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if code, body := get(h, "/debug/kcp/"); code != http.StatusOK || !strings.Contains(body, "<title>KCP sessions</title>") {
		t.Errorf("status %d, %s", code, body)
	}
	for _, name := range []string{"nothing", "..", "../handler.go", "assets"} {
		if code, _ := get(h, "/debug/kcp/"+name); code != http.StatusNotFound {
			t.Errorf("%s: status %d", name, code)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, httptest.NewRequest(method, "/sessions.json", nil)); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: status %d", method, w.Code)
		}
	}
}
