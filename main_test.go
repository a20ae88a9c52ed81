package kcp

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// testSeed seeds every random choice of the tests. It is 1 unless seedVariable sets another one, so
// runs are the same every time, as far as goroutines run in the same order. What the kernel, the
// scheduler and crypto/rand decide in tests of real sockets is beyond it, and so are nonces, and
// the seeds that NewBBR draws.
var testSeed = uint64(1)

const (
	// seedVariable is the environment variable that sets testSeed.
	seedVariable = "KCP_TEST_SEED"
	// raceVariable is the environment variable that, if not empty, wants the race detector to be
	// on.
	raceVariable = "KCP_WANT_RACE"
	// socketsVariable is the environment variable that, if not empty, leaves out what runs in virtual
	// time over the emulated network: all that is the same whatever reads and writes sockets.
	socketsVariable = "KCP_TEST_SOCKETS"
)

// socketsOnly is whether socketsVariable is set.
var socketsOnly = os.Getenv(socketsVariable) != ""

// TestMain checks once for leaks, when everything has run and what lingers has gone.
func TestMain(m *testing.M) {
	if err := readEnvironment(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	alignEpoch()
	code := m.Run()
	if code == 0 {
		left := goroutines()
		for end := time.Now().Add(2 * closeTimeout); left != nil && time.Now().Before(end); left = goroutines() {
			time.Sleep(time.Millisecond)
		}
		if left != nil {
			fmt.Fprintf(os.Stderr, "goroutines that did not end:\n\n%s\n", strings.Join(left, "\n\n"))
			for _, task := range SystemTimedSched.describe() {
				fmt.Fprintln(os.Stderr, "still scheduled:", task)
			}
			code = 1
		}
	}
	if code != 0 {
		fmt.Fprintln(os.Stderr, seedNote())
	}
	os.Exit(code)
}

// goroutines returns the stacks of all goroutines but the caller's and the one of os/signal, which
// stays once somebody has asked for signals, as fuzzing does. It returns nil if there are none.
func goroutines() []string {
	buf := make([]byte, 1<<16)
	n := runtime.Stack(buf, true)
	for ; n == len(buf); n = runtime.Stack(buf, true) { // it may have more
		buf = make([]byte, 2*n)
	}
	stacks := strings.Split(strings.TrimSpace(string(buf[:n])), "\n\n")[1:] // the caller's comes first
	stacks = slices.DeleteFunc(stacks, func(s string) bool { return strings.Contains(s, "\nos/signal.") })
	if len(stacks) == 0 {
		return nil
	}
	return stacks
}

func readEnvironment() (err error) {
	if s := os.Getenv(seedVariable); s != "" {
		if testSeed, err = strconv.ParseUint(s, 10, 64); err != nil {
			return fmt.Errorf("%s: %w", seedVariable, err)
		}
	}
	if os.Getenv(raceVariable) != "" && !raceEnabled {
		return fmt.Errorf("%s is set, and the race detector is off", raceVariable)
	}
	return nil
}

// alignEpoch moves the epoch, by less than 50 days, so that the clock reads the same at the start
// of every synctest bubble, but for a multiple of 2³² ms. Otherwise it depends on when the process
// started, and with it what its low bits decide: the seed of the congestion control and the ts of
// segments.
func alignEpoch() {
	const period = 1 << 32 * int64(time.Millisecond) // also a multiple of 2³² µs, and of 2³² ns
	bubble := time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)
	epoch = epoch.Add(-time.Duration(int64(epoch.Round(0).Sub(bubble)) % period))
}

// seedNote says how to repeat what has failed.
func seedNote() string {
	return fmt.Sprintf("random choices were seeded with %d: to repeat them, set %s=%[1]d", testSeed, seedVariable)
}

// noteSeed logs the seed if the test fails.
func noteSeed(t testing.TB) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(seedNote())
		}
	})
}

// seeded returns a generator that depends on its arguments and on testSeed. A test that needs
// several gives them different arguments.
func seeded(a, b uint64) *rand.Rand { return rand.New(rand.NewPCG(a+testSeed-1, b)) }

// convs draws conversation ids, which seed congestion control, too.
type convs struct {
	mu  sync.Mutex
	rnd *rand.Rand
}

func newConvs(seed uint64) *convs { return &convs{rnd: rand.New(rand.NewPCG(seed, 0xc017))} }

func (c *convs) next() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rnd.Uint32()
}

// lighter returns how much of something a test does: less under the race detector, where everything
// takes ten times as long.
func lighter[T any](plain, race T) T {
	if raceEnabled {
		return race
	}
	return plain
}
