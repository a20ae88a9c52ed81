package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/xtaci/kcp-go/v5"
)

// options are the flags. Zero means a default that follows from the other flags.
type options struct {
	rtt, jitter time.Duration
	loss        float64 // percent
	bandwidth   int64   // bytes a second, 0 for no limit
	queue       int64   // bytes
	seed        uint64
	udp         bool

	listen, dial string // addresses; one end alone

	size int64 // bytes
	file string

	data, parity int // FEC shards, 0 for none
	crypt, key   string
	window, mtu  int // segments, bytes
}

const (
	defaultRTT       = 60 * time.Millisecond
	defaultBandwidth = 5_000_000
)

// emulated says whether the link is an emulated one.
func (o *options) emulated() bool { return !o.udp && o.listen == "" && o.dial == "" }

// parse reads the flags. An error names the flag and the values that it takes.
func parse(args []string) (options, error) {
	o := options{
		rtt: defaultRTT, loss: 5, bandwidth: defaultBandwidth,
		size: 32 << 20, mtu: kcp.IKCP_MTU_DEF,
	}
	f := flag.NewFlagSet("transfer", flag.ContinueOnError)
	f.Func("rtt", "round-trip `time` of the link (default 60ms)", timeVar(&o.rtt))
	f.Func("jitter", "`time` that datagrams are late at most, at random, each way; it reorders them", timeVar(&o.jitter))
	f.Func("loss", "`percent` of the datagrams lost in each direction, less than 90 (default 5)", percentVar(&o.loss))
	f.Func("bandwidth", "`bytes` a second that the link carries each way, 0 for no limit (default 5MB)", bytesVar(&o.bandwidth))
	f.Func("queue", "`bytes` that wait in front of the link (default what it carries in a round trip)", bytesVar(&o.queue))
	f.Uint64Var(&o.seed, "seed", 1, "`number` that the link's fates and the random payload follow from")
	f.BoolVar(&o.udp, "udp", false, "use real sockets on loopback instead of the emulated link")
	f.Func("size", "`bytes` to send, random ones (default 32MiB)", bytesVar(&o.size))
	f.Func("listen", "only receive one transfer, at this `address`, such as :4000", textVar(&o.listen, "an address"))
	f.Func("dial", "only send, to the receiver at this `address`, such as host:4000", textVar(&o.dial, "an address"))
	f.Func("file", "send the file at this `path` instead; with go -C DIR run, a relative one starts in DIR", textVar(&o.file, "a path"))
	f.Func("fec", "forward error correction with so many `data/parity` shards a group, such as 10/3 (default none)", shardsVar(&o.data, &o.parity))
	f.StringVar(&o.crypt, "crypt", "none", "`name` of the cipher: "+cipherNames())
	f.StringVar(&o.key, "key", "it's no secret", "`passphrase` that the cipher's key is derived from")
	f.Func("window", "`segments` in flight at most (default as many as the link carries)", intVar(&o.window, 1, math.MaxUint16))
	f.Func("mtu", "`bytes` of the longest datagram (default 1400)", intVar(&o.mtu, 128, 1500))

	f.SetOutput(io.Discard) // an error is one line; a list of the flags would hide it
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Println("Transfer sends data over an emulated link or real sockets and checks that it arrives. Flags:")
			f.SetOutput(os.Stdout)
			f.PrintDefaults()
		}
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if err := o.check(); err != nil {
		return o, err
	}
	return o, exclusive(f)
}

func (o *options) check() error {
	switch {
	case o.bandwidth != 0 && (o.bandwidth < 10e3 || o.bandwidth > 4e9):
		return fmt.Errorf("-bandwidth is %s a second, want 10 kB to 4 GB, or 0 for no limit", si(float64(o.bandwidth)))
	case o.queue > math.MaxInt32:
		return fmt.Errorf("-queue is %s, want at most 2 GB", si(float64(o.queue)))
	case o.data+o.parity > 256:
		return fmt.Errorf("-fec is %d/%d, want at most 256 shards together", o.data, o.parity)
	}
	return checkCipher(o.crypt)
}

// exclusive refuses flags that would have no effect together with others.
func exclusive(f *flag.FlagSet) error {
	given := make(map[string]bool)
	f.Visit(func(f *flag.Flag) { given[f.Name] = f.Value.String() != "false" })
	if given["listen"] && given["dial"] {
		return errors.New("-listen and -dial are two programs: leave out both to run them in one")
	}
	for _, real := range []string{"udp", "listen", "dial"} {
		for _, name := range []string{"rtt", "jitter", "loss", "bandwidth", "queue"} {
			if given[real] && given[name] {
				return fmt.Errorf("-%s describes the emulated link, which -%s does without", name, real)
			}
		}
	}
	if given["udp"] && (given["listen"] || given["dial"]) {
		return errors.New("-udp is for both ends in one program: -listen and -dial use real sockets anyway")
	}
	for _, name := range []string{"size", "file", "seed"} {
		if given["listen"] && given[name] {
			return fmt.Errorf("-%s is the sender's: give it to the one with -dial", name)
		}
	}
	if given["file"] && given["size"] {
		return errors.New("-size is of random bytes, which -file does without")
	}
	return nil
}

// bytesVar sets v to a number of bytes with or without a unit: 1500, 32MiB, 2.5MB.
func bytesVar(v *int64) func(string) error {
	units := []struct {
		name string
		size float64
	}{
		{"KIB", 1 << 10}, {"MIB", 1 << 20}, {"GIB", 1 << 30},
		{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1},
	}
	return func(s string) error {
		for _, u := range units {
			number, ok := strings.CutSuffix(strings.ToUpper(s), u.name)
			if !ok {
				continue
			}
			n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
			if err != nil || !(n >= 0 && n*u.size <= sizeMost) {
				break
			}
			*v = int64(n * u.size)
			return nil
		}
		return errors.New("want bytes from 0 to 1 PiB, such as 1500, 32MiB or 2.5MB")
	}
}

func textVar(v *string, what string) func(string) error {
	return func(s string) error {
		if s == "" {
			return fmt.Errorf("want %s", what)
		}
		*v = s
		return nil
	}
}

func timeVar(v *time.Duration) func(string) error {
	const most = 5 * time.Second
	return func(s string) error {
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 || d > most {
			return fmt.Errorf("want 0 to %v, such as 60ms", most)
		}
		*v = d
		return nil
	}
}

func intVar(v *int, least, most int) func(string) error {
	return func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			return fmt.Errorf("want %d to %d", least, most)
		}
		*v = n
		return nil
	}
}

func percentVar(v *float64) func(string) error {
	return func(s string) error {
		n, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
		if err != nil || !(n >= 0 && n < 90) {
			return errors.New("want at least 0 and less than 90 percent")
		}
		*v = n
		return nil
	}
}

func shardsVar(data, parity *int) func(string) error {
	return func(s string) error {
		d, p, _ := strings.Cut(s, "/")
		var errs [2]error
		*data, errs[0] = strconv.Atoi(d)
		*parity, errs[1] = strconv.Atoi(p)
		if errors.Join(errs[:]...) != nil || *data < 1 || *parity < 1 {
			return errors.New("want data/parity, both at least 1, such as 10/3")
		}
		return nil
	}
}
