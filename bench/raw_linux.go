package main

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

const (
	rawSize     = 1400 // bytes of a datagram
	rawBatch    = 64   // messages of one system call
	rawSegments = 46   // datagrams of a GSO send: as many as fit in 64 KiB
)

// rawYardsticks send datagrams through loopback as fast as the kernel takes them, with and without
// segmentation offload, and count the bytes that arrive.
func rawYardsticks() []measurement {
	return []measurement{
		{name: "raw UDP, sendmmsg", run: func(d time.Duration) (result, error) { return rawBulk(d, false) }},
		{name: "raw UDP, offload", run: func(d time.Duration) (result, error) { return rawBulk(d, true) }},
	}
}

func rawBulk(d time.Duration, offload bool) (res result, err error) {
	r, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return res, err
	}
	w, err := net.DialUDP("udp4", nil, r.LocalAddr().(*net.UDPAddr))
	if err != nil {
		r.Close()
		return res, err
	}
	r.SetReadBuffer(4 << 20)
	w.SetWriteBuffer(4 << 20)
	if offload {
		raw, err := r.SyscallConn()
		if err != nil {
			return res, err
		}
		raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_GRO, 1) })
		if err != nil {
			return res, err
		}
	}
	var (
		received atomic.Int64
		wg       sync.WaitGroup
	)
	wg.Go(func() {
		pc := ipv4.NewPacketConn(r)
		ms := make([]ipv4.Message, rawBatch)
		for i := range ms {
			ms[i].Buffers = [][]byte{make([]byte, 65535)}
			ms[i].OOB = make([]byte, 64)
		}
		for {
			n, err := pc.ReadBatch(ms, 0)
			if err != nil {
				return
			}
			sum := 0
			for i := range n {
				sum += ms[i].N
			}
			received.Add(int64(sum))
		}
	})
	wg.Go(func() {
		if offload {
			sendOffloaded(w)
		} else {
			sendBatches(w)
		}
	})
	m := startMeter(&received)
	time.Sleep(d)
	res = m.stop()
	w.Close()
	r.Close()
	wg.Wait()
	return res, nil
}

func sendOffloaded(w *net.UDPConn) {
	buf := make([]byte, rawSize*rawSegments)
	oob := make([]byte, unix.CmsgSpace(2))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
	h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	*(*uint16)(unsafe.Pointer(&oob[unix.CmsgLen(0)])) = rawSize
	for {
		if _, _, err := w.WriteMsgUDP(buf, oob, nil); errors.Is(err, net.ErrClosed) { // else the buffer is full
			return
		}
	}
}

func sendBatches(w *net.UDPConn) {
	pc := ipv4.NewPacketConn(w)
	ms := make([]ipv4.Message, rawBatch)
	for i := range ms {
		ms[i].Buffers = [][]byte{make([]byte, rawSize)}
	}
	for {
		if _, err := pc.WriteBatch(ms, 0); errors.Is(err, net.ErrClosed) { // else the buffer is full
			return
		}
	}
}
