//go:build !kcpgeneric

package kcp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// outbounds makes datagrams of the given sizes; a negative size is one for the second of two peers.
func outbounds(sizes []int) []outbound {
	to := [2]destination{}
	var batch []outbound
	for _, n := range sizes {
		d := &to[0]
		if n < 0 {
			d, n = &to[1], -n
		}
		p := packets.get()
		p.data = p.mem[:n]
		batch = append(batch, outbound{p.data, p, d, nil})
	}
	return batch
}

func repeat(size, n int) []int { return slices.Repeat([]int{size}, n) }

func TestGSOTrain(t *testing.T) {
	for _, c := range []struct {
		name  string
		sizes []int
		want  []int // how the batch is cut into messages
	}{
		{"one", []int{100}, []int{1}},
		{"equal", repeat(1400, 5), []int{5}},
		{"a shorter one ends the train", []int{1400, 1400, 60, 60, 60}, []int{3, 2}},
		{"a longer one starts the next", []int{60, 1400, 1400}, []int{1, 2}},
		{"falling sizes", []int{3, 2, 1}, []int{2, 1}},
		{"two peers", []int{1400, -1400, -1400, 1400}, []int{1, 2, 1}},
		{"at most 64 segments", repeat(24, 130), []int{64, 64, 2}},
		{"at most a datagram's bytes", repeat(1400, 100), []int{46, 46, 8}},
		{"the last segment counts", append(repeat(1400, 46), 1200), []int{46, 1}},
		{"up to the last byte", append(repeat(1400, 46), 1107), []int{47}},
		{"a byte more", append(repeat(1400, 46), 1108), []int{46, 1}},
	} {
		var got []int
		for batch := outbounds(c.sizes); len(batch) > 0; {
			n := gsoTrain(batch)
			got = append(got, n)
			batch = batch[n:]
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestSplit(t *testing.T) {
	from := peerAddr{udp: netip.MustParseAddrPort("192.0.2.1:5")}
	for _, c := range []struct{ total, size, want, last int }{
		{100, 0, 1, 100},
		{0, 0, 1, 0},
		{100, 100, 1, 100},
		{101, 100, 2, 1},
		{4200, 1400, 3, 1400},
		{65507, 24, 2730, 11},
		{50, 1400, 1, 50}, // a size longer than what came is no harm
	} {
		data := random(1, c.total)
		in := split(nil, data, c.size, from)
		var whole []byte
		for _, d := range in {
			whole = append(whole, d.data...)
			if d.from != from {
				t.Errorf("%+v: from %v", c, d.from)
			}
		}
		if len(in) != c.want || len(in[len(in)-1].data) != c.last || !bytes.Equal(whole, data) {
			t.Errorf("%+v: %d datagrams, the last of %d bytes", c, len(in), len(in[len(in)-1].data))
		}
	}
}

// controlMessage returns a control message as the kernel lays it out.
func controlMessage(level, kind int32, data []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(data)))
	var c cmsgBuf
	c.putSegmentSize(0) // for the header's shape
	copy(b, c.b[:unix.CmsgLen(0)])
	at := unix.CmsgLen(0) - 8
	binary.NativeEndian.PutUint32(b[at:], uint32(level))
	binary.NativeEndian.PutUint32(b[at+4:], uint32(kind))
	if at == 8 {
		binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(len(data))))
	} else {
		binary.NativeEndian.PutUint32(b, uint32(unix.CmsgLen(len(data))))
	}
	copy(b[unix.CmsgLen(0):], data)
	return b
}

func TestParseControl(t *testing.T) {
	number := func(n int32) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(n)) }
	gro := controlMessage(unix.SOL_UDP, unix.UDP_GRO, number(1400))
	other := controlMessage(unix.SOL_SOCKET, unix.SCM_TIMESTAMP, make([]byte, 16))
	drops := controlMessage(unix.SOL_SOCKET, unix.SO_RXQ_OVFL, number(7))
	for _, c := range []struct {
		name  string
		b     []byte
		size  int
		drops uint32
	}{
		{"none", nil, 0, 0},
		{"alone", gro, 1400, 0},
		{"behind another", slices.Concat(other, gro), 1400, 0},
		{"only another", other, 0, 0},
		{"drops", drops, 0, 7},
		{"drops, then a size", slices.Concat(drops, gro), 1400, 7},
		{"a size, then drops", slices.Concat(gro, other, drops), 1400, 7},
		{"drops, cut short", slices.Concat(gro, drops[:unix.CmsgLen(2)]), 1400, 0},
		{"drops, too small", controlMessage(unix.SOL_SOCKET, unix.SO_RXQ_OVFL, []byte{1, 2}), 0, 0},
		{"cut short", gro[:unix.CmsgLen(2)], 0, 0},
		{"header cut short", gro[:5], 0, 0},
		{"negative", controlMessage(unix.SOL_UDP, unix.UDP_GRO, number(-1)), 0, 0},
		{"too small", controlMessage(unix.SOL_UDP, unix.UDP_GRO, []byte{1, 2}), 0, 0},
		{"length 0", make([]byte, unix.CmsgSpace(4)), 0, 0},
	} {
		if size, drops := parseControl(c.b); size != c.size || drops != c.drops {
			t.Errorf("%s: %d and %d drops, want %d and %d", c.name, size, drops, c.size, c.drops)
		}
	}
}

// socketPair returns two owned sockets on loopback, the first connected to the second.
func socketPair(t *testing.T) (from, to *socket) {
	t.Helper()
	b, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	a, err := net.DialUDP("udp4", nil, b.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	growBuffers(b) // nothing is lost while the reader has not begun
	from, to = newSocket(a, true), newSocket(b, true)
	t.Cleanup(func() { from.close(); to.close() })
	return from, to
}

// collector is a receiver that keeps n datagrams.
type collector struct {
	n    int
	got  [][]byte
	done chan struct{}
}

func (c *collector) receive(batch []inbound, _ int64) {
	for _, d := range batch {
		c.got = append(c.got, bytes.Clone(d.data))
		if len(c.got) == c.n {
			close(c.done)
		}
	}
}

func (c *collector) readEnded() {}

func (c *collector) refused()         {}
func (c *collector) readFailed(error) {}

// TestOffloadOnSockets sends datagrams of every mix of sizes through the kernel, with offload as
// far as it has it and without, in every combination of the two ends.
func TestOffloadOnSockets(t *testing.T) {
	mixes := map[string][]int{
		"equal":  repeat(1400, 200),
		"mixed":  {1400, 1400, 24, 1400, 1000, 1000, 1000, 1, 2, 3, 3, 3, 1500, 1500, 40},
		"small":  repeat(24, 300),
		"single": {700},
	}
	for name, sizes := range mixes {
		for _, segment := range []bool{true, false} {
			for _, gro := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/segment=%v/gro=%v", name, segment, gro), func(t *testing.T) {
					if !gro {
						t.Setenv(offloadOff, "1")
					}
					from, to := socketPair(t)
					if !gro && to.batch.gro {
						t.Fatal("offload is on in spite of " + offloadOff)
					}
					from.batch.segment = from.batch.segment && segment
					c := &collector{n: len(sizes), done: make(chan struct{})}
					to.start(c)
					batch := outbounds(sizes)
					for i, o := range batch {
						copy(o.data, random(uint64(i), len(o.data)))
					}
					if done, refused, _, err := from.send(batch, never); done != len(batch) || refused != 0 || err != nil {
						t.Fatal(done, refused, err)
					}
					await(t, "the datagrams", c.done)
					for i, o := range batch {
						if !bytes.Equal(c.got[i], o.data) {
							t.Fatalf("datagram %d: %d bytes, want %d", i, len(c.got[i]), len(o.data))
						}
					}
				})
			}
		}
	}
}

// needGSO skips the test where the kernel has no segmentation offload, or it is switched off.
func needGSO(t *testing.T, s *socket) {
	t.Helper()
	if os.Getenv(offloadOff) != "" {
		t.Skip(offloadOff + " is set")
	}
	var err error
	s.batch.raw.Control(func(fd uintptr) { _, err = unix.GetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT) })
	if err != nil {
		t.Skip("no segmentation offload:", err)
	}
}

// TestOffloadFallback makes the kernel refuse segments: all that could not go segmented goes plain,
// and nothing is lost.
func TestOffloadFallback(t *testing.T) {
	from, to := socketPair(t)
	needGSO(t, from)
	if !from.batch.segment {
		t.Fatal("the kernel has segmentation offload, and the socket does not use it")
	}
	var err error
	from.batch.raw.Control(func(fd uintptr) {
		// Segments need checksums: without them the kernel refuses with EINVAL.
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1)
	})
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{n: 100, done: make(chan struct{})}
	to.start(c)
	batch := outbounds(repeat(1400, 100))
	if done, refused, _, err := from.send(batch, never); done != len(batch) || refused != 0 || err != nil {
		t.Fatal(done, refused, err)
	}
	await(t, "the datagrams", c.done)
	if !batch[0].to.offloadRefused() {
		t.Error("the kernel took segments without a checksum; the fallback was not tried")
	}
}

// While another session's datagrams are sent in fragments by the same socket, the kernel may refuse segments for
// that. They go plain, nothing is lost, and nobody's offload is off afterwards.
func TestOffloadBesideFragments(t *testing.T) {
	b, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Skip("no IPv6:", err)
	}
	a, err := net.DialUDP("udp6", nil, b.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	growBuffers(b)
	from, to := newSocket(a, true), newSocket(b, true)
	defer to.close()
	defer from.close()
	needGSO(t, from)
	c := &collector{n: 200, done: make(chan struct{})}
	to.start(c)
	six := destination{peerAddr: peerAddrOf(b.LocalAddr()), fragments: fragmentsAllowed}
	undo, err := from.lockFragments(&six)
	if err != nil {
		t.Fatal(err)
	}
	for i, batch := range [][]outbound{outbounds(repeat(1400, 100)), outbounds(repeat(1400, 100))} {
		if done, refused, _, err := from.send(batch, never); done != len(batch) || refused != 0 || err != nil {
			t.Fatal(done, refused, err)
		}
		if batch[0].to.offloadRefused() || batch[0].to.takeTooLong() {
			t.Error("another's fragments have switched offload off")
		}
		if i == 0 {
			undo()
		}
	}
	await(t, "the datagrams", c.done)
}

func TestRefusesOffload(t *testing.T) {
	for errno, want := range map[syscall.Errno]bool{
		unix.EIO: true, unix.EMSGSIZE: true, unix.EINVAL: true,
		unix.EPERM: false, unix.ENOBUFS: false, unix.ECONNREFUSED: false, unix.EAGAIN: false,
	} {
		if got := refusesOffload(errno); got != want {
			t.Errorf("%v: %v", errno, got)
		}
	}
}
