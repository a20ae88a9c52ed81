package kcp

import (
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// tokenBucket is a Bucket as programs have them: it goes into debt, and says how long that lasts.
type tokenBucket struct {
	mu       sync.Mutex
	rate     float64 // tokens a second
	capacity float64
	tokens   float64
	at       time.Time
	taken    int64
}

func newTokenBucket(rate, capacity float64) *tokenBucket {
	return &tokenBucket{rate: rate, capacity: capacity, tokens: capacity, at: time.Now()}
}

func (b *tokenBucket) Take(count int64) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.tokens = min(b.tokens+now.Sub(b.at).Seconds()*b.rate, b.capacity)
	b.at = now
	b.tokens -= float64(count)
	b.taken += count
	return time.Duration(max(0, -b.tokens) / b.rate * float64(time.Second))
}

// steadyBucket keeps no account: each datagram takes its time.
type steadyBucket float64

func (b steadyBucket) Take(count int64) time.Duration {
	return time.Duration(float64(count) / float64(b) * float64(time.Second))
}

// The rate is the bucket's, or a lower one that SetRateLimit asks for; with ciphers, FEC and copies it
// is that of all bytes on the wire.
func TestBucketRate(t *testing.T) {
	const rate, size = 500_000, 3 << 20
	for _, tt := range []struct {
		name       string
		bucket     func() Bucket
		limit      uint32
		fec        bool
		copies     int
		rate, over float64 // expected, with the tolerance beyond it
	}{
		{"bucket", func() Bucket { return newTokenBucket(rate, 10_000) }, 0, false, 0, rate, 0.005},
		{"steady", func() Bucket { return steadyBucket(rate) }, 0, false, 0, rate, 0.005},
		{"limit above", func() Bucket { return newTokenBucket(rate, 10_000) }, 2 * rate, false, 0, rate, 0.005},
		{"limit below", func() Bucket { return newTokenBucket(rate, 10_000) }, rate / 2, false, 0, rate / 2, 0.01},
		{"FEC", func() Bucket { return newTokenBucket(rate, 10_000) }, 0, true, 0, rate, 0.005},
		{"copies", func() Bucket { return newTokenBucket(rate, 10_000) }, 0, false, 1, rate, 0.01},
		{"without capacity", func() Bucket { return newTokenBucket(rate, 0) }, 0, false, 0, rate, 0.005},
	} {
		t.Run(tt.name, func(t *testing.T) {
			virtual(t, netem.Path{Delay: 10 * millisecond}, func(w *world) {
				data, parity := 0, 0
				if tt.fec {
					data, parity = 4, 2
				}
				client, server := w.pair(w.config(nil, data, parity))
				if tt.fec {
					w.check(client.SetMinParity(parity))
				}
				lowLatency(256, client, server)
				client.SetDUP(tt.copies)
				client.SetRateLimit(tt.limit)
				client.SetBucket(tt.bucket())
				start, before := time.Now(), client.Stats().WireBytesSent
				if err := carry(client, server, size); err != nil {
					w.Fatal(err)
				}
				burst := 10_000 + 2*IKCP_MTU_DEF // what may go without a wait, and one datagram before it
				got := float64(int(client.Stats().WireBytesSent-before)-burst) / time.Since(start).Seconds()
				if got > tt.rate*(1+tt.over) || got < 0.97*tt.rate {
					w.Errorf("%.0f bytes a second, want %.0f", got, tt.rate)
				}
				closeAll(client, server)
			})
		})
	}
}

// Several sessions share a bucket, and each gets its share.
func TestBucketShared(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * millisecond}, func(w *world) {
		const sessions, rate, size = 5, 1_000_000, 1 << 20
		cfg := w.config(nil, 0, 0)
		l := w.listen(cfg, "10.0.0.2:2000")
		bucket := newTokenBucket(rate, 10_000)
		var wg sync.WaitGroup
		start := time.Now()
		for range sessions {
			s := w.dial(cfg, l)
			s.SetBucket(bucket)
			lowLatency(256, s)
			go io.Copy(s, newZeros(size))
			peer, err := l.AcceptKCP()
			if err != nil {
				w.Fatal(err)
			}
			wg.Go(func() {
				if _, err := io.CopyN(io.Discard, peer, size); err != nil {
					w.Error(err)
				}
				if took := time.Since(start).Seconds(); took < 0.8*sessions*size/rate {
					w.Errorf("one is done after %.1f s, all of them need %.1f", took, float64(sessions*size)/rate)
				}
				closeAll(s, peer)
			})
		}
		wg.Wait()
		if took := time.Since(start).Seconds(); took > 1.1*sessions*size/rate {
			w.Errorf("%d bytes in %.1f s", sessions*size, took)
		}
		l.Close()
	})
}

func newZeros(n int64) io.Reader { return io.LimitReader(zeros{}, n) }

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// hourly lets one datagram an hour pass.
type hourly struct{}

func (hourly) Take(int64) time.Duration { return time.Hour }

// While a bucket keeps data back nobody waits but it: neither a caller, nor a timer, nor an
// acknowledgement. It goes on as soon as the bucket is gone.
func TestBucketBlocksNobody(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * millisecond}, func(w *world) {
		client, server := w.pair(w.config(nil, 0, 0)) // one timer goroutine for both
		w.awaitIdle()
		server.SetBucket(hourly{})
		start := time.Now()
		for range 3 {
			server.Write([]byte("answer"))
		}
		server.Stats()
		if time.Since(start) != 0 {
			w.Error("a caller has waited")
		}
		synctest.Wait()
		start = time.Now()
		w.check(carry(client, server, 100_000))
		if took := time.Since(start); took > second {
			w.Errorf("the other direction took %v", took)
		}
		w.sleep(time.Minute)
		if st := server.Stats(); st.Unacknowledged != 2 {
			w.Errorf("%d segments wait, want 2", st.Unacknowledged)
		}
		if st := client.Stats(); st.Unacknowledged != 0 {
			w.Errorf("%d segments of the client's are not acknowledged", st.Unacknowledged)
		}
		server.SetBucket(nil)
		w.sleep(50 * millisecond)
		if st := server.Stats(); st.Unacknowledged != 0 {
			w.Errorf("%d segments wait without a bucket", st.Unacknowledged)
		}
		server.SetBucket((*tokenBucket)(nil)) // after an error that was ignored
		go func() { io.CopyN(server, server, 5) }()
		if n, err := io.CopyN(io.Discard, client, 3*6); n != 18 || err != nil { // what was kept back
			w.Errorf("%d bytes, %v", n, err)
		}
		w.check(ask(client, "works"))
		closeAll(client, server)
	})
}

// What a bucket is asked for are the bytes on the wire, datagram by datagram.
func TestBucketTakesDatagrams(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * millisecond, Loss: 0.1}, func(w *world) {
		cfg := w.config(mustCrypt(t, cipherSpecs[0], make([]byte, cipherSpecs[0].keySize)), 4, 2)
		client, server := w.pair(cfg)
		w.awaitIdle()
		before := client.Stats().WireBytesSent
		bucket := newTokenBucket(1e9, 1e9)
		client.SetBucket(bucket)
		w.check(exchange(client, server, 300_000))
		w.check(client.SendOOB([]byte("beside")))
		w.awaitIdle()
		if sent := client.Stats().WireBytesSent - before; uint64(bucket.taken) != sent {
			w.Errorf("%d bytes taken, %d sent", bucket.taken, sent)
		}
		closeAll(client, server)
	})
}

// Small messages share datagrams also where a bucket makes them wait.
func TestBucketFillsDatagrams(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * millisecond}, func(w *world) {
		client, server := w.pair(w.config(nil, 0, 0))
		lowLatency(1024, client, server)
		w.awaitIdle()
		client.SetBucket(newTokenBucket(100_000, 0))
		before := client.Stats()
		for i := range 500 {
			fmt.Fprintf(client, "%076d", i)
		}
		for i := range 500 {
			b := make([]byte, 100)
			if n, err := server.Read(b); err != nil || string(b[:n]) != fmt.Sprintf("%076d", i) {
				w.Fatalf("message %d: %q, %v", i, b[:n], err)
			}
		}
		after := client.Stats()
		if n := after.DatagramsSent - before.DatagramsSent; n > 60 { // 36 full ones
			w.Errorf("%d datagrams for 500 messages of 100 bytes, headers included", n)
		}
		closeAll(client, server)
	})
}
