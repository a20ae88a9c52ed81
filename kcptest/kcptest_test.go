package kcptest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/kcptest"
)

// open opens a listener that answers everything, and a session to it.
func open(t *testing.T, n *kcptest.Network) (*kcp.Listener, *kcp.UDPSession) {
	t.Helper()
	lc := kcp.ListenConfig{OwnConn: true, Settings: kcp.Settings{Profile: kcp.LowLatency}}
	l, err := lc.ListenConn(n.Listen("10.0.0.1:4000"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			s, err := l.AcceptKCP()
			if err != nil {
				return
			}
			go func() {
				defer s.Close()
				s.SetUserTimeout(time.Minute)
				s.SetIdleTimeout(time.Minute)
				io.Copy(s, s)
			}()
		}
	}()
	d := kcp.Dialer{OwnConn: true, Conv: 1, Settings: kcp.Settings{Profile: kcp.LowLatency}}
	client, err := d.DialConn(context.Background(), n.Listen("10.0.1.1:0"), l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return l, client
}

// ask sends words and wants them back.
func ask(s *kcp.UDPSession, words string) error {
	if _, err := io.WriteString(s, words); err != nil {
		return err
	}
	b := make([]byte, len(words))
	if _, err := io.ReadFull(s, b); err != nil {
		return err
	}
	if string(b) != words {
		return fmt.Errorf("said %q, heard %q", words, b)
	}
	return nil
}

func TestExamples(test *testing.T) {
	for name, example := range map[string]func(){
		"Run": ExampleRun, "Partition": ExampleNetwork_Partition, "SetFilter": ExampleNetwork_SetFilter,
	} {
		test.Run(name, func(test *testing.T) {
			t = test
			example()
		})
	}
}

// Tests that are parallel run one after the other, each from the same time on, with the same fates.
func TestParallel(t *testing.T) {
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			kcptest.Run(t, 7, func(t *testing.T, n *kcptest.Network) {
				if now := time.Now().UTC().String(); !strings.HasPrefix(now, "2000-01-01 00:00:00 ") {
					t.Error(now)
				}
				n.SetPath(kcptest.Path{Delay: 20 * time.Millisecond, Loss: 0.2, BurstLoss: 0.1})
				l, client := open(t, n)
				t.Cleanup(func() { l.Close(); client.Close() })
				for range 100 {
					if err := ask(client, "hello"); err != nil {
						t.Fatal(err)
					}
				}
			})
		})
	}
}

// receive returns what c reads within a second.
func receive(c *kcptest.Conn) (from string, payload string) {
	c.SetReadDeadline(time.Now().Add(time.Second))
	b := make([]byte, 1500)
	n, addr, err := c.ReadFrom(b)
	if err != nil {
		return "", ""
	}
	return addr.String(), string(b[:n])
}

func TestRebindAndPartition(t *testing.T) {
	kcptest.Run(t, 1, func(t *testing.T, n *kcptest.Network) {
		server, client := n.Listen("10.0.0.1:4000"), n.Listen("10.0.1.1:5000")
		n.SetDirection(client.LocalAddr(), server.LocalAddr(), kcptest.Path{Delay: 40 * time.Millisecond})
		send := func(from *kcptest.Conn, to net.Addr) (took time.Duration, source string) {
			start := time.Now()
			from.WriteTo([]byte("hello"), to)
			at := server
			if from == server {
				at = client
			}
			source, _ = receive(at)
			return time.Since(start), source
		}
		check := func(what string, took, wantTook time.Duration, from, want string) {
			t.Helper()
			if took != wantTook || from != want {
				t.Errorf("%s: from %q after %v, want from %q after %v", what, from, took, want, wantTook)
			}
		}
		took, from := send(client, server.LocalAddr())
		check("at first", took, 40*time.Millisecond, from, "10.0.1.1:5000")

		client.Rebind("10.0.1.1:6000")
		took, from = send(client, server.LocalAddr())
		check("rebound", took, 40*time.Millisecond, from, "10.0.1.1:6000")
		took, from = send(server, client.LocalAddr())
		check("to the former address", took, time.Second, from, "")
		took, from = send(server, client.PublicAddr())
		check("to the new one", took, 0, from, "10.0.0.1:4000")

		n.Partition(server.LocalAddr(), client.PublicAddr())
		took, from = send(client, server.LocalAddr())
		check("cut", took, time.Second, from, "")
		took, from = send(server, client.PublicAddr())
		check("cut, back", took, time.Second, from, "")
		n.Heal()
		took, from = send(server, client.PublicAddr())
		check("healed", took, 0, from, "10.0.0.1:4000")

		client.Stall(300 * time.Millisecond)
		took, from = send(server, client.PublicAddr())
		check("stalled", took, 300*time.Millisecond, from, "10.0.0.1:4000")
	})
}

// What each field of a Path does, in the counters.
func TestPath(t *testing.T) {
	const count = 2000
	for _, c := range []struct {
		name string
		path kcptest.Path
		got  func(s kcptest.Stats) uint64
		want uint64 // about
	}{
		{"perfect", kcptest.Path{}, func(s kcptest.Stats) uint64 { return s.Delivered }, count},
		{"Loss", kcptest.Path{Loss: 0.3}, func(s kcptest.Stats) uint64 { return s.Lost }, 0.3 * count},
		{"BurstLoss", kcptest.Path{BurstLoss: 0.3, BurstLength: 2}, func(s kcptest.Stats) uint64 { return s.Lost }, 0.3 * count},
		{"Reorder", kcptest.Path{Reorder: 0.2}, func(s kcptest.Stats) uint64 { return s.Reordered }, 0.2 * count},
		{"Duplicate", kcptest.Path{Duplicate: 0.1}, func(s kcptest.Stats) uint64 { return s.Duplicated }, 0.1 * count},
		{"Rate", kcptest.Path{Rate: 50_000, Queue: 1000, Overhead: 28}, func(s kcptest.Stats) uint64 { return s.Delivered }, 781},
		{"Police", kcptest.Path{PoliceRate: 50_000, PoliceBurst: 1000}, func(s kcptest.Stats) uint64 { return s.Policed }, 990},
		{"MTU", kcptest.Path{MTU: 99}, func(s kcptest.Stats) uint64 { return s.TooLong }, count},
		{"Jitter", kcptest.Path{Jitter: time.Second}, func(s kcptest.Stats) uint64 { return s.Reordered }, 0.98 * count},
	} {
		t.Run(c.name, func(t *testing.T) {
			kcptest.Run(t, 3, func(t *testing.T, n *kcptest.Network) {
				n.SetPath(kcptest.Path{Loss: 1}) // which SetPathBetween overrides
				a, b := n.Listen("10.0.0.1:0"), n.Listen("[2001:db8::1]:0")
				n.SetPathBetween(a.LocalAddr(), b.LocalAddr(), c.path)
				for range count {
					a.WriteTo(make([]byte, 100), b.LocalAddr())
					time.Sleep(time.Millisecond)
				}
				time.Sleep(5 * time.Second)
				s := n.Stats(a.LocalAddr(), b.LocalAddr())
				if got := c.got(s); got < c.want*8/10 || got > c.want*12/10 || s != n.Total() {
					t.Errorf("%d, want about %d: %+v, in all %+v", got, c.want, s, n.Total())
				}
			})
		})
	}
}

// Two flows share a rate.
func TestShare(t *testing.T) {
	kcptest.Run(t, 1, func(t *testing.T, n *kcptest.Network) {
		server, a, b := n.Listen("10.0.0.1:1"), n.Listen("10.0.0.2:1"), n.Listen("10.0.0.3:1")
		n.Share(kcptest.Path{Rate: 1000, Queue: 1000}, server.LocalAddr(), a.LocalAddr(), b.LocalAddr())
		for _, c := range []*kcptest.Conn{a, b, a, b} { // one is sent, and one waits
			c.WriteTo(make([]byte, 900), server.LocalAddr())
		}
		time.Sleep(1800 * time.Millisecond)
		synctest.Wait()
		for i, want := range []kcptest.Stats{
			{Sent: 2, SentBytes: 1800, Delivered: 1, DeliveredBytes: 900, QueueDrops: 1},
			{Sent: 2, SentBytes: 1800, Delivered: 1, DeliveredBytes: 900, QueueDrops: 1},
		} {
			if got := n.Stats([]*kcptest.Conn{a, b}[i].LocalAddr(), server.LocalAddr()); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
	})
}

// failures are what fails a test, and how.
var failures = map[string]struct {
	f    func(t *testing.T, n *kcptest.Network)
	want string
}{
	"address":   {func(t *testing.T, n *kcptest.Network) { n.Listen("localhost:1") }, "localhost"},
	"path":      {func(t *testing.T, n *kcptest.Network) { n.SetPath(kcptest.Path{Loss: 2}) }, "Path.Loss is 2, want 0..1"},
	"burst":     {func(t *testing.T, n *kcptest.Network) { n.SetPath(kcptest.Path{BurstLoss: 1}) }, "Path.BurstLoss is 1, want at least 0 and below 1"},
	"length":    {func(t *testing.T, n *kcptest.Network) { n.SetPath(kcptest.Path{BurstLength: 0.5}) }, "Path.BurstLength is 0.5, want at least 1"},
	"partition": {func(t *testing.T, n *kcptest.Network) { n.Partition(nil, &net.TCPAddr{}) }, "want a *net.UDPAddr"},
	"rebind": {func(t *testing.T, n *kcptest.Network) {
		n.Listen("10.0.0.1:1")
		n.Listen("10.0.0.2:1").Rebind("10.0.0.1:1")
	}, "address already in use"},
	"session": {func(t *testing.T, n *kcptest.Network) {
		l, s := open(t, n)
		l.Close()
		s.Write([]byte("hello"))
	}, "sessions that were not closed: 1"},
	"seed": {func(t *testing.T, n *kcptest.Network) { t.Error("anything") }, "the network's seed was 99"},
}

const failing = "KCPTEST_FAILING" // the failure that a child process is to have

// A failure is that of the test, and says what is wrong. Only a session that is left makes synctest panic.
func TestFailures(t *testing.T) {
	for name, c := range failures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := exec.Command(os.Args[0], "-test.run=^TestFailing$", "-test.timeout=1m")
			child.Env = append(os.Environ(), failing+"="+name)
			out, err := child.CombinedOutput()
			if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || !strings.Contains(string(out), c.want) ||
				strings.Contains(string(out), "panic") && name != "session" {
				t.Errorf("%v, want a failure with %q:\n%s", err, c.want, out)
			}
		})
	}
}

func TestFailing(t *testing.T) {
	name := os.Getenv(failing)
	if name == "" {
		t.Skip("for the child processes of TestFailures")
	}
	kcptest.Run(t, 99, failures[name].f)
}

// A session that is open in real time would have its timers run in virtual time.
func TestOpenOutside(t *testing.T) {
	if os.Getenv(failing) == "" {
		child := exec.Command(os.Args[0], "-test.run=^TestOpenOutside$", "-test.timeout=1m")
		child.Env = append(os.Environ(), failing+"=outside")
		if out, err := child.CombinedOutput(); err == nil || !strings.Contains(string(out), "sessions open outside of virtual time: 1;") {
			t.Errorf("%v:\n%s", err, out)
		}
		return
	}
	s, err := kcp.Dial("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	kcptest.Run(t, 1, func(t *testing.T, n *kcptest.Network) { t.Error("f was called") })
}

// A filter sees, and may change, what is sent.
func TestFilterChanges(t *testing.T) {
	kcptest.Run(t, 1, func(t *testing.T, n *kcptest.Network) {
		a, b := n.Listen("10.0.0.1:1"), n.Listen("10.0.0.2:2")
		n.SetFilter(func(from, to netip.AddrPort, payload []byte) bool {
			payload[0] = 'J'
			return n.Stats(a.LocalAddr(), b.LocalAddr()).Sent == 0 && from.Port() == 1 && to.Port() == 2
		})
		a.WriteTo([]byte("hello"), b.LocalAddr())
		a.WriteTo([]byte("hello"), b.LocalAddr())
		n.SetFilter(nil)
		a.WriteTo([]byte("hello"), b.LocalAddr())
		for _, want := range []string{"Jello", "hello", ""} {
			if _, got := receive(b); got != want {
				t.Errorf("read %q, want %q", got, want)
			}
		}
		if s := n.Total(); s.Filtered != 1 || s.Delivered != 2 {
			t.Errorf("%+v", s)
		}
	})
}
