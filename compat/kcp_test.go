package kcp_test

import (
	"crypto/cipher"
	"fmt"
	"io"
	"net"
	"reflect"
	"testing"
	"time"

	"github.com/xtaci/kcp-go"
	v5 "github.com/xtaci/kcp-go/v5"
)

// The published API, with its types: the package compiles only with every name of it.
var (
	_ func() uint32                                                                                   = kcp.CurrentMs
	_ func(string) (net.Conn, error)                                                                  = kcp.Dial
	_ func(string) (net.Listener, error)                                                              = kcp.Listen
	_ func(string, kcp.BlockCrypt, int, int) (*kcp.UDPSession, error)                                 = kcp.DialWithOptions
	_ func(string, kcp.BlockCrypt, int, int) (*kcp.Listener, error)                                   = kcp.ListenWithOptions
	_ func(kcp.BlockCrypt, int, int, net.PacketConn) (*kcp.Listener, error)                           = kcp.ServeConn
	_ func(string, kcp.BlockCrypt, int, int, net.PacketConn) (*kcp.UDPSession, error)                 = kcp.NewConn
	_ func(net.Addr, kcp.BlockCrypt, int, int, net.PacketConn) (*kcp.UDPSession, error)               = kcp.NewConn2
	_ func(uint32, net.Addr, kcp.BlockCrypt, int, int, net.PacketConn) (*kcp.UDPSession, error)       = kcp.NewConn3
	_ func(uint32, net.Addr, kcp.BlockCrypt, int, int, bool, net.PacketConn) (*kcp.UDPSession, error) = kcp.NewConn4
	_ func(uint32, func([]byte, int)) *kcp.KCP                                                        = kcp.NewKCP
	_ func(int) *kcp.TimedSched                                                                       = kcp.NewTimedSched
	_ func(cipher.AEAD) kcp.BlockCrypt                                                                = kcp.NewAEADCrypt

	_ net.Conn     = (*kcp.UDPSession)(nil)
	_ net.Listener = (*kcp.Listener)(nil)

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
	} = (*kcp.KCP)(nil)
	_ interface {
		AcceptKCP() (*kcp.UDPSession, error)
		Control(func(net.PacketConn) error) error
		SetDSCP(int) error
		SetDeadline(time.Time) error
		SetReadBuffer(int) error
		SetReadDeadline(time.Time) error
		SetWriteBuffer(int) error
		SetWriteDeadline(time.Time) error
	} = (*kcp.Listener)(nil)
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
		SetOOBHandler(kcp.OOBCallBackType) error
		SetRateLimit(uint32)
		SetReadBuffer(int) error
		SetStreamMode(bool)
		SetWindowSize(send, receive int)
		SetWriteBuffer(int) error
		SetWriteDelay(bool)
		WriteBuffers([][]byte) (int, error)
	} = (*kcp.UDPSession)(nil)
	_ interface {
		Copy() *kcp.Snmp
		Header() []string
		Reset()
		ToSlice() []string
	} = (*kcp.Snmp)(nil)
	_ interface {
		Close()
		Put(func(), time.Time)
	} = (*kcp.TimedSched)(nil)

	_ kcp.OOBCallBackType = func([]byte) {}
	_ kcp.Entropy         = interface {
		Init()
		Fill(nonce []byte)
	}(nil)
	_ kcp.BlockCrypt = interface {
		Encrypt(dst, src []byte)
		Decrypt(dst, src []byte)
	}(nil)
)

// ciphers are all that take a key, with a length that each accepts.
var ciphers = map[string]struct {
	newCrypt func([]byte) (kcp.BlockCrypt, error)
	keySize  int
}{
	"AES":      {kcp.NewAESBlockCrypt, 32},
	"AES-GCM":  {kcp.NewAESGCMCrypt, 16},
	"Blowfish": {kcp.NewBlowfishBlockCrypt, 32},
	"CAST5":    {kcp.NewCast5BlockCrypt, 16},
	"None":     {kcp.NewNoneBlockCrypt, 16},
	"SM4":      {kcp.NewSM4BlockCrypt, 16},
	"Salsa20":  {kcp.NewSalsa20BlockCrypt, 32},
	"XOR":      {kcp.NewSimpleXORBlockCrypt, 32},
	"TEA":      {kcp.NewTEABlockCrypt, 16},
	"3DES":     {kcp.NewTripleDESBlockCrypt, 24},
	"Twofish":  {kcp.NewTwofishBlockCrypt, 32},
	"XTEA":     {kcp.NewXTEABlockCrypt, 16},
}

// Constants have their published values.
func TestConstants(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want int
	}{
		{"RTO_NDL", kcp.IKCP_RTO_NDL, 30}, {"RTO_MIN", kcp.IKCP_RTO_MIN, 100},
		{"RTO_DEF", kcp.IKCP_RTO_DEF, 200}, {"RTO_MAX", kcp.IKCP_RTO_MAX, 60000},
		{"CMD_PUSH", kcp.IKCP_CMD_PUSH, 81}, {"CMD_ACK", kcp.IKCP_CMD_ACK, 82},
		{"CMD_WASK", kcp.IKCP_CMD_WASK, 83}, {"CMD_WINS", kcp.IKCP_CMD_WINS, 84},
		{"ASK_SEND", kcp.IKCP_ASK_SEND, 1}, {"ASK_TELL", kcp.IKCP_ASK_TELL, 2},
		{"WND_SND", kcp.IKCP_WND_SND, 32}, {"WND_RCV", kcp.IKCP_WND_RCV, 32},
		{"MTU_DEF", kcp.IKCP_MTU_DEF, 1400}, {"ACK_FAST", kcp.IKCP_ACK_FAST, 3},
		{"INTERVAL", kcp.IKCP_INTERVAL, 100}, {"OVERHEAD", kcp.IKCP_OVERHEAD, 24},
		{"DEADLINK", kcp.IKCP_DEADLINK, 20}, {"THRESH_INIT", kcp.IKCP_THRESH_INIT, 2},
		{"THRESH_MIN", kcp.IKCP_THRESH_MIN, 2}, {"PROBE_INIT", kcp.IKCP_PROBE_INIT, 7000},
		{"PROBE_LIMIT", kcp.IKCP_PROBE_LIMIT, 120000},
	} {
		if c.got != c.want {
			t.Errorf("IKCP_%s is %d, want %d", c.name, c.got, c.want)
		}
	}
}

// Snmp has its published counters.
func TestCounters(t *testing.T) {
	snmp := reflect.TypeFor[kcp.Snmp]()
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
	if kcp.DefaultSnmp == nil || kcp.DefaultSnmp != v5.DefaultSnmp {
		t.Error("DefaultSnmp is another one")
	}
	if kcp.SystemTimedSched == nil || kcp.SystemTimedSched != v5.SystemTimedSched {
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
			before := kcp.DefaultSnmp.Copy()
			l, err := kcp.ListenWithOptions("127.0.0.1:0", block, 10, 3)
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
			peer := conn.(*kcp.UDPSession)
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
