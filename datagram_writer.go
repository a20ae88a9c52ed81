package kcp

// A datagramSink takes the datagrams that a core writes.
type datagramSink interface {
	// buffer returns at least n bytes for the next datagram.
	buffer(n int) []byte
	// emit takes the buffer back at the time now. Its first n bytes are the datagram, reserved
	// bytes included. hasData says that it carries data, which SetRateLimit counts.
	emit(now int64, n int, hasData bool)
}

// An inPlaceSink is a datagramSink that can send a segment from where it lies in the send window.
type inPlaceSink interface {
	datagramSink
	// sendInPlace takes p's own memory as the buffer of the next datagram, which carries p's data
	// and nothing else.
	sendInPlace(p *packet)
	// batches says how long that memory is in use.
	batches() *inPlaceBatches
	// full says that no more data is to be written for now.
	full() bool
	// dataRoom returns how long the next datagram with data may be, while the peer's address is not
	// validated, and challengeFits says whether one without has room for a challenge.
	dataRoom() int
	challengeFits() bool
	// probe returns the room for the segments of the next datagram, which is to have n bytes, and emitProbe
	// sends it, without FEC header and not in fragments.
	probe(n int) []byte
	emitProbe(n int)
}

// datagramWriter packs segments into datagrams.
type datagramWriter struct {
	sink    datagramSink
	inPlace inPlaceSink // sink, if it is one
	buf     []byte      // the datagram being written, nil for none
	n       int         // its length so far
	hasData bool        // it carries data
	led     leadKind    // what it begins with, see coreSeal
}

// full says that the sink takes no more data for now.
func (w *datagramWriter) full() bool { return w.inPlace != nil && w.inPlace.full() }

// end hands over the datagram being written.
func (w *datagramWriter) end(now int64) {
	hasData := w.hasData
	w.buf, w.hasData, w.led = nil, false, leadNone
	w.sink.emit(now, w.n, hasData)
}
