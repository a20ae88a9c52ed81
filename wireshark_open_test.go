package kcp

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// Sealed datagrams are opened with a key log, in any epoch, with either cipher.
func TestWiresharkSealed(t *testing.T) {
	text, err := os.ReadFile("testdata/seal.json")
	var vectors []sealVector
	if err == nil {
		err = json.Unmarshal(text, &vectors)
	}
	if err != nil {
		t.Fatal(err)
	}
	var frames []frame
	var want []sealedVector
	log := "# a comment\nCLIENT_RANDOM of another protocol\n"
	for _, v := range vectors {
		secret, err := hex.DecodeString(v.PSK + v.ServerPublic)
		if err != nil {
			t.Fatal(err)
		}
		head := mustDerive(hkdf.Key(sha256.New, secret, nil, headLabel, headKeySize))
		for _, d := range v.Datagrams {
			b, err := hex.DecodeString(d.Datagram)
			if err != nil {
				t.Fatal(err)
			}
			frames, want = append(frames, testFrame(b)), append(want, d)
			log += fmt.Sprintf("KCP_SEALED %08x %08x %d %x %s\n", d.Index, v.Conv, d.Cipher, head, v.ToListener)
		}
	}
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, d := range dissect(t, frames, "-o", "kcp.keylog:"+file) {
		w := want[i]
		d.want(t, "sealed.index", fmt.Sprintf("0x%08x", w.Index))
		d.want(t, "sealed.number", strconv.FormatUint(w.Number, 10))
		d.want(t, "sealed.epoch", strconv.FormatUint(w.Number>>epochShift, 10))
		d.want(t, "sealed.conv", "00000063")
		d.want(t, "cipher", []string{sealGCM: "AES-256-GCM", sealChaCha: "ChaCha20-Poly1305"}[w.Cipher])
		d.want(t, "rest", "70:61:79:6c:6f:61:64") // no segments: "payload"
	}
}

// With the key of the cipher and a key log everything in a sealed session opens, from HELLO to the end.
func TestWiresharkKeyLog(t *testing.T) {
	for _, c := range []struct {
		name string
		with Settings
		key  PrivateKey
		arg  string
	}{
		{"cipher", Settings{Block: newCrypt(t, "aes"), DataShards: 4, ParityShards: 1}, PrivateKey{}, "kcp.keys:aes:" + hex.EncodeToString(random(1, 16))},
		{"listener's key", Settings{}, PrivateKey{8}, "kcp.keys:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			c.with.KeyLog = &log
			var frames []frame
			virtual(t, netem.Path{Delay: 20 * time.Millisecond, Loss: 0.05}, func(w *world) {
				l := w.listen(w.settle(c.with, c.key), "10.0.0.2:4000")
				w.captured(&frames)
				if c.key != (PrivateKey{}) {
					c.with.ServerKey = c.key.Public()
				}
				client := w.dial(w.settle(c.with, PrivateKey{}), l)
				client.Write(random(1, 20_000))
				server, err := l.AcceptKCP()
				w.check(err)
				_, err = io.ReadFull(server, make([]byte, 20_000))
				w.check(err)
				w.check(exchange(client, server, 10_000))
				closeAll(client, server, l)
			})
			file := filepath.Join(t.TempDir(), "keys")
			if err := os.WriteFile(file, log.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			sealed, convs, early := 0, make(map[string]int), 0
			for i, d := range dissect(t, frames, "-o", c.arg, "-o", "kcp.keylog:"+file) {
				for _, name := range []string{"unopened", "rest"} {
					if d.has(name) {
						t.Fatalf("frame %d: %v", i+1, d)
					}
				}
				if d.has("sealed.number") {
					sealed++
				}
				for _, conv := range d.get("conv") {
					convs[conv]++
				}
				early += len(d.get("early.first"))
			}
			if lines := bytes.Count(log.Bytes(), []byte("\n")); lines != 4 || sealed < len(frames)/2 || len(convs) != 1 || c.with.Block != nil && early == 0 {
				t.Errorf("%d lines, %d of %d datagrams sealed, %d with EARLY, conversations %v", lines, sealed, len(frames), early, convs)
			}
		})
	}
}

// trains joins datagrams that follow one another as a capture has them at a host with segmentation offload,
// where they are as long as the MTU or as one that was sent alone before.
func trains(frames []frame) (joined []frame) {
	known := map[int]bool{IKCP_MTU_DEF: true}
	first, last, n := 0, 0, 0 // of the newest packet: lengths of datagrams, and how many
	for _, f := range frames {
		size := len(f.data)
		if n > 0 && known[first] && last == first && size <= first {
			if p := &joined[len(joined)-1]; p.from == f.from && p.to == f.to {
				p.data = slices.Concat(p.data, f.data)
				last, n = size, n+1
				continue
			}
		}
		if n == 1 {
			known[first] = true
		}
		joined, first, last, n = append(joined, f), size, size, 1
	}
	return joined
}

// Packets of several datagrams are taken apart, under a cipher and with FEC.
func TestWiresharkTrains(t *testing.T) {
	var frames []frame
	virtual(t, netem.Path{Delay: 20 * time.Millisecond}, func(w *world) {
		cfg := unsealed(inGroups(w.config(newCrypt(t, "gcm"), 4, 2)))
		c, s := w.pair(cfg)
		w.captured(&frames)
		w.check(exchange(c, s, 15_000))
		closeAll(c, s)
	})
	joined := trains(frames)
	key := "kcp.keys:aes-gcm:" + hex.EncodeToString(random(1, 16))
	all := func(list []dissected) (fields []docField) {
		for _, d := range list {
			fields = append(fields, d.fields()...)
		}
		return fields
	}
	alone, together := all(dissect(t, frames, "-o", key)), all(dissect(t, joined, "-o", key))
	if len(joined) >= len(frames) || len(alone) < 200 {
		t.Errorf("%d datagrams in %d packets, %d fields", len(frames), len(joined), len(alone))
	}
	if !slices.Equal(alone, together) {
		t.Errorf("%d fields of datagrams alone, %d together", len(alone), len(together))
	}
}
