package kcp

// The tests import nothing by this module's own path, so that a replace line may put the module in
// place of any other path, and go mod tidy, which reads the tests too, finds all that they need.

import (
	"crypto/cipher"
	"fmt"
	"io"
	"net"
	"reflect"
	"testing"
	"time"

	v5 "github.com/xtaci/kcp-go/v5"
)

// The published API, with its types: the package compiles only with every name of it.
var (
	_ func() uint32                                                                           = CurrentMs
	_ func(string) (net.Conn, error)                                                          = Dial
	_ func(string) (net.Listener, error)                                                      = Listen
	_ func(string, BlockCrypt, int, int) (*UDPSession, error)                                 = DialWithOptions
	_ func(string, BlockCrypt, int, int) (*Listener, error)                                   = ListenWithOptions
	_ func(BlockCrypt, int, int, net.PacketConn) (*Listener, error)                           = ServeConn
	_ func(string, BlockCrypt, int, int, net.PacketConn) (*UDPSession, error)                 = NewConn
	_ func(net.Addr, BlockCrypt, int, int, net.PacketConn) (*UDPSession, error)               = NewConn2
	_ func(uint32, net.Addr, BlockCrypt, int, int, net.PacketConn) (*UDPSession, error)       = NewConn3
	_ func(uint32, net.Addr, BlockCrypt, int, int, bool, net.PacketConn) (*UDPSession, error) = NewConn4
	_ func(uint32, func([]byte, int)) *KCP                                                    = NewKCP
	_ func(int) *TimedSched                                                                   = NewTimedSched
	_ func(cipher.AEAD) BlockCrypt                                                            = NewAEADCrypt

	_ net.Conn     = (*UDPSession)(nil)
	_ net.Listener = (*Listener)(nil)

	_ interface {
		Check() uint32
		Input(data []byte, regular, ackNoDelay bool) int
		NoDelay(nodelay, interval, resend, nc int) int
		PeekSize() int
		Recv([]byte) int
		ReserveBytes(int) bool
		Send([]byte) int
		SetMtu(int) int
		Update()
		WaitSnd() int
		WndSize(send, receive int) int
	} = (*KCP)(nil)
	_ interface {
		AcceptKCP() (*UDPSession, error)
		Control(func(net.PacketConn) error) error
		SetDSCP(int) error
		SetDeadline(time.Time) error
		SetReadBuffer(int) error
		SetReadDeadline(time.Time) error
		SetWriteBuffer(int) error
		SetWriteDeadline(time.Time) error
	} = (*Listener)(nil)
	_ interface {
		Control(func(net.PacketConn) error) error
		GetConv() uint32
		GetOOBMaxSize() int
		GetRTO() uint32
		GetSRTT() int32
		GetSRTTVar() int32
		SendOOB([]byte) error
		SetACKNoDelay(bool)
		SetDSCP(int) error
		SetDUP(int)
		SetMtu(int) bool
		SetNoDelay(nodelay, interval, resend, nc int)
		SetOOBHandler(OOBCallBackType) error
		SetRateLimit(uint32)
		SetReadBuffer(int) error
		SetStreamMode(bool)
		SetWindowSize(send, receive int)
		SetWriteBuffer(int) error
		SetWriteDelay(bool)
		WriteBuffers([][]byte) (int, error)
	} = (*UDPSession)(nil)
	_ interface {
		Copy() *Snmp
		Header() []string
		Reset()
		ToSlice() []string
	} = (*Snmp)(nil)
	_ interface {
		Close()
		Put(func(), time.Time)
	} = (*TimedSched)(nil)

	_ OOBCallBackType = func([]byte) {}
	_ Entropy         = interface {
		Init()
		Fill(nonce []byte)
	}(nil)
	_ BlockCrypt = interface {
		Encrypt(dst, src []byte)
		Decrypt(dst, src []byte)
	}(nil)
)

// ciphers are all that take a key, with a length that each accepts.
var ciphers = map[string]struct {
	newCrypt func([]byte) (BlockCrypt, error)
	keySize  int
}{
	"AES":      {NewAESBlockCrypt, 32},
	"AES-GCM":  {NewAESGCMCrypt, 16},
	"Blowfish": {NewBlowfishBlockCrypt, 32},
	"CAST5":    {NewCast5BlockCrypt, 16},
	"None":     {NewNoneBlockCrypt, 16},
	"SM4":      {NewSM4BlockCrypt, 16},
	"Salsa20":  {NewSalsa20BlockCrypt, 32},
	"XOR":      {NewSimpleXORBlockCrypt, 32},
	"TEA":      {NewTEABlockCrypt, 16},
	"3DES":     {NewTripleDESBlockCrypt, 24},
	"Twofish":  {NewTwofishBlockCrypt, 32},
	"XTEA":     {NewXTEABlockCrypt, 16},
}

// Constants have their published values.
func TestConstants(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want int
	}{
		{"RTO_NDL", IKCP_RTO_NDL, 30}, {"RTO_MIN", IKCP_RTO_MIN, 100},
		{"RTO_DEF", IKCP_RTO_DEF, 200}, {"RTO_MAX", IKCP_RTO_MAX, 60000},
		{"CMD_PUSH", IKCP_CMD_PUSH, 81}, {"CMD_ACK", IKCP_CMD_ACK, 82},
		{"CMD_WASK", IKCP_CMD_WASK, 83}, {"CMD_WINS", IKCP_CMD_WINS, 84},
		{"ASK_SEND", IKCP_ASK_SEND, 1}, {"ASK_TELL", IKCP_ASK_TELL, 2},
		{"WND_SND", IKCP_WND_SND, 32}, {"WND_RCV", IKCP_WND_RCV, 32},
		{"MTU_DEF", IKCP_MTU_DEF, 1400}, {"ACK_FAST", IKCP_ACK_FAST, 3},
		{"INTERVAL", IKCP_INTERVAL, 100}, {"OVERHEAD", IKCP_OVERHEAD, 24},
		{"DEADLINK", IKCP_DEADLINK, 20}, {"THRESH_INIT", IKCP_THRESH_INIT, 2},
		{"THRESH_MIN", IKCP_THRESH_MIN, 2}, {"PROBE_INIT", IKCP_PROBE_INIT, 7000},
		{"PROBE_LIMIT", IKCP_PROBE_LIMIT, 120000},
	} {
		if c.got != c.want {
			t.Errorf("IKCP_%s is %d, want %d", c.name, c.got, c.want)
		}
	}
}

// Snmp has its published counters.
func TestCounters(t *testing.T) {
	snmp := reflect.TypeFor[Snmp]()
	for _, name := range []string{
		"BytesSent", "BytesReceived", "MaxConn", "ActiveOpens", "PassiveOpens", "CurrEstab",
		"InErrs", "InCsumErrors", "KCPInErrors", "InPkts", "OutPkts", "InSegs", "OutSegs",
		"InBytes", "OutBytes", "RetransSegs", "FastRetransSegs", "EarlyRetransSegs", "LostSegs",
		"RepeatSegs", "FECRecovered", "FECErrs", "FECParityShards", "FECShortShards",
	} {
		if f, ok := snmp.FieldByName(name); !ok || f.Type.Kind() != reflect.Uint64 {
			t.Errorf("Snmp has no %s uint64", name)
		}
	}
}

// Variables are the same objects at both paths.
func TestSameObjects(t *testing.T) {
	if DefaultSnmp == nil || DefaultSnmp != v5.DefaultSnmp {
		t.Error("DefaultSnmp is another one")
	}
	if SystemTimedSched == nil || SystemTimedSched != v5.SystemTimedSched {
		t.Error("SystemTimedSched is another one")
	}
}

// A listener of one path serves a session of the other, with each cipher, and both count in
// DefaultSnmp.
func TestBothPaths(t *testing.T) {
	for name, c := range ciphers {
		t.Run(name, func(t *testing.T) {
			block, err := c.newCrypt(make([]byte, c.keySize))
			if err != nil {
				t.Fatal(err)
			}
			before := DefaultSnmp.Copy()
			l, err := ListenWithOptions("127.0.0.1:0", block, 10, 3)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			s, err := v5.DialWithOptions(l.Addr().String(), block, 10, 3)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			s.SetDeadline(time.Now().Add(time.Minute))
			fmt.Fprint(s, "hello")
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			peer := conn.(*UDPSession)
			defer peer.Close()
			go io.CopyN(peer, peer, 5)
			got := make([]byte, 5)
			if _, err := io.ReadFull(s, got); err != nil || string(got) != "hello" {
				t.Errorf("%q, %v", got, err)
			}
			after := v5.DefaultSnmp.Copy()
			if after.PassiveOpens == before.PassiveOpens || after.ActiveOpens == before.ActiveOpens {
				t.Error("not counted")
			}
		})
	}
}
