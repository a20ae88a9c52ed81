package kcp

import (
	"fmt"
	"io"
	"sync"
)

// keyLog is Settings.KeyLog.
type keyLog struct{ w io.Writer }

// keyLogMu keeps apart what several listeners and diallers write to one writer.
var keyLogMu sync.Mutex

// note writes the lines of a session that has just got its keys; own is the index that this end chose.
// docs/wireshark.md has the format.
func (l keyLog) note(id *identity, conv, own uint32, out *datagramSealer, in *datagramOpener) {
	if l.w == nil {
		return
	}
	l.line(id, conv, out.cipher, out.index, &out.secret)
	l.line(id, conv, in.cipher, own, &in.secrets[0])
}

// line writes that of one direction: of the datagrams whose receiver has that index. s is the secret of their
// first epoch, from which all others follow.
func (l keyLog) line(id *identity, conv uint32, cipher uint8, index uint32, s *secret) {
	b := fmt.Appendf(nil, "KCP_SEALED %08x %08x %d %x %x\n", index, conv, cipher, headKey(id), s[:])
	keyLogMu.Lock()
	defer keyLogMu.Unlock()
	l.w.Write(b) // what a debugger misses is not worth a session
}
