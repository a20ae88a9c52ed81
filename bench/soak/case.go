package soak

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// A Case is what one process runs: a listener, clients that connect to it again and again, and what
// happens to them. Its seed and its index determine everything that is drawn. What is left out of it does
// not change what else is drawn, so a failure can be made smaller step by step.
type Case struct {
	Seed  uint64
	Index int
	// Slots bounds how many clients there are at a time, and Minutes how long it goes on; 0 is as drawn.
	Slots   int     `json:",omitempty"`
	Minutes float64 `json:",omitempty"`
	// Without names the features that are left out.
	Without []string `json:",omitempty"`
}

// The features of a case. Each case has some of them.
const (
	featWeather    = "weather"    // the path changes
	featPartitions = "partitions" // it is cut from time to time
	featFaults     = "faults"     // sockets fail
	featCorrupt    = "corrupt"    // bits flip, and strangers' datagrams arrive
	featReplays    = "replays"    // old datagrams arrive again, much later, also from elsewhere
	featStalls     = "stalls"     // processes get no processor
	featPush       = "push"       // sockets push what they receive
	featRestarts   = "restarts"   // of the listener's process
	featKills      = "kills"      // of clients, which may come back with the same port and conv
	featRebinds    = "rebinds"    // a NAT gives a client another address
	featSetters    = "setters"    // live sessions are tuned
	featDeadlines  = "deadlines"  // set and cleared
	featDatagrams  = "datagrams"  // beside the stream
	featOOB        = "oob"        // likewise
	featSlow       = "slow"       // readers pause
	featTry        = "try"        // TryRead, TryWrite, WriteTo, ReadFrom, WriteBuffers
	featAbrupt     = "abrupt"     // sessions end in bad weather, and without waiting
	featFEC        = "fec"
	featCipher     = "cipher"
	featSeal       = "seal" // sealed sessions, where there is a cipher or a key
	featDeployed   = "deployed"
	featProfile    = "profile" // settings other than the defaults
	featMessages   = "messages"
	featExpiry     = "expiry"    // messages that expire
	featBulk       = "bulk"      // writes of megabytes
	featTransport  = "transport" // clients share a socket, with a listener of their own
	featRoam       = "roam"      // sessions change their sockets
	featHalf       = "half"      // CloseRead and CloseWrite while the session goes on
	featMTU        = "mtu"       // paths become narrow, and how narrow is found
	featJumbo      = "jumbo"     // datagrams of up to 9000 bytes, where that is
	featSix        = "ipv6"
	featTrace      = "trace"  // tracers and loggers
	featLimits     = "limits" // of listeners
)

// features holds how likely each is.
var features = map[string]float64{
	featWeather: 0.8, featPartitions: 0.5, featFaults: 0.5, featCorrupt: 0.4, featReplays: 0.4, featStalls: 0.4,
	featPush: 0.3, featRestarts: 0.3, featKills: 0.4, featRebinds: 0.3, featSetters: 0.6, featDeadlines: 0.6,
	featDatagrams: 0.5, featOOB: 0.5, featSlow: 0.5, featTry: 0.5, featAbrupt: 0.5, featFEC: 0.5, featCipher: 0.7,
	featSeal: 0.7, featDeployed: 0.15, featProfile: 0.6, featMessages: 0.35, featExpiry: 0.6, featBulk: 0.3,
	featTransport: 0.4, featRoam: 0.4, featHalf: 0.4, featMTU: 0.5, featJumbo: 0.4, featSix: 0.3, featTrace: 0.2,
	featLimits: 0.3,
}

// rand returns a generator for what the arguments name.
func (c Case) rand(about ...any) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprint(h, c.Index, about)
	return rand.New(rand.NewPCG(c.Seed, h.Sum64()))
}

// has says whether the case has a feature.
func (c Case) has(feature string) bool {
	return c.rand("feature", feature).Float64() < features[feature] && !slices.Contains(c.Without, feature)
}

// all returns the features that the case has.
func (c Case) all() (list []string) {
	for f := range features {
		if c.has(f) {
			list = append(list, f)
		}
	}
	slices.Sort(list)
	return list
}

// slots returns how many clients there are at a time.
func (c Case) slots() int {
	n := 1 + c.rand("slots").IntN(6)
	if c.Slots > 0 {
		n = min(n, c.Slots)
	}
	return n
}

// length returns how long clients connect.
func (c Case) length() time.Duration {
	d := time.Duration((0.25 + 1.75*c.rand("length").Float64()) * float64(time.Hour))
	if c.Minutes > 0 {
		d = min(d, time.Duration(c.Minutes*float64(time.Minute)))
	}
	return d
}

// between returns a time between two, each order of magnitude as likely as the others.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return time.Duration(float64(least) * math.Pow(float64(most)/float64(least), r.Float64()))
}

// sized is between for a number.
func sized(r *rand.Rand, least, most int) int {
	return int(float64(least) * math.Pow(float64(most)/float64(least), r.Float64()))
}

func one[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func chance(r *rand.Rand, p float64) bool { return r.Float64() < p }
