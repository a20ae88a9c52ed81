package soak

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	kcp "github.com/xtaci/kcp-go/v5"
)

// leftOut is what the simulation does not use of the API, and why.
var leftOut = map[string]string{
	"UDPSession.SetDSCP":        "sockets of the system alone have it",
	"UDPSession.SetWriteBuffer": "likewise",
	"UDPSession.SetOOBHandler":  "Settings.OOBHandler is the same from the beginning on",
	"Listener.SetDSCP":          "sockets of the system alone have it",
	"Listener.SetWriteBuffer":   "likewise",
	"Listener.SetReadBuffer":    "Settings.ReadBuffer sets it",
	"Listener.Control":          "UDPSession.Control is the same",
	"Listener.Accept":           "AcceptKCP is the same",
	"Listener.Addr":             "told by Network",
	"Listener.SetReadDeadline":  "SetDeadline is the same",
	"Listener.SetWriteDeadline": "it has no meaning",
	"Transport.SetDSCP":         "sockets of the system alone have it",
	"Transport.SetWriteBuffer":  "likewise",
	"Transport.SetReadBuffer":   "Settings.ReadBuffer sets it",
	"Transport.Control":         "UDPSession.Control is the same",
	"Transport.LocalAddr":       "told by the PacketConn",
	"Settings.DSCP":             "sockets of the system alone have it",
	"Settings.WriteBuffer":      "likewise",
	"Dialer.LocalAddr":          "of sockets that the package opens",
	"Dialer.Control":            "likewise",
	"Dialer.Simultaneous":       "there is always a listener",
	"Dialer.Dial":               "DialContext is the same",
	"ListenConfig.Control":      "of sockets that the package opens",
	"ListenConfig.Listen":       "it opens a socket",
}

// Whatever the API has is used by the simulation, or left out for a reason.
func TestAPI(t *testing.T) {
	source := programs(t)
	var names []string
	for _, of := range []struct {
		value any
		used  string // before a method's name, where it is called
	}{
		{(*kcp.UDPSession)(nil), `(\be?\.?s|session|Session\))`}, {(*kcp.Listener)(nil), `\b(s\.l|l)`},
		{(*kcp.Transport)(nil), `transport`}, {(*kcp.Dialer)(nil), `\bd`}, {(*kcp.ListenConfig)(nil), `\blc`},
	} {
		typ := reflect.TypeOf(of.value)
		for i := range typ.NumMethod() {
			name := typ.Method(i).Name
			check(t, source, typ.Elem().Name()+"."+name, of.used+`\.`+name+`\(`)
			names = append(names, typ.Elem().Name()+"."+name)
		}
	}
	for _, value := range []any{kcp.Settings{}, kcp.Dialer{}, kcp.ListenConfig{}} {
		typ := reflect.TypeOf(value)
		for i := range typ.NumField() {
			if name := typ.Field(i).Name; !typ.Field(i).Anonymous {
				check(t, source, typ.Name()+"."+name, `\b`+name+`\b( =|,|:| \+?=)`)
				names = append(names, typ.Name()+"."+name)
			}
		}
	}
	for name := range leftOut {
		if !strings.Contains(strings.Join(names, " ")+" ", name+" ") {
			t.Errorf("%s is left out, and there is no such thing", name)
		}
	}
}

func check(t *testing.T, source, name, used string) {
	t.Helper()
	is, left := regexp.MustCompile(used).MatchString(source), leftOut[name] != ""
	if is == left {
		t.Errorf("%s: used %v, left out %v", name, is, left)
	}
}

// programs returns the package's files but tests.
func programs(t *testing.T) string {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var all strings.Builder
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}
