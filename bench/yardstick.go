package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
)

// Names of the measurements that others are compared with.
const (
	yardTCP  = "kernel TCP"
	yardQUIC = "quic-go (AES-GCM)"
	yardPing = "raw UDP ping-pong, 64 bytes"

	yardHandoff = "raw UDP echo of two readers, 64 bytes"
)

// yardsticks returns measurements of other transports on this machine.
func yardsticks() []measurement {
	return append(rawYardsticks(),
		measurement{name: yardTCP, run: tcpBulk},
		measurement{name: yardQUIC, run: quicBulk},
		measurement{name: yardPing, run: udpPing},
		measurement{name: yardHandoff, run: udpHandoff},
	)
}

// pump writes to w and counts the bytes that come out of r, for the time d.
func pump(d time.Duration, w io.Writer, r io.Reader, stop func()) result {
	var (
		received atomic.Int64
		wg       sync.WaitGroup
	)
	wg.Go(func() {
		buf := make([]byte, 64<<10)
		for {
			if _, err := w.Write(buf); err != nil {
				return
			}
		}
	})
	wg.Go(func() {
		buf := make([]byte, 256<<10)
		for {
			n, err := r.Read(buf)
			received.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	m := startMeter(&received)
	time.Sleep(d)
	res := m.stop()
	stop()
	wg.Wait()
	return res
}

func tcpBulk(d time.Duration) (r result, err error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return r, err
	}
	defer l.Close()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		return r, err
	}
	s, err := l.Accept()
	if err != nil {
		return r, err
	}
	return pump(d, c, s, func() { c.Close(); s.Close() }), nil
}

// udpPing is the lower bound of any echo: one datagram there and one back.
func udpPing(d time.Duration) (r result, err error) {
	a, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return r, err
	}
	defer a.Close()
	b, err := net.DialUDP("udp4", nil, a.LocalAddr().(*net.UDPAddr))
	if err != nil {
		return r, err
	}
	defer b.Close()
	go func() {
		buf := make([]byte, 64)
		for {
			n, from, err := a.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			a.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	return pingPong(d, func(buf []byte) error {
		if _, err := b.Write(buf); err != nil {
			return err
		}
		_, err := b.Read(buf)
		return err
	})
}

// udpHandoff is udpPing with a reader's goroutine at each end, which hands each datagram to the one
// that uses it: the lower bound of an echo where readers are goroutines of their own.
func udpHandoff(d time.Duration) (r result, err error) {
	a, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return r, err
	}
	defer a.Close()
	b, err := net.DialUDP("udp4", nil, a.LocalAddr().(*net.UDPAddr))
	if err != nil {
		return r, err
	}
	defer b.Close()
	atServer, atClient := handOver(a), handOver(b)
	go func() {
		for d := range atServer {
			a.WriteToUDPAddrPort(d.data[:], d.from)
		}
	}()
	return pingPong(d, func(buf []byte) error {
		if _, err := b.Write(buf); err != nil {
			return err
		}
		if _, ok := <-atClient; !ok {
			return net.ErrClosed
		}
		return nil
	})
}

// handed is a datagram of 64 bytes, and where it came from.
type handed struct {
	data [64]byte
	from netip.AddrPort
}

// handOver reads c until that fails, and hands over what it has read.
func handOver(c *net.UDPConn) <-chan handed {
	ch := make(chan handed, 64)
	go func() {
		defer close(ch)
		for {
			var d handed
			_, from, err := c.ReadFromUDPAddrPort(d.data[:])
			if err != nil {
				return
			}
			d.from = from
			ch <- d
		}
	}()
	return ch
}

func tlsConfig() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos:   []string{"bench"},
	}, nil
}

func quicBulk(d time.Duration) (r result, err error) {
	serverTLS, err := tlsConfig()
	if err != nil {
		return r, err
	}
	l, err := quic.ListenAddr("127.0.0.1:0", serverTLS, &quic.Config{})
	if err != nil {
		return r, err
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	clientTLS := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"bench"}} // to this process
	c, err := quic.DialAddr(ctx, l.Addr().String(), clientTLS, &quic.Config{
		InitialStreamReceiveWindow: 8 << 20,
		MaxStreamReceiveWindow:     32 << 20,
		MaxConnectionReceiveWindow: 64 << 20,
	})
	if err != nil {
		return r, err
	}
	defer c.CloseWithError(0, "")
	out, err := c.OpenStreamSync(ctx)
	if err != nil {
		return r, err
	}
	if _, err := out.Write([]byte{0}); err != nil {
		return r, err
	}
	s, err := l.Accept(ctx)
	if err != nil {
		return r, err
	}
	in, err := s.AcceptStream(ctx)
	if err != nil {
		return r, err
	}
	return pump(d, out, in, func() { c.CloseWithError(0, ""); s.CloseWithError(0, "") }), nil
}
