package kcp

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/net/nettest"
)

// nettestEnv, when set, makes TestNettestConn the real thing.
const nettestEnv = "KCP_NETTEST"

// The protocol has no end of stream yet: a peer that was closed is silent, as one is
// that has nothing to say. Two of nettest's subtests wait for the io.EOF of a Close:
//
//   - BasicIO copies until the end of the stream
//   - PingPong ends one side by the other's Close
var (
	nettestRun  = []string{"RacyRead", "RacyWrite", "ReadTimeout", "WriteTimeout", "PastTimeout", "PresentTimeout", "FutureTimeout", "CloseTimeout", "ConcurrentMethods"}
	nettestSkip = []string{"BasicIO", "PingPong"}
)

// Nettest runs the subtests that can pass. nettest itself can't be told which, so it
// runs in a process of its own, with -test.run.
func TestNettest(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.v", "-test.timeout=50s",
		"-test.run=^TestNettestConn$/^("+strings.Join(nettestRun, "|")+")$")
	cmd.Env = append(os.Environ(), nettestEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range nettestRun {
		if !strings.Contains(string(out), "--- PASS: TestNettestConn/"+name) {
			t.Errorf("%s did not run", name)
		}
	}
	t.Logf("passed: %s; not run, for want of an end of stream: %s", nettestRun, nettestSkip)
}

func TestNettestConn(t *testing.T) {
	if os.Getenv(nettestEnv) == "" {
		t.Skip("run by TestNettest")
	}
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		client, server := loopback(t, "127.0.0.1:0", nil, 0, 0)
		for _, s := range []*UDPSession{client, server} {
			s.SetStreamMode(true)
			s.SetNoDelay(1, 10, 2, 1)
		}
		return client, server, func() {
			closeAll(client, server)
			for _, s := range []*UDPSession{client, server} {
				s.abort(net.ErrClosed) // instead of lingering
			}
		}, nil
	})
}
