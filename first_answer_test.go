package kcp

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// firstAnswer is a client that nobody knows, what it asks for, and the path to it.
type firstAnswer struct {
	rtt             time.Duration
	loss            float64
	request, answer int
	nodelay, nc     int
	cipher          string
	shards          int
	deployed        bool          // the client is
	limit           bool          // ListenConfig.LimitAmplification
	think           time.Duration // that the server takes for the answer
}

func (f *firstAnswer) String() string {
	return fmt.Sprintf("rtt %v, loss %.0f%%, %d for %d bytes, nodelay %d, nc %d, %s, fec %d, deployed %t", f.rtt, 100*f.loss,
		f.answer, f.request, f.nodelay, f.nc, f.cipher, f.shards, f.deployed)
}

// drawFirstAnswer draws a case. Sizes and round trips are even on a logarithmic scale.
func drawFirstAnswer(rnd *rand.Rand) (f firstAnswer) {
	between := func(low, high float64) float64 { return low * math.Pow(high/low, rnd.Float64()) }
	f.rtt = time.Duration(between(2, 600) * float64(time.Millisecond)).Round(time.Millisecond)
	f.loss = max(0, rnd.Float64()*0.4-0.1)
	f.request, f.answer = int(between(100, 200_000)), int(between(100, 200_000))
	f.nodelay, f.nc = rnd.IntN(2), rnd.IntN(2)
	f.cipher = []string{"plain", "aes", "gcm"}[rnd.IntN(3)]
	f.shards = 10 * rnd.IntN(2)
	f.deployed = rnd.IntN(2) == 0
	return f
}

// run returns how long the client waits for the whole answer, and whether the server has asked for proof
// that the client receives. validated says that it had that from the beginning.
func (f *firstAnswer) run(t *testing.T, seed uint64, validated bool) (took time.Duration, asked bool) {
	virtualSeed(t, seed, netem.Path{Delay: f.rtt / 2, Loss: f.loss}, func(w *world) {
		cfg := w.config(newCrypt(t, f.cipher), f.shards, f.shards/3)
		cfg.noDelay = [4]int{f.nodelay, 10 + 90*(1-f.nodelay), 2, f.nc}
		cfg.stream, cfg.limitAmplification = true, f.limit
		l := w.listen(cfg, "10.0.0.2:2000")
		client := *cfg
		if f.deployed {
			client.caps = 0
		}
		c := w.dial(&client, l)
		go func() {
			s, err := l.AcceptKCP()
			if err != nil {
				return
			}
			if validated {
				s.mu.Lock()
				s.core.addressValidated()
				s.mu.Unlock()
			}
			if _, err := io.ReadFull(s, make([]byte, f.request)); err == nil {
				time.Sleep(f.think)
				s.Write(make([]byte, f.answer))
			}
		}()
		start := time.Now()
		c.Write(make([]byte, f.request))
		c.SetReadDeadline(start.Add(time.Hour))
		if _, err := io.ReadFull(c, make([]byte, f.answer)); err != nil {
			t.Errorf("%v: %v", f, err)
		}
		took = time.Since(start)
		for _, s := range l.known() {
			s.mu.Lock()
			asked = s.core.address.wanted
			s.mu.Unlock()
			s.Abort()
		}
		c.Abort()
		l.Close()
	})
	return took, asked
}

// promised says whether the bound of what goes to strangers is not to make the answer slower: where a
// congestion window is, or the answer is not long. Without a congestion window a first flight may be
// longer than the bound; what is beyond has to wait for the first acknowledgement.
func (f *firstAnswer) promised() bool { return f.nc == 0 || f.answer <= 10_000 }

// compare returns how long the answer takes with and without the bound, as the medians of some runs.
func (f *firstAnswer) compare(t *testing.T, seed uint64) (with, without time.Duration) {
	const runs = 7
	var a, b [runs]time.Duration
	for i := range uint64(runs) {
		a[i], _ = f.run(t, seed+i, false)
		b[i], _ = f.run(t, seed+i, true)
	}
	slices.Sort(a[:])
	slices.Sort(b[:])
	return a[runs/2], b[runs/2]
}

// A client that nobody knows does not wait longer for its first answer because it might be a stranger.
// Where the server has not even asked for proof, the bound has changed nothing.
func TestFirstAnswer(t *testing.T) {
	paths := lighter(240, 40)
	noteSeed(t)
	rnd := rand.New(rand.NewPCG(testSeed, 31))
	same, promised, longer := 0, 0, 0
	var with, without time.Duration
	for range paths {
		f := drawFirstAnswer(rnd)
		seed := rnd.Uint64()
		if f.promised() {
			promised++
		}
		if _, asked := f.run(t, seed, false); !asked {
			same++
			continue
		}
		a, b := f.compare(t, seed)
		switch {
		case !f.promised():
			if longer++; f.loss == 0 && a > b+f.rtt+time.Millisecond {
				t.Errorf("%v instead of %v: %v", a, b, &f)
			}
			continue
		case float64(a) > 1.2*float64(b)+float64(2*time.Millisecond):
			t.Errorf("%v instead of %v: %v", a, b, &f)
		}
		with, without = with+a, without+b
	}
	t.Logf("nothing changed on %d of %d paths; %d long answers without a congestion window; the others: %v instead of %v",
		same, paths, longer, with, without)
	if float64(with) > 1.05*float64(without) {
		t.Errorf("%v instead of %v", with, without)
	}
	if promised < paths/2 || longer == 0 {
		t.Errorf("%d of %d paths, %d long answers", promised, paths, longer)
	}
}

// The strict bound costs a round trip, and none where the server takes as long for its answer.
func TestFirstAnswerLimited(t *testing.T) {
	for _, deployed := range []bool{false, true} {
		for _, cipher := range []string{"plain", "aes", "gcm"} {
			f := firstAnswer{rtt: 60 * time.Millisecond, request: 300, answer: 10_000, cipher: cipher, deployed: deployed, limit: true}
			took, _ := f.run(t, testSeed, false)
			if want := 2 * f.rtt; took < want || took > want+5*time.Millisecond {
				t.Errorf("%v: %v", &f, took)
			}
			f.think = f.rtt
			want := f.think + f.rtt
			if cipher != "plain" && !deployed { // a sealed session's first data waits for the handshake
				want += f.rtt
			}
			if took, _ = f.run(t, testSeed, false); took < want || took > want+5*time.Millisecond {
				t.Errorf("%v: %v, of which the server takes %v", &f, took, f.think)
			}
		}
	}
}

// Where much is lost, it never stops for good.
func TestFirstAnswerLimitedLossy(t *testing.T) {
	paths := lighter(100, 20)
	noteSeed(t)
	rnd := rand.New(rand.NewPCG(testSeed, 32))
	for range paths {
		f := drawFirstAnswer(rnd)
		f.limit = true
		if took, _ := f.run(t, rnd.Uint64(), false); took > time.Minute {
			t.Errorf("%v: %v", &f, took)
		}
	}
}
