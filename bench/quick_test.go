package main

import (
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A quick run says that its figures mean nothing, and compares them with nothing.
func TestQuick(t *testing.T) {
	defer func(q bool) { quick = q }(quick)
	for _, quick = range []bool{false, true} {
		speedTable := printed(t, func() {
			if err := speed(regexp.MustCompile("^(echo, 64 bytes|"+regexp.QuoteMeta(yardHandoff)+")$"), 10*time.Millisecond, 1, false); err != nil {
				t.Error(err)
			}
		})
		pathTable := printed(t, func() {
			todo := chosen(scenarios(), regexp.MustCompile("^messages, no loss, kcp$"))
			if len(todo) != 1 {
				t.Fatal(todo)
			}
			show(nil, false, func() { printPaths(todo, make([]pathResult, 1)) })
		})
		scaleTable := printed(t, func() { show(nil, false, scaleResult{}.print) })
		acceptedTable := printed(t, func() { show(nil, false, acceptedResult{}.print) })
		for name, c := range map[string]struct{ table, judgement string }{
			"speed":    {speedTable, " 1.60 "},
			"path":     {pathTable, "1.06"},
			"scale":    {scaleTable, "floor"},
			"accepted": {acceptedTable, "floor"},
		} {
			if strings.Contains(c.table, c.judgement) == quick {
				t.Errorf("%s, quick %v: %q is there, or is missing, in\n%s", name, quick, c.judgement, c.table)
			}
			if got := strings.Count(c.table, quickNote); got != map[bool]int{true: 2}[quick] {
				t.Errorf("%s, quick %v: the note is there %d times:\n%s", name, quick, got, c.table)
			}
		}
	}
}

// printed returns what f prints.
func printed(t *testing.T, f func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func(stdout *os.File) { os.Stdout = stdout }(os.Stdout)
	os.Stdout = w
	all := make(chan string)
	go func() {
		b, _ := io.ReadAll(r)
		all <- string(b)
	}()
	f()
	w.Close()
	return <-all
}
