package kcp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// capture is one session of a deployed client, as its datagrams and as what they say.
type capture struct {
	Cipher       string
	Key          hexBytes
	Conv         uint32
	DataShards   int
	ParityShards int
	Messages     []hexBytes
	Datagrams    []hexBytes

	sealOff bool // the listener seals no session
}

func loadCaptures(t *testing.T) []capture {
	t.Helper()
	data, err := os.ReadFile("testdata/sessions.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []capture }
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) == 0 {
		t.Fatal("there are none")
	}
	return file.Vectors
}

func (v *capture) String() string {
	return fmt.Sprintf("%s/fec=%d+%d", v.Cipher, v.DataShards, v.ParityShards)
}

// crypt returns the cipher that v was captured with.
func (v *capture) crypt(t *testing.T) BlockCrypt {
	t.Helper()
	switch v.Cipher {
	case "":
		return nil
	case "aes-128-gcm":
		block, err := NewAESGCMCrypt(v.Key)
		if err != nil {
			t.Fatal(err)
		}
		return block
	}
	i := slices.IndexFunc(cipherSpecs, func(s cipherSpec) bool { return s.name == v.Cipher })
	if i < 0 {
		t.Fatalf("no cipher is called %s", v.Cipher)
	}
	return mustCrypt(t, cipherSpecs[i], v.Key)
}

// replay sends the datagrams but those at the positions without to a listener with so many shards,
// and expects the first n messages, no more.
func (v *capture) replay(t *testing.T, shards [2]int, without []int, n int) {
	t.Helper()
	virtual(t, netem.Path{Delay: time.Millisecond}, func(w *world) {
		cfg := w.config(v.crypt(t), shards[0], shards[1])
		if v.sealOff {
			unsealed(cfg)
		}
		l := w.listen(cfg, "10.0.0.2:2000")
		from := w.bind("10.0.0.1:1000")
		for i, d := range v.Datagrams {
			if !slices.Contains(without, i) {
				from.WriteTo(d, l.Addr())
			}
		}
		s, err := l.AcceptKCP()
		if err != nil {
			t.Fatal(err)
		}
		if s.GetConv() != v.Conv {
			t.Errorf("conv %#x, want %#x", s.GetConv(), v.Conv)
		}
		s.SetReadDeadline(time.Now().Add(time.Second))
		buf := make([]byte, mtuLimit)
		for i, want := range v.Messages[:n] {
			m, err := s.Read(buf)
			if err != nil || !bytes.Equal(buf[:m], want) {
				t.Fatalf("without %v: message %d is %x, %v, want %x", without, i, buf[:m], err, want)
			}
		}
		if m, err := s.Read(buf); err == nil {
			t.Errorf("without %v: message %d, of which too much was lost: %x", without, n, buf[:m])
		}
		closeAll(s, l)
	})
}

func TestCaptures(t *testing.T) {
	for _, v := range loadCaptures(t) {
		t.Run(v.String(), func(t *testing.T) {
			for _, shards := range [][2]int{{v.DataShards, v.ParityShards}, {0, 0}, {10, 3}, {1, 1}, {2, 3}} {
				v.replay(t, shards, nil, len(v.Messages))
			}
			v.sealOff = true
			v.replay(t, [2]int{v.DataShards, v.ParityShards}, nil, len(v.Messages))
		})
	}
}

// Any two of the first group of five may be lost: the second proves the shard counts, and the first
// is rebuilt. A listener that expects other shard counts learns the right ones from this group and
// the next, too late to rebuild it: what is lost then has to be sent again.
func TestCapturesWithLoss(t *testing.T) {
	for _, v := range loadCaptures(t) {
		if v.DataShards == 0 {
			continue
		}
		t.Run(v.String(), func(t *testing.T) {
			for i := range v.DataShards + v.ParityShards {
				for j := range i {
					without := []int{j, i}
					v.replay(t, [2]int{v.DataShards, v.ParityShards}, without, len(v.Messages))
					whole := len(v.Messages) // of messages before the first that is lost
					if j < v.DataShards {
						whole = j
					}
					for _, other := range [][2]int{{0, 0}, {10, 3}} {
						v.replay(t, other, without, whole)
					}
				}
			}
		})
	}
}

// One datagram of each group may be lost, always the same, where both ends have the same counts:
// no group then has to be whole for the counts to be proven.
func TestCapturesLossInEachGroup(t *testing.T) {
	for _, v := range loadCaptures(t) {
		if v.DataShards == 0 {
			continue
		}
		t.Run(v.String(), func(t *testing.T) {
			n := v.DataShards + v.ParityShards
			for i := range n {
				var without []int
				for at := i; at < len(v.Datagrams); at += n {
					without = append(without, at)
				}
				v.replay(t, [2]int{v.DataShards, v.ParityShards}, without, len(v.Messages))
			}
		})
	}
}
