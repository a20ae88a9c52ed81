package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/xtaci/kcp-go/v5/cmd/kcp/format"
)

// A value is an option with bounds. Its errors say what it takes.
type value struct {
	set     func(string) error
	text    func() string
	choices []string // all that it takes, if these are few
	file    bool     // it is the name of a file
}

func (v *value) Set(s string) error { return v.set(s) }

// String is called for the zero value, too.
func (v *value) String() string {
	if v.text == nil {
		return ""
	}
	return v.text()
}

// choice declares an option that is one of a few words; p has the default.
func choice(fs *flag.FlagSet, p *string, name, usage string, words ...string) {
	fs.Var(&value{
		choices: words,
		text:    func() string { return *p },
		set: func(s string) error {
			if !slices.Contains(words, s) {
				return fmt.Errorf("want one of %s", strings.Join(words, ", "))
			}
			*p = s
			return nil
		},
	}, name, usage+": "+strings.Join(words, ", "))
}

// file declares an option that names a file.
func file(fs *flag.FlagSet, p *string, name, usage string) {
	fs.Var(&value{file: true, text: func() string { return *p }, set: func(s string) error { *p = s; return nil }}, name, usage)
}

// list declares an option that may be given several times.
func list(fs *flag.FlagSet, p *[]string, name, usage string) {
	fs.Var(&value{set: func(s string) error { *p = append(*p, s); return nil }}, name, usage)
}

// between declares a whole number with bounds.
func between(fs *flag.FlagSet, p *int, least, most int, name, usage string) {
	fs.Var(&value{
		text: func() string {
			if *p == 0 {
				return ""
			}
			return strconv.Itoa(*p)
		},
		set: func(s string) error {
			n, err := strconv.Atoi(s)
			if err != nil || n < least || n > most {
				return fmt.Errorf("want %d to %d", least, most)
			}
			*p = n
			return nil
		},
	}, name, usage)
}

// duration declares a time with bounds.
func duration(fs *flag.FlagSet, p *time.Duration, least, most time.Duration, name, usage string) {
	fs.Var(&value{
		text: func() string {
			if *p == 0 {
				return ""
			}
			return format.Short(*p)
		},
		set: func(s string) error {
			d, err := time.ParseDuration(s)
			if err != nil || d < least || d > most {
				return fmt.Errorf("want a time from %s to %s, such as 10s or 1m30s", format.Short(least), format.Short(most))
			}
			*p = d
			return nil
		},
	}, name, usage)
}

// amount declares a number of bytes, with a unit or without.
func amount(fs *flag.FlagSet, p *int64, name, usage string) {
	fs.Var(&value{
		text: func() string {
			if *p == 0 {
				return ""
			}
			return format.Bytes(float64(*p))
		},
		set: func(s string) (err error) { *p, err = parseBytes(s); return err },
	}, name, usage)
}

// shards declares data/parity, the counts of FEC.
func shards(fs *flag.FlagSet, data, parity *int, name, usage string) {
	fs.Var(&value{set: func(s string) error {
		d, p, _ := strings.Cut(s, "/")
		n, err1 := strconv.Atoi(d)
		m, err2 := strconv.Atoi(p)
		if err1 != nil || err2 != nil || n < 1 || m < 1 || n+m > 256 {
			return errors.New("want DATA/PARITY, both at least 1, at most 256 together, such as 10/3")
		}
		*data, *parity = n, m
		return nil
	}}, name, usage)
}

// mostBytes is the most that parseBytes takes: 1 PB.
const mostBytes = 1e15

// parseBytes reads a number of bytes: 1500, 32MiB, 2.5MB.
func parseBytes(s string) (int64, error) {
	for _, u := range [...]struct {
		name string
		size float64
	}{
		{"KIB", 1 << 10}, {"MIB", 1 << 20}, {"GIB", 1 << 30}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9},
		{"K", 1e3}, {"M", 1e6}, {"G", 1e9}, {"B", 1}, {"", 1},
	} {
		number, ok := strings.CutSuffix(strings.ToUpper(s), u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(n*u.size >= 1 && n*u.size <= mostBytes) {
			break
		}
		return int64(n * u.size), nil
	}
	return 0, errors.New("want bytes from 1 to 1 PB, such as 1500, 32MiB or 2.5MB")
}
