package soak

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// The cases of the other tests run in processes of their own, of this program.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "soakcase" {
		if err := Child(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// A sample: a few cases, of a few minutes each.
func TestSample(t *testing.T) {
	var total summary
	for i := range 4 {
		c := Case{Seed: 1, Index: i, Slots: 2, Minutes: 20}
		r := c.inProcess()
		total.add(r)
		if len(r.Failures) > 0 {
			t.Errorf("%s\n%s", c.flags(), strings.Join(r.Failures, "\n"))
		}
	}
	if total.Connections == 0 || total.Bytes == 0 || total.Calls == 0 || len(total.Faults) == 0 {
		t.Errorf("nothing has happened: %+v", total)
	}
}

// What is wrong with what arrives is noticed.
func TestContent(t *testing.T) {
	write := func(f *flow, n int) []byte {
		b := make([]byte, n)
		f.next(b)
		f.wrote(n)
		return b
	}
	for name, change := range map[string]func(b []byte) []byte{
		"nothing":  func(b []byte) []byte { return b },
		"changed":  func(b []byte) []byte { b[50]++; return b },
		"its head": func(b []byte) []byte { b[0]++; return b },
		"missing":  func(b []byte) []byte { return slices.Delete(b, 20, 21) },
		"twice":    func(b []byte) []byte { return append(b[:50:50], b[42:]...) },
		"too many": func(b []byte) []byte { return append(b, b...) },
	} {
		f := &flow{id: 77}
		err := f.got(change(write(f, 100)))
		if (err != nil) != (name != "nothing") {
			t.Errorf("%s: %v", name, err)
		}
	}
	other, f := &flow{id: 1}, &flow{id: 2}
	write(f, 100)
	if f.got(write(other, 100)) == nil {
		t.Error("another stream was taken for this one")
	}
}

func TestMessages(t *testing.T) {
	soon := time.Now().Add(time.Hour)
	for name, c := range map[string]struct {
		read func(sent [][]byte) [][]byte
		want string
	}{
		"all":        {func(s [][]byte) [][]byte { return s }, ""},
		"in parts":   {func(s [][]byte) [][]byte { return [][]byte{s[0][:30], s[0][30:], s[1][:5], s[1][5:]} }, ""},
		"skipped":    {func(s [][]byte) [][]byte { return [][]byte{s[0], s[2]} }, ""},
		"missing":    {func(s [][]byte) [][]byte { return [][]byte{s[1]} }, "was skipped, which does not expire"},
		"backwards":  {func(s [][]byte) [][]byte { return [][]byte{s[0], s[2], s[1]} }, "message 1 was read when"},
		"twice":      {func(s [][]byte) [][]byte { return [][]byte{s[0], s[0]} }, "message 0 was read when"},
		"not whole":  {func(s [][]byte) [][]byte { return [][]byte{s[0][:30], s[1], s[2]} }, "a message:"},
		"not queued": {func(s [][]byte) [][]byte { return [][]byte{s[0], s[1], s[2], s[3]} }, "WriteMessage has refused"},
	} {
		m := &messages{id: 5}
		sent := [][]byte{m.write(100, time.Time{}), m.write(40, soon), m.write(70, time.Time{}), m.write(90, time.Time{})}
		m.refuse()
		if name == "all" {
			sent = sent[:3]
		}
		var err error
		for _, b := range c.read(sent) {
			err = errors.Join(err, m.got(b))
		}
		if c.want == "" && err != nil || err == nil && c.want != "" || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestCounted(t *testing.T) {
	c := &counted{id: 9}
	a, b := c.send(100), c.send(50)
	for _, step := range []struct {
		b    []byte
		good bool
	}{{b, true}, {a, true}, {a, false}, {parcel(9, 2, 40), false}, {parcel(8, 0, 40), false}, {a[:60], false}, {a[:3], false}} {
		if err := c.got(step.b, 1); (err == nil) != step.good {
			t.Errorf("%x: %v", clip(step.b), err)
		}
	}
}

// What is left out does not change what else is drawn.
func TestDraws(t *testing.T) {
	seen := make(map[string]bool)
	for i := range 100 {
		c := Case{Seed: 3, Index: i}
		all := c.all()
		for _, f := range all {
			seen[f] = true
			less := c
			less.Without = []string{f}
			want := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == f })
			if got := less.all(); !slices.Equal(got, want) || less.slots() != c.slots() || less.length() != c.length() {
				t.Fatalf("%v without %s is %v", all, f, got)
			}
		}
	}
	if len(seen) != len(features) {
		t.Errorf("only %v are drawn", seen)
	}
}

// A case whose process does not end as it should is a failure, with what it said.
func TestBrokenProcess(t *testing.T) {
	out, err := exec.Command(os.Args[0], "soakcase", "no JSON").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "invalid character") {
		t.Errorf("%v: %s", err, out)
	}
	for args, want := range map[string]string{"-without nothing": `no feature is called "nothing"`} {
		if err := Main(append([]string{"soak"}, strings.Fields(args)...), nil); err == nil || err.Error() != want {
			t.Errorf("%s: %v", args, err)
		}
	}
}
