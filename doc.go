// Package kcp gives reliable, ordered, error-checked and optionally encrypted streams
// over UDP, for work that cares about latency: games, live media, tunnels, file sync. It
// speaks the KCP protocol byte for byte, so it talks to every deployed KCP peer with the
// same cipher and key.
//
// # Use
//
// [Dial] and [Listen] stand where net.Dial and net.Listen stood, a [UDPSession] is a
// net.Conn, a [Listener] a net.Listener:
//
//	l, err := kcp.Listen(":4000")          conn, err := kcp.Dial("host:4000")
//	conn, err := l.Accept()                conn.Write(…)
//
// [DialWithOptions] and [ListenWithOptions] add a cipher and forward error correction,
// [NewConn] and [ServeConn] run over a net.PacketConn of the caller's. A program that has
// its own transport and event loop can drive the protocol's core by hand: [KCP].
//
// # What to set
//
// There is no handshake, so nothing is negotiated: both ends need the same cipher and key.
// Everything else concerns one end only and may be changed at any time.
//
//   - SetNoDelay(1, 10, 2, 1) and windows of the path's bandwidth times its round-trip time
//     (in segments of about 1376 bytes) make a fast stream of a bad path, at the price of
//     no congestion control.
//   - SetStreamMode(true) merges small writes and lets one Read return many segments. Without
//     it, a Write of up to a segment arrives as one Read.
//   - FEC repairs loss without waiting for a retransmission. 10/3 costs 30% more bytes and
//     repairs up to 3 losses in 13 datagrams. A receiver follows whatever the sender uses.
//
// # How data flows
//
//	Write ─▶ send window ─▶ flush ─▶ datagram ─▶ FEC ─▶ seal ─▶ sendmmsg
//	        (sendwindow.go) (flush.go)          (fec.go) (envelope.go) (tx_*.go)
//
//	Read ◀─ receive window ◀─ core ◀─ FEC ◀─ open ◀─ recvmmsg
//	       (recvwindow.go)  (kcp.go)  (fec_decoder.go)   (readloop_*.go)
//
// The core (kcp.go, flush.go and the windows) is a state machine that takes the time as an
// argument, does no I/O and reports its next deadline. A session (sess.go) is that core
// behind a lock. Three things drive it: a caller, the socket's reader, and a timer. Each
// feeds all it has under one lock, flushes once, and sends what came out when the lock is
// released; a listener's reader does so for all the sessions that one read touched, with one
// system call. So there is no goroutine for a session: a listener has one reader, a dialled
// session the reader of its own socket, and all share the few goroutines of
// [SystemTimedSched], which are there only while something is due. An idle session has no
// deadline, and costs nothing but its memory.
//
// On Linux, datagrams move in batches, and on sockets that the package opened itself with
// segmentation offload where the kernel has it (gso_linux.go; set the environment variable
// KCP_NO_OFFLOAD to switch that off). Elsewhere, and with the build tag kcpgeneric, they move
// one by one.
//
// # Limitations
//
//   - The peer is not told of a Close: its Read waits on. Set deadlines, or agree on an end
//     within the stream.
//   - A peer that vanished is noticed only when something was written to it and was sent 20
//     times in vain, with nothing heard for 10 seconds.
//   - The congestion control of SetNoDelay's nc=0, which is the default, is Reno's: it takes
//     every loss for congestion. With nc=1 there is none; SetRateLimit bounds what is sent.
//   - Ciphers hide and check datagrams under a key that both ends know. There is no key
//     exchange, no forward secrecy, and no protection against replay: run TLS inside where
//     that matters.
//   - A session belongs to the two addresses it began with.
package kcp
