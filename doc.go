// Package kcp gives reliable, ordered, error-checked and optionally encrypted streams
// over UDP, for work that cares about latency: games, live media, tunnels, file sync. It
// speaks the protocol of the deployed kcp-go implementations byte for byte, so it talks to
// every such peer with the same cipher and key; without cipher and FEC also to the C library's.
//
// # Use
//
// [Dial] and [Listen] stand where net.Dial and net.Listen stood. A server:
//
//	l, err := kcp.Listen(":4000")
//	conn, err := l.Accept() // as often as you like
//
// A client:
//
//	conn, err := kcp.Dial("host:4000")
//	conn.Write(request)
//
// The connections are of type *[UDPSession], whose methods tune them. [DialWithOptions],
// [ListenWithOptions] and [Listener.AcceptKCP] return that type, and add a cipher and forward
// error correction (FEC). [NewConn] and [ServeConn] run over a net.PacketConn of the caller's.
// A program that has its own transport and event loop can drive the protocol's core by hand:
// [KCP].
//
// # What to set
//
// There is no handshake, so nothing is negotiated. The cipher and its key must be the same at
// both ends. Cipher and FEC are fixed when a session is made; the Set methods may be called at
// any time. All of it but cipher and key concerns one end only.
//
//   - Nothing, to begin with: windows follow the path and the reader, and the congestion
//     control, [NewBBR], fills a link without filling its queue, whatever it loses at random.
//   - SetNoDelay(1, 10, 2, 0) and SetACKNoDelay(true), or the [LowLatency] profile of a
//     [Dialer] and a [ListenConfig], repair losses as early as that can be done.
//   - SetStreamMode(true) merges small writes and lets one Read return many segments. Without
//     it, a Write of up to a segment arrives as one Read.
//   - FEC repairs loss without waiting for a retransmission: 10/3 up to 3 losses in 13 datagrams,
//     for 30% more bytes. A path that loses nothing gets no parity after some seconds, and sparse
//     datagrams smaller groups; SetMinParity bounds that. A receiver follows whatever the sender
//     uses.
//
// # Errors
//
// Read, Write, Accept and their like return a *net.OpError, as package net does. With errors.Is
// it is
//
//   - net.ErrClosed and io.ErrClosedPipe when the session or listener was closed here,
//   - os.ErrDeadlineExceeded when a deadline has passed,
//   - syscall.ETIMEDOUT, in a *[PeerTimeoutError], when the peer was not heard of any more,
//   - syscall.ECONNRESET when the peer closed and threw away what it had not read,
//   - syscall.EPIPE when CloseWrite was called,
//   - syscall.ECONNABORTED, and the cause, when the socket failed.
//
// Timeout() is true for the second and third. Read returns io.EOF behind the last byte of a
// peer that has closed. Constructors and setters return plain errors that name the setting and
// its bound.
//
// # Limitations
//
//   - A peer without this package's extensions is not told of a Close, and does not tell of
//     its own: towards it, set deadlines or agree on an end within the stream.
//   - What was written before Close is delivered in the background, by this process, within
//     the linger time. A program that exits at once loses what was not acknowledged yet.
//   - A vanished peer is noticed by what it leaves unanswered, after 60 seconds; one that is
//     only read from, by SetKeepAlive or SetIdleTimeout.
//   - With SetNoDelay's nc=1 there is no congestion window: one larger than the path carries
//     wastes bytes, up to about a third, unless SetRateLimit bounds what is sent.
//   - Ciphers hide and check datagrams under a key that both ends know. There is no key
//     exchange, no forward secrecy, and no protection against replay: run TLS inside where
//     that matters.
//   - A session belongs to the two addresses it began with.
//   - A PacketConn of the caller's carries one session or one listener at a time.
//
// # How data flows
//
//	Write ─▶ send window ─▶ flush ─▶ datagram ─▶ FEC ─▶ seal ─▶ sendmmsg
//	        (sendwindow.go) (flush.go)         (fec*.go) (envelope.go) (tx_*.go)
//
//	Read ◀─ receive window ◀─ core ◀─ FEC ◀─ open ◀─ recvmmsg
//	       (recvwindow.go)  (kcp.go)  (fec_decoder.go)   (readloop_*.go)
//
// The core (kcp.go, flush.go, loss.go and the windows) is a state machine that takes the time as an
// argument, does no I/O and reports its next deadline. A session (sess.go, write.go) is that core
// behind a lock. Three things drive it: a caller, the socket's reader, and a timer. Each
// feeds all it has under one lock, flushes once, and sends what came out when the lock is
// released; a listener's reader does so for all the sessions that one read touched, with one
// system call. So there is no goroutine for a session: a listener has one reader, or on Linux
// one for each processor, up to eight, with sockets at the same address among which the kernel
// deals the peers out; a dialled session has the reader of its own socket; and all share the few
// goroutines of [SystemTimedSched], which are there only while something is due. An idle session
// has no deadline, and costs nothing but its memory.
//
// On Linux, datagrams move in batches, and on sockets that the package opened itself with
// segmentation offload where the kernel has it (gso_linux.go; set the environment variable
// KCP_NO_OFFLOAD to switch that off). Elsewhere, and with the build tag kcpgeneric, they move
// one by one.
package kcp
