package kcp

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// sendBudget is how long a socket's reader, a timer worker, a setter or a Read sends before it
	// leaves the rest to the socket's write loop. A Write sends its own data however long it
	// takes, and then as long for others.
	sendBudget = int64(time.Millisecond)
	// sendQueueMax is how many datagrams may wait for a socket that does not take them before
	// nothing more is written for it: as many as one system call sends, at most 384 KB.
	sendQueueMax = sendPiece
	// sendBurstMax is how many may wait while somebody sends: 3 MB.
	sendBurstMax = 2048
)

// sender holds the datagrams of a session, or of a listener's replies, on their way to the socket,
// and sends them in order. Its owner's lock guards it; send releases the lock while it sends.
//
//	write ─▶ queue ─begin─▶ batch ─send─▶ socket
//	           oob ───┘
//
// Out-of-band datagrams go behind all that is queued when the batch begins.
//
// Drivers only send what the socket takes at once, and not for long. What is left is deferred to the
// socket's write loop (write_loop.go); until that has sent it, drivers only queue. So a socket that is
// full, or a PacketConn that blocks, makes nobody wait but that loop, and a Write when the sender is
// crowded.
type sender struct {
	mu    *sync.Mutex // the owner's lock
	owner deferredSender
	env   *envelope
	snmp  *Snmp
	sock  *socket
	pool  *packetPool
	keys  *datagramSealer // that what is written from now on is sealed with, nil for the shared cipher

	inPlace  inPlaceBatches
	current  outbound   // the datagram being written
	queue    []outbound // written, not in a batch yet
	oob      []outbound // out-of-band datagrams, likewise
	batch    outBatch   // begun; while busy as it was before
	spare    []outbound // an empty slice to take queue's place
	busy     bool       // the batch is being sent, without the lock
	deferred bool       // the socket's write loop sends
	jumbo    bool       // the last datagram may have become a jumbo one
}

// buffer starts a datagram to to, of at most so many bytes when it is sealed, in a packet of its own.
func (t *sender) buffer(to *destination, size int) []byte {
	p := t.pool.get()
	t.current = outbound{p.room(size), p, to, t.keys}
	t.jumbo = size > mtuLimit
	return t.current.data
}

// sendInPlace starts a datagram in the memory of a segment. If it has to be sealed, it is sealed
// into a packet of its own.
func (t *sender) sendInPlace(segment *packet, to *destination) {
	t.current = outbound{segment.mem[:], nil, to, t.keys}
	if !t.env.plain() || t.keys != nil {
		t.current.p = t.pool.get()
	}
}

// finish ends the datagram that buffer or sendInPlace started, and returns it.
func (t *sender) finish(n int) outbound {
	o := t.current
	t.current = outbound{}
	o.data = o.data[:n]
	if n <= mtuBase && o.jumbo() { // it has become a small one
		small := o.p.mem[:copy(o.p.mem[:], o.data)]
		o.p.shrink()
		o.data = small
	}
	return o
}

// enqueue appends a datagram and so many copies of it, to be sealed, to what is to be sent.
func (t *sender) enqueue(o outbound, copies int) {
	t.queue = t.appendCopies(t.queue, o, copies)
}

// enqueueOOB is enqueue for an out-of-band datagram.
func (t *sender) enqueueOOB(o outbound, copies int) {
	t.oob = t.appendCopies(t.oob, o, copies)
}

func (t *sender) appendCopies(to []outbound, o outbound, copies int) []outbound {
	to = append(to, o)
	for range copies {
		p := t.pool.get()
		b := p.room(min(cap(o.data), jumboLimit))
		to = append(to, outbound{b[:copy(b, o.data)], p, o.to, o.keys})
	}
	return to
}

// written says whether something is to go in the next batch.
func (t *sender) written() bool { return len(t.queue) > 0 || len(t.oob) > 0 }

// pending says whether something is to be sent.
func (t *sender) pending() bool { return t.written() || t.batch.left() > 0 }

// crowded says that what is sent is not taken fast enough, by the socket or the cipher, and that
// enough waits.
func (t *sender) crowded() bool {
	waiting := len(t.queue) + t.batch.left()
	if t.jumbo {
		waiting *= jumboLimit / mtuLimit
	}
	return waiting >= sendQueueMax && (t.deferred || waiting >= sendBurstMax)
}

// begin makes what is queued the batch to be sent, if a driver may send now. What is left of a batch
// that the socket did not take is the write loop's. own says that the driver has written what is
// queued.
func (t *sender) begin(own bool) bool {
	if t.busy || t.deferred || !t.sock.sendsAtOnce(own) || t.batch.left() > 0 || !t.written() {
		return false
	}
	t.beginBatch()
	return true
}

func (t *sender) beginBatch() {
	t.inPlace.begin()
	if len(t.oob) > 0 {
		t.queue = append(t.queue, t.oob...)
		clear(t.oob)
		t.oob = t.oob[:0]
	}
	t.batch = outBatch{list: t.queue}
	t.queue, t.spare = t.spare, nil
	t.busy = true
}

// end takes the batch back after it was sent, as far as it was.
func (t *sender) end() {
	t.busy = false
	if t.batch.left() > 0 {
		return
	}
	for i := range t.batch.list {
		t.batch.list[i].release(t.pool)
	}
	t.inPlace.end(t.pool)
	clear(t.batch.list)
	t.batch, t.spare = outBatch{}, t.batch.list[:0]
}

// send sends what is queued until the time until; never means that it is the driver's own. It returns
// false, and has done nothing, if nothing is queued or somebody else is to send.
func (t *sender) send(until int64) (sent bool, refused int, err error) {
	if !t.begin(until == never) {
		return false, 0, nil
	}
	refused, _, err = t.transmit(until)
	return true, refused, err
}

// transmit sends the batch, without the lock meanwhile.
func (t *sender) transmit(until int64) (refused int, full bool, err error) {
	b, sock := t.batch, t.sock
	t.mu.Unlock()
	refused, full, err = b.transmit(t.env, t.snmp, sock, until)
	lockSpinning(t.mu)
	if sock != t.sock { // see moveTo
		b.next, full, err = len(b.list), false, nil
	}
	t.batch = b
	t.end()
	return refused, full, err
}

// deferRest leaves what drivers have not sent to the socket's write loop.
func (t *sender) deferRest() {
	if !t.busy && !t.deferred && t.pending() {
		t.deferred = true
		t.sock.writes.add(t.owner)
	}
}

// resume is the write loop's turn to send, until the time until. What is left then stays
// deferred; full says that the socket takes no more.
func (t *sender) resume(until int64) (refused int, full bool, err error) {
	if t.batch.left() == 0 && t.written() {
		t.beginBatch()
	}
	if t.batch.left() > 0 {
		t.busy = true
		refused, full, err = t.transmit(until)
	}
	t.deferred = t.pending()
	return refused, full, err
}

// discard drops what is to be sent. Nobody may be sending.
func (t *sender) discard() {
	for _, o := range append(t.queue, t.oob...) {
		o.release(t.pool)
	}
	t.queue, t.oob = nil, nil
	t.batch.next = len(t.batch.list)
	t.end()
	t.inPlace.begin() // the batch that the queue would have been
	t.inPlace.end(t.pool)
	t.trim()
}

// trim gives memory back after a pause.
func (t *sender) trim() {
	t.spare = nil
	if len(t.oob) == 0 {
		t.oob = nil
	}
	t.inPlace.trim()
}

// outBatch is a batch of datagrams being sent.
type outBatch struct {
	list   []outbound
	next   int // the first that was not sent
	sealed int // the first that was not sealed
}

func (b *outBatch) left() int { return len(b.list) - b.next }

// take brings b up to date with its part of a larger batch, which starts at at, and returns where
// the part ends.
func (b *outBatch) take(whole *outBatch, at int) (end int) {
	end = at + len(b.list)
	if whole.next < end {
		copy(b.list, whole.list[at:end]) // sealed, perhaps
	}
	b.next = min(max(whole.next-at, 0), len(b.list))
	b.sealed = min(max(whole.sealed-at, 0), len(b.list))
	return end
}

// transmit seals and sends what is left, until the socket is full or the time is until. refused is
// the number of datagrams that the socket refused; an error means that it is closed. The packets
// stay the caller's.
func (b *outBatch) transmit(env *envelope, snmp *Snmp, sock *socket, until int64) (refused int, full bool, err error) {
	var packets, bytes uint64
	for b.left() > 0 {
		if b.sealed <= b.next {
			piece := b.list[b.next:min(b.next+env.piece, len(b.list))]
			env.sealAll(piece)
			b.sealed = b.next + len(piece)
			packets += uint64(len(piece))
			for _, o := range piece {
				bytes += uint64(len(o.data))
			}
		}
		var n, r int
		n, r, full, err = sock.send(b.list[b.next:b.sealed], until)
		b.next += n
		refused += r
		if err != nil {
			b.next = len(b.list)
		}
		if full || err != nil || until != never && b.left() > 0 && clock() >= until {
			break
		}
	}
	atomic.AddUint64(&snmp.OutPkts, packets)
	atomic.AddUint64(&snmp.OutBytes, bytes)
	return refused, full, err
}
