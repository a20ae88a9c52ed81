package kcp

import (
	"bytes"
	"io"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// New counters come after those that were there, so that columns of a log stay what they were.
func TestSnmpColumns(t *testing.T) {
	want := []string{"OutErrs", "FECFullShardSet", "FECShardSet", "FECShardMin", "RingBufferSndQueue",
		"RingBufferRcvQueue", "RingBufferSndBuffer", "OOBPackets"}
	header := new(Snmp).Header()
	if got := header[len(publishedCounters):]; !reflect.DeepEqual(got[:len(want)], want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := header[:len(publishedCounters)]; !reflect.DeepEqual(got, publishedCounters) {
		t.Errorf("the first columns are %v", got)
	}
}

// What the ring buffers' gauges say is what sessions hold, and nothing when they have ended.
func TestSnmpRingBuffers(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * millisecond}, func(w *world) {
		cfg := w.config(nil, 0, 0)
		cfg.sndWnd, cfg.rcvWnd = 100, 8
		gauges := func(where string, sndQueue, sndBuffer, rcvQueue uint64) {
			w.Helper()
			w.awaitIdle()
			c := w.snmp.Copy()
			if c.RingBufferSndQueue != sndQueue || c.RingBufferSndBuffer != sndBuffer || c.RingBufferRcvQueue != rcvQueue {
				w.Errorf("%s: %d never sent, %d not acknowledged, %d not read; want %d, %d, %d", where,
					int64(c.RingBufferSndQueue), int64(c.RingBufferSndBuffer), int64(c.RingBufferRcvQueue), sndQueue, sndBuffer, rcvQueue)
			}
		}
		client, server := w.pair(cfg)
		gauges("idle", 0, 0, 0)
		for range 20 {
			client.Write([]byte("message"))
		}
		gauges("a reader that does not read", 12, 0, 8)
		server.Write([]byte("message"))
		gauges("both directions", 12, 0, 9)
		w.snmp.Reset()
		gauges("after Reset", 12, 0, 9)
		io.ReadFull(client, make([]byte, 7))
		gauges("one is read, late", 12, 0, 8)
		io.ReadFull(server, make([]byte, 19*7))
		gauges("nearly all is read", 0, 0, 1)
		server.TryRead(make([]byte, 7))
		gauges("all is read", 0, 0, 0)

		w.watch(func(_, to netip.AddrPort, _ []byte) bool { return to.Port() != 2000 })
		client.Write([]byte("lost"))
		gauges("not acknowledged", 0, 1, 0)
		client.Write([]byte("lost"))
		server.Write([]byte("not read"))
		gauges("neither is an answer", 0, 3, 1)
		client.Abort()
		server.Abort()
		gauges("aborted", 0, 0, 0)
	})
}

// Sessions that end in any way leave nothing in the gauges.
func TestSnmpGaugesAfterEnds(t *testing.T) {
	for seed := range uint64(10) {
		virtualSeed(t, testSeed+seed, netem.Path{Delay: 10 * millisecond, Loss: 0.2}, func(w *world) {
			rnd := seeded(seed, 0x9a)
			client, server := w.pair(inGroups(w.config(nil, 4, 2)))
			for _, s := range []*UDPSession{client, server} {
				s.SetUserTimeout(10 * second)
				go s.Write(random(seed, rnd.IntN(300_000)))
			}
			go io.CopyN(io.Discard, server, int64(rnd.IntN(100_000)))
			w.sleep(time.Duration(rnd.IntN(1000)) * millisecond)
			for _, s := range []*UDPSession{client, server} {
				switch rnd.IntN(4) {
				case 0:
					s.vanish()
				case 1:
					s.Abort()
				}
				s.Close()
			}
			w.sleep(time.Minute)
			c := w.snmp.Copy()
			if n := c.RingBufferSndQueue | c.RingBufferRcvQueue | c.RingBufferSndBuffer | c.FECShardSet; n != 0 {
				w.Errorf("left: %+v", *c)
			}
		})
	}
}

// FEC's gauges and counter, and that of out-of-band datagrams.
func TestSnmpShardSets(t *testing.T) {
	virtual(t, netem.Path{Delay: 10 * millisecond}, func(w *world) {
		client, server := w.pair(inGroups(w.config(nil, 4, 2)))
		w.check(client.SetMinParity(2))
		w.check(server.SetMinParity(2))
		for range 100 { // many groups, of which each is complete
			client.Write([]byte("message"))
			server.Read(make([]byte, 100))
		}
		w.awaitIdle()
		st := w.snmp.Copy()
		if st.FECFullShardSet < 20 || st.FECRecovered != 0 {
			w.Errorf("%d groups complete, %d rebuilt", st.FECFullShardSet, st.FECRecovered)
		}

		w.watch(func(from, _ netip.AddrPort, b []byte) bool { // no parity any more, and no answers
			return from.Port() != 2000 && !bytes.Contains(b[:6], []byte{0xf2, 0})
		})
		client.startGroup()
		_, seqid := client.numbers()
		client.Write([]byte("message"))
		w.sleep(50 * millisecond)
		st = w.snmp.Copy()
		if st.FECShardSet == 0 || st.FECShardMin > uint64(seqid) || st.FECShardMin == 0 {
			w.Errorf("%d groups are open, the oldest at %d; one has begun at %d", st.FECShardSet, st.FECShardMin, seqid)
		}
		w.watch(func(_, _ netip.AddrPort, b []byte) bool { return true })

		before := w.snmp.Copy().OOBPackets
		for range 3 { // nobody takes them
			w.check(client.SendOOB([]byte("beside")))
		}
		w.check(server.SetOOBHandler(func([]byte) {}))
		w.check(client.SendOOB([]byte("beside")))
		w.awaitIdle()
		if n := w.snmp.Copy().OOBPackets - before; n != 4 {
			w.Errorf("%d out-of-band datagrams, want 4", n)
		}
		closeAll(client, server)
		w.sleep(10 * second)
		st = w.snmp.Copy()
		if st.FECShardSet != 0 || st.FECShardMin != 0 {
			w.Errorf("%d groups are open, the oldest at %d, after all", st.FECShardSet, st.FECShardMin)
		}
	})
}
