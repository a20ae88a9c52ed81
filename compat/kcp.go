// Package kcp gives programs that import github.com/xtaci/kcp-go, the path before /v5, the package
// at github.com/xtaci/kcp-go/v5. A program needs two replace lines:
//
//	go mod edit -replace github.com/xtaci/kcp-go=/path/to/this/clone/compat
//	go mod edit -replace github.com/xtaci/kcp-go/v5=/path/to/this/clone
//	go mod tidy
//
// Every name of the published API is here, and documented there. The types are aliases, so a
// program, or libraries in it, may use both paths and pass sessions, listeners and ciphers between
// them. What is newer, such as Dialer and Settings, is at /v5 only.
package kcp

import (
	"crypto/cipher"
	"net"

	v5 "github.com/xtaci/kcp-go/v5"
)

// The types of /v5.
type (
	BlockCrypt      = v5.BlockCrypt
	Entropy         = v5.Entropy
	KCP             = v5.KCP
	Listener        = v5.Listener
	OOBCallBackType = v5.OOBCallBackType
	Snmp            = v5.Snmp
	TimedSched      = v5.TimedSched
	UDPSession      = v5.UDPSession
)

// The constants of /v5.
const (
	IKCP_RTO_NDL     = v5.IKCP_RTO_NDL
	IKCP_RTO_MIN     = v5.IKCP_RTO_MIN
	IKCP_RTO_DEF     = v5.IKCP_RTO_DEF
	IKCP_RTO_MAX     = v5.IKCP_RTO_MAX
	IKCP_CMD_PUSH    = v5.IKCP_CMD_PUSH
	IKCP_CMD_ACK     = v5.IKCP_CMD_ACK
	IKCP_CMD_WASK    = v5.IKCP_CMD_WASK
	IKCP_CMD_WINS    = v5.IKCP_CMD_WINS
	IKCP_ASK_SEND    = v5.IKCP_ASK_SEND
	IKCP_ASK_TELL    = v5.IKCP_ASK_TELL
	IKCP_WND_SND     = v5.IKCP_WND_SND
	IKCP_WND_RCV     = v5.IKCP_WND_RCV
	IKCP_MTU_DEF     = v5.IKCP_MTU_DEF
	IKCP_ACK_FAST    = v5.IKCP_ACK_FAST
	IKCP_INTERVAL    = v5.IKCP_INTERVAL
	IKCP_OVERHEAD    = v5.IKCP_OVERHEAD
	IKCP_DEADLINK    = v5.IKCP_DEADLINK
	IKCP_THRESH_INIT = v5.IKCP_THRESH_INIT
	IKCP_THRESH_MIN  = v5.IKCP_THRESH_MIN
	IKCP_PROBE_INIT  = v5.IKCP_PROBE_INIT
	IKCP_PROBE_LIMIT = v5.IKCP_PROBE_LIMIT
)

// The objects of /v5: what sessions count in, and what runs their timers, whichever path made them.
// Go has no alias for a variable, so these are copies of the pointers, made once: use what they
// point to, and assign nothing to them, as sessions would not notice.
var (
	DefaultSnmp      = v5.DefaultSnmp
	SystemTimedSched = v5.SystemTimedSched
)

// CurrentMs is the function of that name in /v5.
func CurrentMs() uint32 { return v5.CurrentMs() }

// Dial is the function of that name in /v5.
func Dial(raddr string) (net.Conn, error) { return v5.Dial(raddr) }

// DialWithOptions is the function of that name in /v5.
func DialWithOptions(raddr string, block BlockCrypt, dataShards, parityShards int) (*UDPSession, error) {
	return v5.DialWithOptions(raddr, block, dataShards, parityShards)
}

// NewConn is the function of that name in /v5.
func NewConn(raddr string, block BlockCrypt, dataShards, parityShards int, conn net.PacketConn) (*UDPSession, error) {
	return v5.NewConn(raddr, block, dataShards, parityShards, conn)
}

// NewConn2 is the function of that name in /v5.
func NewConn2(raddr net.Addr, block BlockCrypt, dataShards, parityShards int, conn net.PacketConn) (*UDPSession, error) {
	return v5.NewConn2(raddr, block, dataShards, parityShards, conn)
}

// NewConn3 is the function of that name in /v5.
func NewConn3(conv uint32, raddr net.Addr, block BlockCrypt, dataShards, parityShards int, conn net.PacketConn) (*UDPSession, error) {
	return v5.NewConn3(conv, raddr, block, dataShards, parityShards, conn)
}

// NewConn4 is the function of that name in /v5.
func NewConn4(conv uint32, raddr net.Addr, block BlockCrypt, dataShards, parityShards int, ownConn bool, conn net.PacketConn) (*UDPSession, error) {
	return v5.NewConn4(conv, raddr, block, dataShards, parityShards, ownConn, conn)
}

// Listen is the function of that name in /v5.
func Listen(laddr string) (net.Listener, error) { return v5.Listen(laddr) }

// ListenWithOptions is the function of that name in /v5.
func ListenWithOptions(laddr string, block BlockCrypt, dataShards, parityShards int) (*Listener, error) {
	return v5.ListenWithOptions(laddr, block, dataShards, parityShards)
}

// ServeConn is the function of that name in /v5.
func ServeConn(block BlockCrypt, dataShards, parityShards int, conn net.PacketConn) (*Listener, error) {
	return v5.ServeConn(block, dataShards, parityShards, conn)
}

// NewKCP is the function of that name in /v5.
func NewKCP(conv uint32, output func(buf []byte, size int)) *KCP { return v5.NewKCP(conv, output) }

// NewTimedSched is the function of that name in /v5.
func NewTimedSched(parallel int) *TimedSched { return v5.NewTimedSched(parallel) }

// NewAEADCrypt is the function of that name in /v5.
func NewAEADCrypt(aead cipher.AEAD) BlockCrypt { return v5.NewAEADCrypt(aead) }

// NewAESBlockCrypt is the function of that name in /v5.
func NewAESBlockCrypt(key []byte) (BlockCrypt, error) { return v5.NewAESBlockCrypt(key) }

// NewAESGCMCrypt is the function of that name in /v5.
func NewAESGCMCrypt(key []byte) (BlockCrypt, error) { return v5.NewAESGCMCrypt(key) }

// NewBlowfishBlockCrypt is the function of that name in /v5.
func NewBlowfishBlockCrypt(key []byte) (BlockCrypt, error) { return v5.NewBlowfishBlockCrypt(key) }

// NewCast5BlockCrypt is the function of that name in /v5.
func NewCast5BlockCrypt(key []byte) (BlockCrypt, error) { return v5.NewCast5BlockCrypt(key) }

// NewNoneBlockCrypt is the function of that name in /v5.
func NewNoneBlockCrypt(key []byte) (BlockCrypt, error) { return v5.NewNoneBlockCrypt(key) }

// NewSM4BlockCrypt is the function of that name in /v5.
func NewSM4BlockCrypt(key []byte) (BlockCrypt, error) { return v5.NewSM4BlockCrypt(key) }

// NewSalsa20BlockCrypt is the function of that name in /v5.
func NewSalsa20BlockCrypt(key []byte) (BlockCrypt, error) { return v5.NewSalsa20BlockCrypt(key) }

// NewSimpleXORBlockCrypt is the function of that name in /v5.
func NewSimpleXORBlockCrypt(key []byte) (BlockCrypt, error) { return v5.NewSimpleXORBlockCrypt(key) }

// NewTEABlockCrypt is the function of that name in /v5.
func NewTEABlockCrypt(key []byte) (BlockCrypt, error) { return v5.NewTEABlockCrypt(key) }

// NewTripleDESBlockCrypt is the function of that name in /v5.
func NewTripleDESBlockCrypt(key []byte) (BlockCrypt, error) { return v5.NewTripleDESBlockCrypt(key) }

// NewTwofishBlockCrypt is the function of that name in /v5.
func NewTwofishBlockCrypt(key []byte) (BlockCrypt, error) { return v5.NewTwofishBlockCrypt(key) }

// NewXTEABlockCrypt is the function of that name in /v5.
func NewXTEABlockCrypt(key []byte) (BlockCrypt, error) { return v5.NewXTEABlockCrypt(key) }
