// Package kcptest tests programs over bad networks, in virtual time: over paths that are slow, far, lossy
// or cut, behind a NAT that forgets, with hours that pass in a moment and delays that are exact.
//
// [Run] runs a test in a bubble of testing/synctest, with a [Network] on which nothing is real. Its [Conn]s
// are net.PacketConns with addresses, over which kcp's Dialer.DialConn and ListenConfig.ListenConn, or
// NewConn and ServeConn, make sessions and listeners, and over which anything else runs that takes a
// net.PacketConn.
//
//	func TestUpload(t *testing.T) {
//		kcptest.Run(t, 1, func(t *testing.T, n *kcptest.Network) {
//			n.SetPath(kcptest.Path{Delay: 30 * time.Millisecond, Rate: 1_000_000, Loss: 0.02})
//			server, client := n.Listen("10.0.0.1:4000"), n.Listen("10.0.1.1:0")
//			// the program, over server and client
//		})
//	}
//
// # Virtual time
//
// Time passes while all goroutines of the test wait, and only then: time.Now, timers, deadlines and
// contexts with a timeout follow it. A minute's wait takes no time, computing takes none either, and the load of
// the machine does not matter. What waits for something outside, such as a real socket, a file or a mutex
// that is held for long, keeps time from passing: see testing/synctest. A test that waits for ever in
// virtual time ends with a panic of synctest's, which shows where its goroutines are.
//
// # Randomness
//
// Loss, jitter and all that is drawn on the network depend on the seed, and for the n-th datagram of one
// direction on the [Path] of that direction alone. A failure names the seed. What the program draws itself,
// and the order in which goroutines run that are ready at the same time, is not of the seed: kcp draws
// conversation ids (Dialer.Conv sets one), nonces, and the times at which NewBBR probes.
//
// # What is not emulated
//
// There are datagrams only, without fragments, ICMP, names and wildcard addresses. A WriteTo never waits.
package kcptest
