// Package explain says in words what bounds a session, from samples of its Stats.
package explain

import (
	"time"

	"github.com/xtaci/kcp-go/v5"
)

// A Sample is what is known of a session at one time. A series of them is what Judge judges. Its JSON is what
// kcp's -stats writes and kcp explain reads.
type Sample struct {
	At      time.Duration `json:"at"`                // on any clock
	Session string        `json:"session,omitempty"` // its name, where there are several
	Stats   kcp.Stats     `json:"stats"`
	Peer    *kcp.Stats    `json:"peer,omitempty"` // the other end's, where they are known

	CPU time.Duration `json:"cpu,omitempty"` // that the process has used, or waited for while others had it; 0 is unknown

	Qlog bool `json:"qlog,omitempty"` // it is from a qlog file: what CPU was used and what kernels dropped is unknown

	Strangers uint64  `json:"strangers,omitempty"` // datagrams that did not open, at the listener
	Failed    Failure `json:"failed,omitempty"`    // why there is no session, or none any more
	Why       string  `json:"why,omitempty"`       // the same in words
}

// A Failure is why there is no session.
type Failure string

const (
	WrongKey Failure = "key"       // the other end has another key, or does not seal
	NoAnswer Failure = "no answer" // or no more
)

// Lost returns the segments declared lost that did not arrive after all.
func Lost(s *kcp.Stats) uint64 {
	lost := s.LostFast + s.LostEarly + s.LostTimeout
	return lost - min(lost, s.Spurious)
}
