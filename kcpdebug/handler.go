// Package kcpdebug is a page about the sessions and listeners of a process: who they talk to, how fast, what
// the path does, and why they send no more than they do; one session's plots over time; and qlog files.
//
//	http.Handle("/debug/kcp/", kcpdebug.Handler())
//	go http.ListenAndServe("127.0.0.1:6060", nil)
//
// The page shows counters, addresses and conversation ids, and never what sessions carry. It changes nothing
// and loads nothing from elsewhere. But it tells who talks to whom, and asks nobody who they are: serve it on
// a loopback address or behind what authenticates, as with net/http/pprof, and not on the public net.
package kcpdebug

import (
	"bytes"
	"embed"
	"encoding/json"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed assets
var assets embed.FS

// policy lets the page load what this handler serves, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// built is what the assets are as new as.
var built = time.Now()

// Handler returns a handler that serves the page, at a pattern that ends in a slash. Handlers of a process
// share nothing but the sessions. As long as nobody looks it does nothing.
func Handler() http.Handler {
	s := newSampler()
	pages := map[string]func(*http.Request) (any, int){
		"sessions.json":  s.serveSessions,
		"session.json":   s.serveSession,
		"listeners.json": func(*http.Request) (any, int) { return listeners(), http.StatusOK },
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "GET only", http.StatusMethodNotAllowed)
			return
		}
		// Whatever the handler is mounted at, a name has no slash.
		name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		if page, ok := pages[name]; ok {
			body, status := page(r)
			serveJSON(w, body, status)
			return
		}
		serveAsset(w, r, name)
	})
}

func serveJSON(w http.ResponseWriter, body any, status int) {
	b, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(b)
}

func serveAsset(w http.ResponseWriter, r *http.Request, name string) {
	if name == "" {
		name = "index.html"
	}
	b, err := assets.ReadFile(path.Join("assets", name))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, name, built, bytes.NewReader(b))
}
