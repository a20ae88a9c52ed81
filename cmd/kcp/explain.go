package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/xtaci/kcp-go/v5/cmd/kcp/explain"
)

// An explanation is what the options of kcp explain say.
type explanation struct {
	perf perfRun
	json bool
	time time.Duration
}

var explainCommand = &command{
	name:  "explain",
	usage: []string{"[options] HOST:PORT", "[options] FILE|SOCKET|-"},
	short: "say in words what bounds a session",
	long: `"kcp explain HOST:4000" sends to a "kcp perf -serve" for 5 seconds, watches its session, and says what bounds
it, what that follows from, and what to do about it.

"kcp explain SOCKET" joins a "kcp perf" or "kcp forward" that was started with -stats SOCKET, and watches its
sessions. "kcp explain FILE" reads what was recorded: a qlog file of package qlog (*.sqlog); lines of JSON, each
with a session's Stats, as encoding/json writes them, alone or as "stats" in what -stats writes; or what
"kcp perf -json" prints. "-" is the standard input. The end that sends knows most.

What it may say:

` + describeBounds(),
	setup: func(fs *flag.FlagSet) doFunc {
		e := &explanation{perf: perfRun{spec: testSpec{Sessions: 1}}}
		e.time = 5 * time.Second
		duration(fs, &e.time, time.Second, maxTestTime, "time", "`time` to watch for")
		fs.BoolVar(&e.perf.reverse, "reverse", false, "the server sends")
		fs.BoolVar(&e.json, "json", false, "print the verdicts as JSON, one a line")
		e.perf.session.declare(fs, false)
		return e.run
	},
}

func (e *explanation) run(ctx context.Context, std *stdio, args []string) error {
	from, err := one(args, "HOST:PORT, or a FILE or SOCKET")
	if err != nil {
		return err
	}
	series, err := e.watch(ctx, std, from)
	if err != nil {
		return err
	}
	for _, s := range series {
		v := explain.Judge(s)
		if e.json {
			writeLine(std.out, struct {
				Session string `json:"session,omitempty"`
				explain.Verdict
			}{s[0].Session, v})
			continue
		}
		printVerdict(std.out, v, s[0].Session)
	}
	return nil
}

// watch returns samples, a series for each session.
func (e *explanation) watch(ctx context.Context, std *stdio, from string) ([][]explain.Sample, error) {
	info, err := os.Stat(from)
	switch {
	case from == "-":
		return readSamples(std.in)
	case err == nil && info.Mode()&os.ModeSocket != 0:
		return joinSocket(ctx, from, e.time)
	case err == nil:
		f, err := os.Open(from)
		if err != nil {
			return nil, usagef("%v", err)
		}
		defer f.Close()
		return readSamples(f)
	}
	s, err := e.measure(ctx, from)
	return [][]explain.Sample{s}, err
}

// measure watches a test of its own. That there is no session is a verdict, too.
func (e *explanation) measure(ctx context.Context, address string) ([]explain.Sample, error) {
	p := &e.perf
	p.spec.Time = e.time
	p.prepare()
	c := &perfClient{perfRun: p, address: address, std: quiet}
	r, err := c.run(ctx)
	if err == nil {
		return r.KCP.series(p.reverse), nil
	}
	if failed, ok := failedSample(err); ok {
		return append(c.watched, failed), nil
	}
	return nil, err
}

var quiet = &stdio{out: io.Discard, err: io.Discard, width: func() int { return 0 }}

// printVerdict prints a verdict.
func printVerdict(out io.Writer, v explain.Verdict, session string) {
	if session != "" {
		fmt.Fprintf(out, "%s\n", session)
	}
	fmt.Fprintf(out, "Bound by: %s (%s).\n", v.Bound, meaning(v.Bound))
	fmt.Fprintf(out, "%s\n", wrap("Seen: "+v.Why+".", "  "))
	fmt.Fprintf(out, "%s\n", wrap("Do: "+v.Do, "  "))
	if v.Note != "" {
		fmt.Fprintf(out, "%s\n", wrap("Note: "+v.Note, "  "))
	}
}

func meaning(bound string) string {
	for _, b := range explain.Bounds {
		if b.Name == bound {
			return b.Means
		}
	}
	return ""
}

// describeBounds lists the bounds for the help.
func describeBounds() (s string) {
	for _, b := range explain.Bounds {
		s += fmt.Sprintf("  %-14s %s\n", b.Name, b.Means)
	}
	return s[:len(s)-1]
}

// readSamples reads a qlog file, lines of JSON, or one object of kcp perf -json, and returns a series for each
// session.
func readSamples(r io.Reader) ([][]explain.Sample, error) {
	in := bufio.NewReader(r)
	if beginning, _ := in.Peek(1); explain.IsQlog(beginning) {
		series, err := explain.ReadQlog(in)
		if err != nil {
			return nil, usagef("a qlog file that cannot be read: %v", err)
		}
		return [][]explain.Sample{series}, nil
	}
	var all [][]explain.Sample
	d := json.NewDecoder(in)
	for n := 1; ; n++ {
		var raw json.RawMessage
		switch err := d.Decode(&raw); {
		case err == io.EOF && len(all) == 0:
			return nil, usagef("there is no sample in it")
		case err == io.EOF:
			return all, nil
		case err != nil:
			return nil, usagef("object %d is no JSON: %v", n, err)
		}
		samples, err := parseSamples(raw)
		if err != nil {
			return nil, usagef("object %d: %v", n, err)
		}
		for _, s := range samples {
			all = addSample(all, s)
		}
	}
}

// addSample adds a sample to the series of its session.
func addSample(all [][]explain.Sample, s explain.Sample) [][]explain.Sample {
	i := slices.IndexFunc(all, func(series []explain.Sample) bool { return series[0].Session == s.Session })
	if i < 0 {
		return append(all, []explain.Sample{s})
	}
	if last := all[i][len(all[i])-1]; s.Stats.Age < last.Stats.Age {
		all[i] = nil // a new session in the place of that
	}
	all[i] = append(all[i], s)
	return all
}

// parseSamples reads one object: a sample, Stats alone, or what kcp perf -json prints.
func parseSamples(raw json.RawMessage) ([]explain.Sample, error) {
	var kind struct {
		Stats, KCP, Age json.RawMessage
		Failed          string
	}
	if err := json.Unmarshal(raw, &kind); err != nil {
		return nil, err
	}
	var s explain.Sample
	switch {
	case kind.KCP != nil:
		var r perfResult
		if err := json.Unmarshal(raw, &r); err != nil {
			return nil, err
		}
		return r.samples()
	case kind.Stats != nil || kind.Failed != "":
		err := json.Unmarshal(raw, &s)
		return []explain.Sample{s}, err
	case kind.Age != nil:
		err := json.Unmarshal(raw, &s.Stats)
		s.At = s.Stats.Age
		return []explain.Sample{s}, err
	}
	return nil, fmt.Errorf("neither Stats, nor what -stats or kcp perf -json print, nor a qlog file of package qlog")
}
