package kcp

import (
	"runtime"

	"github.com/xtaci/kcp-go/v5/internal/netem"

	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// attackGroup makes the shards of a group of code: what follows type in a FEC datagram. Each data
// shard holds one empty... a WASK of conv.
func attackGroup(t testing.TB, code *fecCode, conv uint32) [][]byte {
	t.Helper()
	body := segment(conv, IKCP_CMD_WASK, 0, nil)
	shards := make([][]byte, code.shards())
	for i := range shards {
		shards[i] = make([]byte, fecSizeField+len(body))
		if i < code.data {
			binary.LittleEndian.PutUint16(shards[i], uint16(len(shards[i])))
			copy(shards[i][fecSizeField:], body)
			binary.LittleEndian.PutUint32(shards[i][fecSizeField+8:], uint32(i))
		}
	}
	if err := code.rs.Encode(shards); err != nil {
		t.Fatal(err)
	}
	return shards
}

// provenDecoder returns a decoder that has proven code, and the seqid of the next group.
func provenDecoder(t testing.TB, code *fecCode) (d *fecDecoder, add func(base uint32, without map[int]bool), next uint32) {
	pool := &packetPool{parent: &packets}
	d = newFECDecoder(nil, false, pool, new(Snmp))
	shards := attackGroup(t, code, 1)
	add = func(base uint32, without map[int]bool) {
		for i, b := range shards {
			if without[i] {
				continue
			}
			kind := uint16(fecTypeData)
			if i >= code.data {
				kind = fecTypeParity
			}
			d.add(fecHeader{base + uint32(i), kind, uint16(len(b))}, b, func([]byte) {})
		}
	}
	for i := 0; !d.proven; i++ {
		add(next, nil)
		next += code.shards()
		if i > 10 {
			time.Sleep(20 * time.Millisecond) // the code is made in the background
		}
		if i > 100 {
			t.Fatal("not proven")
		}
	}
	return d, add, next
}

// A peer that loses other shards of each group makes nothing grow that stays when the session is
// gone.
func TestFECInversionCache(t *testing.T) {
	for _, c := range []fecCounts{{10, 3}, {20, 10}, {64, 64}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			code, err := newFECCode(c.data, c.parity)
			if err != nil {
				t.Fatal(err)
			}
			d, add, next := provenDecoder(t, code)
			rnd := rand.New(rand.NewPCG(1, 2))
			const groups = 300
			before := heapInUse()
			start := time.Now()
			bytes := 0
			for range groups {
				without := make(map[int]bool)
				for _, i := range rnd.Perm(c.data)[:min(c.parity, c.data/2)] {
					without[i] = true
				}
				add(next, without)
				next += code.shards()
				bytes += (c.data + c.parity - len(without)) * (fecHeaderSize + IKCP_OVERHEAD)
			}
			took := time.Since(start)
			d.release()
			held := heapInUse() - before
			t.Logf("%v: %d groups, %d kB on the wire: %d kB stay (%d bytes a group), %v a group, %v a datagram",
				c, groups, bytes>>10, held>>10, held/int64(groups), took/time.Duration(groups),
				took/time.Duration(groups*(c.data+c.parity)))
			if held > 1<<20 {
				t.Errorf("%d kB stay after %d groups", held>>10, groups)
			}
			_ = d
		})
	}
}

// fecDatagram frames a shard.
func framedShard(seqid uint32, kind uint16, shard []byte) []byte {
	b := make([]byte, fecShardStart, fecShardStart+len(shard))
	putFECHeader(append(b, 0, 0), seqid, kind)
	return append(b, shard...)
}

// The same through a listener without FEC and without a cipher.
func TestFECInversionCacheListener(t *testing.T) {
	const groups = 150
	var code *fecCode
	var held int64
	virtual(t, netem.Path{}, func(w *world) {
		l := w.listen(w.config(nil, 0, 0), "10.0.0.2:2000")
		go func() {
			for {
				if _, err := l.AcceptKCP(); err != nil {
					return
				}
			}
		}()
		c, err := reedsolomonCode(130, 120)
		if err != nil {
			t.Fatal(err)
		}
		code = c
		shards := attackGroup(t, code, 1)
		peer := w.bind("10.0.0.1:1")
		go func() { // the answers
			b := make([]byte, 2000)
			for {
				if _, _, err := peer.ReadFrom(b); err != nil {
					return
				}
			}
		}()
		peer.WriteTo(segment(1, IKCP_CMD_PUSH, 0, []byte("x")), l.Addr())
		w.awaitIdle()
		rnd := rand.New(rand.NewPCG(1, 2))
		send := func(base uint32, without map[int]bool) {
			for i, b := range shards {
				kind := uint16(fecTypeData)
				if i >= code.data {
					kind = fecTypeParity
				}
				if !without[i] {
					peer.WriteTo(framedShard(base+uint32(i), kind, b), l.Addr())
				}
			}
			w.sleep(10 * time.Millisecond)
		}
		next := uint32(0)
		for range 6 {
			send(next, nil)
			next += code.shards()
		}
		before := heapInUse()
		start := w.snmp.Copy().FECRecovered
		for range groups {
			without := make(map[int]bool)
			for _, i := range rnd.Perm(code.data)[:code.parity] {
				without[i] = true
			}
			send(next, without)
			next += code.shards()
		}
		t.Logf("%d rebuilt", w.snmp.Copy().FECRecovered-start)
		l.Close()
		w.sleep(time.Minute)
		held = heapInUse() - before
		peer.WriteTo(segment(1, cmdRST, 0, nil), l.Addr())
		peer.Close()
	})
	runtime.GC()
	t.Logf("%d kB stay for %d groups, %d bytes each", held>>10, groups, held/groups)
	if held > 1<<20 {
		t.Errorf("%d kB stay after %d groups", held>>10, groups)
	}
}

// reedsolomonCode makes a code that is not in the cache.
func reedsolomonCode(data, parity int) (*fecCode, error) {
	var cc fecCodeCache
	return cc.make(fecCounts{data, parity})
}
