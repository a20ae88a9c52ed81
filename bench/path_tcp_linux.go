package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"

	"github.com/xtaci/kcp-go/v5/internal/netem"
	"golang.org/x/sys/unix"
)

// The kernel's TCP runs over the emulated paths between two TUN devices, each in a network
// namespace of its own. An IP packet that TCP sends to one device is a datagram on the emulated
// network, and arrives at the other device. This needs root, and takes real time.

// namespace is a network namespace with a TUN device, and a goroutine whose thread is in it. A
// socket stays in the namespace that it was opened in.
type namespace struct {
	do  chan func() // functions to be called in the namespace
	tun *os.File
}

var (
	tunSender   = netip.MustParseAddr("10.99.0.1")
	tunReceiver = netip.MustParseAddr("10.99.0.2")
)

// newNamespace makes a namespace with a TUN device that has the address.
func newNamespace(addr netip.Addr) (*namespace, error) {
	n := &namespace{do: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			n.tun, err = openTUN(addr)
		}
		ready <- err
		for f := range n.do {
			f()
		}
	}()
	if err := <-ready; err != nil {
		close(n.do)
		return nil, fmt.Errorf("network namespace with a TUN device: %w", err)
	}
	return n, nil
}

// openTUN makes a TUN device with the address, in a /24, in the namespace of the thread.
func openTUN(addr netip.Addr) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := setUpTUN(fd, addr); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "tun"), nil
}

func setUpTUN(fd int, addr netip.Addr) error {
	const name = "bench0"
	sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(sock)
	for _, step := range []struct {
		fd, request int
		set         func(*unix.Ifreq) error
	}{
		{fd, unix.TUNSETIFF, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI); return nil }},
		{sock, unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(addr.AsSlice()) }},
		{sock, unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }},
		{sock, unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP); return nil }},
	} {
		r, err := unix.NewIfreq(name)
		if err == nil {
			err = step.set(r)
		}
		if err == nil {
			err = unix.IoctlIfreq(step.fd, uint(step.request), r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// in calls f in the namespace and returns its result.
func (n *namespace) in(f func() error) error {
	done := make(chan error)
	n.do <- func() { done <- f() }
	return <-done
}

// carry moves IP packets between the device and c, which exchanges them with the Conn at peer,
// until the device or c is closed.
func (n *namespace) carry(c *netem.Conn, peer net.Addr) {
	go func() {
		b := make([]byte, 64<<10)
		for {
			size, err := n.tun.Read(b)
			if err != nil {
				return
			}
			c.WriteTo(b[:size], peer)
		}
	}()
	go func() {
		b := make([]byte, 64<<10)
		for {
			size, _, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			n.tun.Write(b[:size])
		}
	}()
}

func (n *namespace) close() {
	n.tun.Close()
	close(n.do)
}

// tcpOpener opens streams of the kernel's TCP with that congestion control.
func tcpOpener(control string) opener {
	return func(w *world) (*conn, error) {
		from, to, err := w.flow()
		if err != nil {
			return nil, err
		}
		sender, err := newNamespace(tunSender)
		if err != nil {
			return nil, err
		}
		receiver, err := newNamespace(tunReceiver)
		if err != nil {
			sender.close()
			return nil, err
		}
		sender.carry(from, to.LocalAddr())
		receiver.carry(to, from.LocalAddr())
		out, in, err := dialTCP(sender, receiver, control)
		if err != nil {
			sender.close()
			receiver.close()
			return nil, err
		}
		return &conn{Writer: out, Reader: in, stats: func() transportStats { return transportStats{} }, end: func() {
			out.Close()
			in.Close()
			sender.close()
			receiver.close()
		}}, nil
	}
}

// dialTCP connects from one namespace to the other.
func dialTCP(sender, receiver *namespace, control string) (out, in net.Conn, err error) {
	var l net.Listener
	err = receiver.in(func() (err error) {
		l, err = net.Listen("tcp4", netip.AddrPortFrom(tunReceiver, 0).String())
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	// The goroutine that dials opens the socket, and so in its namespace, as the address needs no
	// look-up.
	d := net.Dialer{ControlContext: func(_ context.Context, _, _ string, c syscall.RawConn) (err error) {
		return errors.Join(c.Control(func(fd uintptr) {
			err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, control)
		}), err)
	}}
	err = sender.in(func() (err error) {
		out, err = d.Dial("tcp4", l.Addr().String())
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("TCP with %s: %w", control, err)
	}
	if in, err = l.Accept(); err == nil {
		if _, err = out.Write([]byte{0}); err == nil {
			_, err = io.ReadFull(in, make([]byte, 1))
		}
	}
	return out, in, err
}

// tcpMissing says why the kernel's TCP with that congestion control cannot be measured, nil if it
// can.
func tcpMissing(control string) error {
	n, err := newNamespace(tunSender)
	if err != nil {
		return err
	}
	defer n.close()
	return n.in(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return os.NewSyscallError("TCP_CONGESTION", unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, control))
	})
}
