package main

import (
	"errors"
	"time"

	"github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/cmd/kcp/explain"
)

// sampleEvery is the time between two samples.
const sampleEvery = 100 * time.Millisecond

// sampleOf returns a sample of a session of this process.
func sampleOf(s *kcp.UDPSession, at time.Duration) explain.Sample {
	return explain.Sample{At: at, Stats: s.Stats(), CPU: cpuWanted()}
}

// failedSample returns a sample of a session that there is not, or not any more, and whether err is of that
// kind.
func failedSample(err error) (s explain.Sample, ok bool) {
	var f *failure
	if !errors.As(err, &f) {
		return s, false
	}
	switch f.code {
	case codeKey:
		s.Failed = explain.WrongKey
	case codeNoAnswer, codeLost:
		s.Failed = explain.NoAnswer
	default:
		return s, false
	}
	s.Why = err.Error()
	return s, true
}
