package main

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/xtaci/kcp-go/v5"
	"github.com/xtaci/kcp-go/v5/qlog"
)

// sessionOptions are the options of sessions, which all commands that have some share.
type sessionOptions struct {
	key, private, serverKey string
	cipher, seal            string
	profile, congestion     string
	data, parity            int
	window, mtu             int
	rate                    int64
	readBuffer, writeBuffer int64
	qlog                    string
	timeout                 time.Duration

	// The command's choice.
	keepAlive, userTimeout, idleTimeout time.Duration
	datagramQueue                       int
}

// keyVariable is the environment's place for the text of -key.
const keyVariable = "KCP_KEY"

// ciphers make a cipher of as much of the key as it needs.
var ciphers = map[string]func(key []byte) (kcp.BlockCrypt, error){
	"aes-256-gcm": kcp.NewAESGCMCrypt,
	"aes-128-gcm": func(key []byte) (kcp.BlockCrypt, error) { return kcp.NewAESGCMCrypt(key[:16]) },
	"chacha20-poly1305": func(key []byte) (kcp.BlockCrypt, error) {
		aead, err := chacha20poly1305.New(key)
		if err != nil {
			return nil, err
		}
		return kcp.NewAEADCrypt(aead), nil
	},
	"aes-256":  kcp.NewAESBlockCrypt,
	"salsa20":  kcp.NewSalsa20BlockCrypt,
	"twofish":  kcp.NewTwofishBlockCrypt,
	"blowfish": kcp.NewBlowfishBlockCrypt,
	"sm4":      func(key []byte) (kcp.BlockCrypt, error) { return kcp.NewSM4BlockCrypt(key[:16]) },
	"xor":      kcp.NewSimpleXORBlockCrypt,
}

var cipherNames = []string{"aes-256-gcm", "aes-128-gcm", "chacha20-poly1305", "aes-256", "salsa20", "twofish", "blowfish", "sm4", "xor"}

var profiles = map[string]kcp.Profile{
	"default": kcp.DefaultProfile, "low-latency": kcp.LowLatency, "balanced": kcp.Balanced, "bulk": kcp.Bulk,
}

var controllers = map[string]func() kcp.CongestionControl{
	"bbr": kcp.NewBBR, "cubic": kcp.NewCubic, "conservation": kcp.NewConservation,
}

// declare declares the options; those of keys and of how long to wait alone if brief.
func (o *sessionOptions) declare(fs *flag.FlagSet, brief bool) {
	o.cipher, o.seal, o.profile, o.congestion, o.timeout = "aes-256-gcm", "auto", "balanced", "bbr", 5*time.Second
	file(fs, &o.key, "key", "`file` with the key that both ends share, made by \"kcp key shared\"; its text may be in the environment variable "+keyVariable+" instead")
	file(fs, &o.private, "private", "server: `file` with the private key that proves who it is, made by \"kcp key private\"")
	fs.StringVar(&o.serverKey, "server-key", "", "client: the server's public `key`, as \"kcp key public\" prints it, or a file with it")
	choice(fs, &o.cipher, "cipher", "`name` of the cipher that -key is for", cipherNames...)
	choice(fs, &o.seal, "seal", "`when` sessions are sealed", "auto", "required", "off")
	duration(fs, &o.timeout, 100*time.Millisecond, 10*time.Minute, "timeout", "`time` to wait for the server's first answer")
	between(fs, &o.mtu, 128, 9000, "mtu", "`bytes` of the longest datagram (default what the path carries, from 1400 on up to 1472)")
	if brief {
		return
	}
	choice(fs, &o.profile, "profile", "`name` of the timings", "default", "low-latency", "balanced", "bulk")
	choice(fs, &o.congestion, "cc", "`name` of the congestion control", "bbr", "cubic", "conservation")
	shards(fs, &o.data, &o.parity, "fec", "forward error correction with `data/parity` shards a group, such as 10/3 (default none)")
	between(fs, &o.window, 1, 65535, "window", "`segments` that a window has (default as many as the path needs)")
	amount(fs, &o.rate, "rate", "`bytes` a second that a session sends at most (default no limit)")
	amount(fs, &o.readBuffer, "read-buffer", "`bytes` of the socket's receive buffer (default as many as the system allows, up to 32 MiB)")
	amount(fs, &o.writeBuffer, "write-buffer", "`bytes` of the socket's send buffer (default as many as the system allows, up to 7 MiB)")
	file(fs, &o.qlog, "qlog", "`directory` for a qlog file of each session, which qvis and \"kcp explain\" read")
}

// hasKey says whether the datagrams are under a key that both ends share.
func (o *sessionOptions) hasKey() bool { return o.key != "" || os.Getenv(keyVariable) != "" }

// settings returns what the options say.
func (o *sessionOptions) settings() (s kcp.Settings, err error) {
	s = kcp.Settings{
		Profile:      profiles[o.profile],
		Congestion:   controllers[o.congestion],
		DataShards:   o.data,
		ParityShards: o.parity,
		SendWindow:   o.window, ReceiveWindow: o.window,
		RateLimit:  o.rate,
		MTU:        o.mtu,
		ReadBuffer: int(min(o.readBuffer, 1<<30)), WriteBuffer: int(min(o.writeBuffer, 1<<30)),
		StreamMode:    true,
		KeepAlive:     o.keepAlive,
		UserTimeout:   o.userTimeout,
		IdleTimeout:   o.idleTimeout,
		DatagramQueue: o.datagramQueue,
		Tracer:        qlog.Dir(o.qlog),
		Seal:          map[string]kcp.SealMode{"auto": kcp.SealAuto, "required": kcp.SealRequired, "off": kcp.SealOff}[o.seal],
	}
	if s.Block, err = o.block(); err != nil {
		return s, err
	}
	switch oneKey := o.serverKey != "" || o.private != ""; {
	case o.seal == "required" && s.Block == nil && !oneKey:
		return s, usagef("-seal required needs a key: -key at both ends, or -private at the server and -server-key at the client")
	case o.seal == "off" && oneKey:
		return s, usagef("-seal off leaves no use for -server-key and -private, which are for sealed sessions")
	}
	if o.serverKey != "" {
		s.ServerKey, err = readPublic(o.serverKey)
	}
	return s, err
}

// block returns the cipher with the key, nil without a key.
func (o *sessionOptions) block() (kcp.BlockCrypt, error) {
	text, from := os.Getenv(keyVariable), "the environment variable "+keyVariable
	if o.key != "" {
		b, err := os.ReadFile(o.key)
		if err != nil {
			return nil, usagef("-key: %v", err)
		}
		text, from = string(b), o.key
	}
	if text == "" {
		return nil, nil
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != 32 {
		return nil, usagef("-key: %s has to hold 32 bytes in base64, as \"kcp key shared\" makes them", from)
	}
	block, err := ciphers[o.cipher](key)
	if err != nil {
		return nil, usagef("-cipher %s: %v", o.cipher, err)
	}
	return block, nil
}

// dialer returns what dials sessions.
func (o *sessionOptions) dialer() (*kcp.Dialer, error) {
	if o.private != "" {
		return nil, usagef("-private is the server's: the client has -server-key")
	}
	s, err := o.settings()
	if err != nil {
		return nil, err
	}
	return &kcp.Dialer{Settings: s, WaitForPeer: true, Timeout: o.timeout}, nil
}

// dial dials a session, and says in words why not.
func (o *sessionOptions) dial(ctx context.Context, d *kcp.Dialer, address string) (*kcp.UDPSession, error) {
	conn, err := d.DialContext(ctx, "udp", address)
	switch {
	case err == nil:
		return conn.(*kcp.UDPSession), nil
	case ctx.Err() != nil:
		return nil, errInterrupted
	case isSetting(err):
		return nil, usagef("%s", strings.TrimPrefix(err.Error(), "kcp: "))
	}
	return nil, o.dialFailure(address, err)
}

// listen listens for sessions.
func (o *sessionOptions) listen(ctx context.Context, address string) (*kcp.Listener, error) {
	if o.serverKey != "" {
		return nil, usagef("-server-key is the client's: the server has -private")
	}
	s, err := o.settings()
	if err != nil {
		return nil, err
	}
	lc := kcp.ListenConfig{Settings: s}
	if o.private != "" {
		if lc.PrivateKey, err = readPrivate(o.private); err != nil {
			return nil, err
		}
	}
	l, err := lc.Listen(ctx, "udp", address)
	switch {
	case err == nil:
		return l.(*kcp.Listener), nil
	case isSetting(err):
		return nil, usagef("%s", strings.TrimPrefix(err.Error(), "kcp: "))
	}
	return nil, listenFailure("UDP", address, err)
}

// isSetting says whether an error of dialling or listening names a setting: all others are of a network.
func isSetting(err error) bool {
	var op *net.OpError
	return !errors.As(err, &op)
}

// describeKeys says who gets an answer, for a server's log.
func (o *sessionOptions) describeKeys() string {
	switch {
	case o.hasKey() && o.private != "":
		return "shared and private"
	case o.hasKey():
		return "shared"
	case o.private != "":
		return "private"
	}
	return "none: anybody may use it, and read what is sent"
}
