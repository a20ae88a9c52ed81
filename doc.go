// Package kcp gives reliable, ordered, error-checked and optionally encrypted streams over UDP, for
// work that cares about latency: games, live media, tunnels, file sync. It speaks the protocol of
// the deployed kcp-go implementations byte for byte, so it talks to every such peer with the same
// cipher and key; without cipher and FEC also to the C library's. docs/protocol.md is the protocol.
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
// [ListenWithOptions] and [Listener.AcceptKCP] return that type, and add a cipher and forward error
// correction (FEC). A [Dialer] and a [ListenConfig] take all [Settings] there are, and run over
// sockets of their own or a net.PacketConn of the caller's. A program that has its own transport
// and event loop can drive the protocol's core by hand: [KCP].
//
// Programs written for kcp-go 5.4 to 5.7 compile against this package. Types that are internals of
// that one, RingBuffer and FlushType among them, are not here.
//
// # What to set
//
// There is no handshake, so nothing is negotiated. The cipher and its key must be the same at both
// ends. Cipher and FEC are fixed when a session is made; setters may be called at any time.
// Everything but cipher and key concerns one end only. Settings documents each default.
//
//   - Nothing, to begin with: windows follow the path and the reader, and the congestion control,
//     [NewBBR], fills a link without filling its queue, whatever it loses at random.
//   - SetNoDelay(1, 10, 2, 0) and SetACKNoDelay(true), or the [LowLatency] profile, repair losses
//     as early as that can be done.
//   - SetStreamMode(true) merges small writes and lets one Read return many segments. Without it,
//     a Write of up to a segment arrives as one Read.
//   - FEC repairs loss without waiting for a retransmission: 10/3 up to 3 losses in 13 datagrams,
//     for 30% more bytes. A receiver follows whatever the sender uses.
//
// # Errors
//
// Read, Write, Accept and their like return a *net.OpError, as package net does. With errors.Is it
// is
//
//   - net.ErrClosed and io.ErrClosedPipe when the session or listener was closed here,
//   - os.ErrDeadlineExceeded when a deadline has passed,
//   - syscall.ETIMEDOUT, in a *[PeerTimeoutError], when the peer was not heard of any more, or did
//     not acknowledge what was sent,
//   - syscall.ECONNRESET when the peer closed and threw away what it had not read, or was restarted
//     and has no such session any more,
//   - syscall.EPIPE when CloseWrite was called,
//   - [ErrKeyDiffers] or [ErrNotSealed] when the session has to be sealed, and the peer cannot: another
//     key, or none,
//   - syscall.ECONNABORTED, and the cause, when the socket failed; a read error of a PacketConn of
//     the caller's, or a read deadline that was set on it, is the cause then.
//
// Timeout() is true for the second and third, and for the last if it is the cause's. Read returns
// io.EOF after the last byte of a peer that has closed. Constructors and setters return plain errors
// that name the setting and its bound; what cannot be done on a socket is an errors.ErrUnsupported.
//
// # Limitations
//
//   - A peer without this package's extensions is not told of a Close, and does not tell of its
//     own: towards it, set deadlines or agree on an end within the stream.
//   - What was written before Close is delivered in the background, by this process, within the
//     linger time. A program that exits at once loses what was not acknowledged yet.
//   - A vanished peer is noticed by what it leaves unanswered, after 60 seconds; one that is only
//     read from, by SetKeepAlive or SetIdleTimeout. One that was restarted on the same address is
//     noticed within seconds, by the answers to what is written and to keepalive probes.
//   - With SetNoDelay's nc=1 there is no congestion window: a send window larger than the path
//     carries is sent as a whole once, and then wastes bytes, up to about a third, unless
//     SetRateLimit bounds what is sent.
//   - Toward other implementations a cipher hides and checks datagrams under a key that both ends
//     know, and no more: no key exchange, no forward secrecy, no protection against replay. Between
//     two ends of this package sessions with a cipher are sealed, which is all of that.
//   - A session that is not sealed belongs to the two addresses it began with. Sealed ones follow a change of
//     network: Settings.Roam.
//   - A PacketConn of the caller's carries one session or one listener at a time.
//
// # How data flows
//
// From Write to the wire:
//
//	sess_write.go        Write waits for room in the send window (sess_gather.go: small ones gather)
//	kcp_session.go       and queues bytes in the core,
//	kcp.go               which cuts them into segments
//	sendwindow.go        in the send window, each in a packet (packet.go).
//	sess_drive.go        A driver flushes the core:
//	kcp_output.go        segments are packed into datagrams (datagram_writer.go), as far as windows
//	                     (kcp_limits.go), congestion control and pacing (kcp_congestion.go, pacer.go)
//	                     allow,
//	segment.go           with a header each,
//	sess_drive.go        and handed to the session, which has
//	fec_encoder.go       them numbered and covered by parity (fec_adapt.go: how much; fec.go)
//	sender.go            and queues them for its next batch (inplace.go: without a copy).
//	crypt_envelope.go    The batch is sealed (crypt.go, crypt_cfb.go, entropy.go)
//	tx.go                and sent:
//	tx_linux.go          by sendmmsg, in trains of equal ones (gso_linux.go),
//	tx_generic.go        or one by one elsewhere.
//
// From the wire to Read:
//
//	readloop.go          A socket's reader reads
//	readloop_linux.go    a batch by recvmmsg, split into datagrams (gso_linux.go) with their
//	                     senders' addresses (addr_linux.go),
//	readloop_generic.go  or one datagram elsewhere;
//	readloop_push.go     a PacketPusher hands them over.
//	crypt_envelope.go    The batch is opened by the cipher (crypt.go, crypt_cfb.go).
//	datagram.go          The FEC header is taken off (fec.go), and the conversation found.
//	transport_reader.go  A transport finds each datagram's session; one with a socket of its own has its own.
//	sess_input.go        The session passes the datagram to
//	fec_decoder.go       FEC, which rebuilds what is missing, and
//	kcp_input.go         to the core: acknowledgements (kcp_acked.go), and data (kcp_acks.go acknowledges it)
//	recvwindow.go        for the receive window or a Read that waits.
//	sess_drive.go        The session is driven once for all that has arrived.
//	sess_read.go         Read, TryRead (sess_try.go) or WriteTo (sess_copy.go) takes the data
//	kcp_session.go       through the core
//	recvwindow.go        out of the window.
//
// # How the package is built
//
// The file names tell the owner. Each layer uses the ones below it:
//
//   - dial.go, listen.go: the ways to make a session or a listener. settings.go, config.go: what
//     they can be told, and that checked and completed.
//   - transport.go: one socket that many sessions share, dialled and accepted ones. Every listener is on
//     one. transport_state.go: how it lives and ends. transport_reader.go: a reader of its socket, which
//     opens each datagram (transport_open.go) under the cipher of its group (transport_group.go), and finds
//     its session in transport_table.go, a sealed one's in transport_index.go. timewait.go: those that have
//     ended. transport_other.go: what is not KCP. transport_dials.go: settings that were dialled with before.
//     transport_stats.go: its counters. sessions.go: the sessions of the process.
//   - listener.go: Accept and Close, and which datagrams make a session. listener_backlog.go: sessions that
//     wait for Accept, and who may join them. listener_unproven.go: those whose peers may be forged.
//     listener_seal.go: handshakes of those that will be sealed. listener_stats.go: its counters.
//   - sess_*.go: what a session does. sess.go is its state, all types of it. Above sess_drive.go
//     stand the ways in: sess_read.go, sess_write.go, sess_message.go, sess_try.go, sess_copy.go,
//     sess_oob.go, sess_dgram.go,
//     sess_close.go, sess_options.go and sess_input.go. Below it stands what driving has to see to:
//     sess_teardown.go, sess_keepalive.go, sess_unproven.go, sess_gather.go, and sess_restart.go, for
//     a peer that was restarted. sess_roam.go with path_validation.go: peers that move; path.go: the
//     socket and the address of a session. notify.go: functions that are called where a goroutine would be
//     woken.
//     sess_mtu.go: how long datagrams are, which path_mtu.go finds; fragment*.go: Don't Fragment.
//   - sender.go: datagrams on their way to the socket. inplace.go: the zero-copy contract.
//   - kcp_*.go: what the core does. It is a state machine that takes the time as an argument, does
//     no I/O and reports its next deadline. kcp_session.go is the session's view of it and
//     kcp_manual.go that of a program that drives it by hand; below are kcp_input.go, kcp_acked.go,
//     kcp_identity.go, kcp_validation.go, kcp_send.go, kcp_output.go, kcp_write.go, kcp_acks.go,
//     kcp_records.go, kcp_loss.go, kcp_limits.go, kcp_congestion.go, kcp_autotune.go, kcp_dgram.go,
//     kcp_message.go, kcp_repair_out.go, kcp_repair_in.go, kcp_mtu.go, kcp_memory.go, kcp_log.go,
//     kcp_trace.go.
//     kcp.go is its state, made of types with files of their own: sendwindow.go, recvwindow.go,
//     window_memory.go, early_queue.go, dgram_queue.go, dgram_repeats.go, report.go, repair_sender.go,
//     repair_rate.go, repair_decoder.go, repair_symbol.go, flow_control.go, input_state.go, ack_queue.go,
//     ack_ranges.go, ack_proof.go, records.go, peer_caps.go, peer_params.go, peer_path.go,
//     peer_identity.go, path_mtu.go, rtt.go, queue_delay.go, loss_state.go, duplicate_queue.go, delivery_rate.go,
//     rate_filter.go, pacer.go, bucket.go, datagram_writer.go, logger.go.
//   - congestion.go: the interface of congestion controllers; cc_*.go: those there are. path_loss.go:
//     the loss that is the path's own, and not congestion.
//   - crypt_envelope.go, crypt*.go, entropy.go, nonce_count.go, segment.go, packet.go: what a datagram is
//     made of. fec.go: the format and the codes of FEC, with fec_encoder.go, fec_adapt.go, fec_cache.go,
//     fec_decoder.go, fec_shape.go and fec_lagrange.go.
//   - seal_*.go, from seal_psk.go up: sealed sessions, with what a session (sess_seal*.go), a listener
//     (listener_seal.go) and a core (kcp_seal.go) do for them.
//   - tx*.go, write_loop.go, readloop*.go, gso_linux.go, mmsg_*.go, socket.go, overflow.go, addr*.go and
//     reuseport_*.go: sockets.
//   - timedsched.go, clock.go, sleep_watch.go, spinlock.go: time and waiting. stats.go, listener_stats.go, send_limit.go,
//     snmp.go: counters. sessions.go: the loops over what there is. vars.go: for
//     expvar. trace.go, trace_slog.go: events.
//     errors.go, errno*.go: errors. assert.go: what the types are. race_*.go, xor_*.go: what
//     differs with the race detector, and with the processor.
//
// Types and the behaviour that joins them are apart so that an arrow from a file to one that it
// uses points down: a type of the core or the session can be read, tested and changed alone.
//
// A session (sess_drive.go) is driven by three things: a caller, the socket's reader, and a timer.
// Each passes all it has to the core under one lock, flushes once, and sends what came out when the
// lock is released; a transport's reader does so for all the sessions that one read touched, with
// one system call. A driver sends only what the socket takes at once, and not for long; the rest is
// left to the socket's write loop (write_loop.go). Where sending may block, on a PacketConn that is
// no UDP socket or without batched system calls, readers and timers leave everything to it. So
// neither a reader nor a timer ever waits for a socket.
//
// There is no goroutine for a session, and a program needs none either where its event loop calls
// [UDPSession.TryRead] after [UDPSession.SetReadNotify]. A listener has one reader, or on Linux one
// for each processor, up to eight, with sockets at the same address among which the kernel
// distributes the peers (reuseport_linux.go); a dialled session has the reader of its own socket, or
// shares a [Transport]'s with others; and all share the few goroutines of [SystemTimedSched]. On a [PacketPusher] nothing is read.
// Timer workers, write loops, and the goroutines that call out-of-band handlers or notify are there
// only while there is something to do. An idle session has no deadline, and costs nothing but its
// memory.
//
// On Linux, datagrams move in batches, and on sockets that the package opened itself with
// segmentation offload where the kernel has it (gso_linux.go; set the environment variable
// KCP_NO_OFFLOAD to switch that off). Elsewhere (mmsg_other.go), and with the build tag
// kcpgeneric, they move one by one.
package kcp
