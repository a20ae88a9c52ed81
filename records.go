package kcp

import (
	"encoding/binary"
	"time"
)

// Records are the data of WINS and WASK segments (docs/protocol.md, Records): type, length, body.
// Deployed peers skip that data.
const (
	recordHeaderSize = 3
	recordPad        = 0 // PAD: anything
	recordParams     = 1 // PARAMS
	recordPath       = 6 // PATH: a random u64
	recordPathOK     = 7 // PATH OK: its echo
	recordProbe      = 8 // PROBE: a random u32
	recordProbeOK    = 9 // PROBE OK: its echo
)

// pathSize is the length of a record that appendPath makes.
const pathSize = recordHeaderSize + 8

// probeOKSize is the length of a record that appendProbe makes.
const probeOKSize = recordHeaderSize + 4

// The parameters that a PARAMS record consists of: id, length, value.
const (
	paramHeaderSize = 2
	paramFeatures   = 1 // u32, the sum of features
	paramDatagram   = 2 // u16, the longest datagram that its sender reads, in bytes
	paramAckDelay   = 3 // u16, the longest that it delays an acknowledgement, in ms
)

// The features of an end.
const (
	featureDgram   = 1 // it takes DGRAM, and sends REPORT
	featureRanges  = 2 // it takes ranges in an ACK
	featureRepairs = 4 // it takes REP, sends REPORT, and marks what it has rebuilt
	featureSkip    = 8 // it takes SKIP
)

// paramsSize is the length of the records that appendParams makes.
const paramsSize = recordHeaderSize + 3*paramHeaderSize + 4 + 2 + 2

// Bounds of what a peer's parameters are taken for.
const (
	datagramMin      = 1200
	peerAckDelayMax  = 100 * int64(time.Millisecond)
	peerAckDelayUnit = int64(time.Millisecond)
)

// params is what an endpoint tells of itself in a PARAMS record.
type params struct {
	known    bool
	features uint32
	datagram int   // longest datagram that it reads, in bytes
	ackDelay int64 // longest time that it delays an acknowledgement, negative for unknown
}

// cutRecord returns the first record of a list and what follows. ok is false where there is none.
func cutRecord(b []byte) (kind uint8, body, rest []byte, ok bool) {
	if len(b) < recordHeaderSize {
		return 0, nil, nil, false
	}
	n := int(binary.LittleEndian.Uint16(b[1:]))
	kind, rest = b[0], b[recordHeaderSize:]
	if n > len(rest) {
		return 0, nil, nil, false
	}
	return kind, rest[:n], rest[n:], true
}

// parseParams reads the body of a PARAMS record. What is not there has its default, and ids that are
// not known are skipped. ok is false where the list does not parse; p is what stands before that.
func parseParams(b []byte) (p params, ok bool) {
	p = params{known: true, datagram: mtuLimit, ackDelay: -1}
	for len(b) > 0 {
		if len(b) < paramHeaderSize || len(b) < paramHeaderSize+int(b[1]) {
			return p, false
		}
		id, v := b[0], b[paramHeaderSize:paramHeaderSize+int(b[1])]
		b = b[paramHeaderSize+len(v):]
		le := binary.LittleEndian
		switch {
		case id < paramFeatures || id > paramAckDelay:
		case id == paramFeatures && len(v) == 4:
			p.features = le.Uint32(v)
		case id == paramDatagram && len(v) == 2:
			p.datagram = max(int(le.Uint16(v)), datagramMin)
		case id == paramAckDelay && len(v) == 2:
			p.ackDelay = min(int64(le.Uint16(v))*peerAckDelayUnit, peerAckDelayMax)
		default:
			return p, false
		}
	}
	return p, true
}

// appendParams appends a PARAMS record to b.
func appendParams(b []byte, p *params) []byte {
	le := binary.LittleEndian
	b = append(b, recordParams)
	b = le.AppendUint16(b, paramsSize-recordHeaderSize)
	return appendParamPairs(b, p)
}

// appendParamPairs appends the body of a PARAMS record to b.
func appendParamPairs(b []byte, p *params) []byte {
	le := binary.LittleEndian
	b = append(b, paramFeatures, 4)
	b = le.AppendUint32(b, p.features)
	b = append(b, paramDatagram, 2)
	b = le.AppendUint16(b, uint16(p.datagram))
	b = append(b, paramAckDelay, 2)
	return le.AppendUint16(b, uint16((p.ackDelay+peerAckDelayUnit-1)/peerAckDelayUnit))
}

// appendPath appends a PATH or PATH OK record to b.
func appendPath(b []byte, kind uint8, value uint64) []byte {
	b = append(b, kind)
	b = binary.LittleEndian.AppendUint16(b, pathSize-recordHeaderSize)
	return binary.LittleEndian.AppendUint64(b, value)
}

// parsePath reads the body of a PATH or PATH OK record.
func parsePath(b []byte) (value uint64, ok bool) {
	if len(b) != pathSize-recordHeaderSize {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b), true
}

// appendProbe appends a PROBE or PROBE OK record to b.
func appendProbe(b []byte, kind uint8, value uint32) []byte {
	b = append(b, kind)
	b = binary.LittleEndian.AppendUint16(b, probeOKSize-recordHeaderSize)
	return binary.LittleEndian.AppendUint32(b, value)
}

// parseProbe reads the body of a PROBE or PROBE OK record.
func parseProbe(b []byte) (value uint32, ok bool) {
	if len(b) != probeOKSize-recordHeaderSize {
		return 0, false
	}
	return binary.LittleEndian.Uint32(b), true
}
