// Package qlog writes what sessions do to files that qvis (https://qvis.quictools.info) and other viewers
// of qlog open: one file for each session, in the streaming form, JSON Text Sequences
// (https://datatracker.ietf.org/doc/draft-ietf-quic-qlog-main-schema/), by convention named *.sqlog.
//
//	settings.Tracer = qlog.Dir(os.Getenv("QLOGDIR"))
//
// Events that mean what QUIC's mean have QUIC's names and members, which is what viewers draw
// (https://datatracker.ietf.org/doc/draft-ietf-quic-qlog-quic-events/): packets sent, received, lost and
// dropped, metrics of recovery, states of the congestion control, the connection's beginning and end. A
// packet is a datagram, a frame a segment of it. Those that QUIC does not have are in the namespace kcp.
// docs/observe.md lists all.
//
// A packet_number counts the datagrams, as serial numbers of KCP are those of segments, which keep
// them when they are sent again; "sn" is the serial number.
//
// Files have headers and sizes, addresses, and no content. A busy session writes some 300 bytes for each
// datagram.
package qlog

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	kcp "github.com/xtaci/kcp-go/v5"
)

// Dir returns a Settings.Tracer that writes a file for each session to the directory dir, which is made if
// there is none, with the session's conversation and side in its name. It returns nil, which traces
// nothing, for "": so the environment variable QLOGDIR of other programs can be used.
func Dir(dir string) func(s *kcp.UDPSession) kcp.Tracer {
	if dir == "" {
		return nil
	}
	dir = filepath.Clean(dir)
	return New(func(s *kcp.UDPSession, dialled bool) (io.WriteCloser, error) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		return os.CreateTemp(dir, fmt.Sprintf("%08x_%s_*.sqlog", s.GetConv(), side(dialled)))
	})
}

// New returns a Settings.Tracer that writes to what open opens for each session. A nil io.WriteCloser is
// for a session that is not logged. What is written is gathered in 32 KiB, and written when these are full,
// when the session is closed or has failed, and before Close, when it has ended: a Write must not take long,
// as the session waits for it. After an error, which is reported to log/slog, nothing more is written.
func New(open func(s *kcp.UDPSession, dialled bool) (io.WriteCloser, error)) func(s *kcp.UDPSession) kcp.Tracer {
	return func(s *kcp.UDPSession) kcp.Tracer {
		return &log{session: s, open: open, segments: make(map[uint32]transmission)}
	}
}

func side(dialled bool) string {
	if dialled {
		return "client"
	}
	return "server"
}

// log is the file of a session.
type log struct {
	session *kcp.UDPSession
	open    func(s *kcp.UDPSession, dialled bool) (io.WriteCloser, error)
	file    io.WriteCloser // nil where nothing is written
	buffer  *bufio.Writer
	json    *json.Encoder

	sent, received uint64
	segments       map[uint32]transmission // that were sent, and are not acknowledged
	next           uint32                  // the first serial number that was not sent
	offset         uint64                  // bytes of the stream before it
	arriving       *packet                 // what it acknowledges is still to come
	acked          []uint32                // what that is
	metrics        metrics                 // as they were written last
}

// transmission is the last one of a segment.
type transmission struct {
	packet uint64 // its datagram's number
	offset uint64 // in the stream
	length int
}

// begin opens the file and writes its header.
func (l *log) begin(e *kcp.Event) {
	file, err := l.open(l.session, e.Dialled)
	if err != nil || file == nil {
		l.failed(err)
		return
	}
	l.file, l.buffer = file, bufio.NewWriterSize(file, 32<<10)
	l.json = json.NewEncoder(l.buffer)
	l.record(&fileHeader{
		FileSchema: "urn:ietf:params:qlog:file:sequential", Format: "application/qlog+json-seq",
		OldVersion: "0.3", OldFormat: "JSON-SEQ", Title: "kcp",
		Trace: traceHeader{
			Common: commonFields{
				GroupID:   fmt.Sprintf("%08x", l.session.GetConv()),
				Reference: referenceTime{"monotonic", "unknown", time.Now().UTC().Format("2006-01-02T15:04:05.000Z")},
			},
			VantagePoint: vantagePoint{side(e.Dialled)},
			Schemas:      schemas,
		},
	})
}

// record writes a record.
func (l *log) record(r any) {
	if l.file == nil {
		return
	}
	l.buffer.WriteByte(0x1e)
	if err := l.json.Encode(r); err != nil {
		l.failed(err)
	}
}

// event writes an event.
func (l *log) event(e *kcp.Event, name string, data any) {
	l.record(&event{millis(e.At), name, data})
}

func (l *log) failed(err error) {
	if err != nil {
		slog.Warn("qlog: a session is not logged any more", "conv", l.session.GetConv(), "err", err)
	}
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
}

// flush writes what was gathered.
func (l *log) flush() {
	if l.file == nil {
		return
	}
	if err := l.buffer.Flush(); err != nil {
		l.failed(err)
	}
}

// end closes the file.
func (l *log) end() {
	l.flush()
	if l.file == nil {
		return
	}
	err := l.file.Close()
	l.file = nil
	l.failed(err)
}

// millis is a time as qlog has it, to the microsecond.
func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
