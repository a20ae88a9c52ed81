package kcp_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"time"

	"github.com/xtaci/kcp-go/v5"
)

// HTTP over sessions: a server needs no more than a listener, a client a DialContext. Requests reuse
// sessions as they do TCP's connections.
func Example_http() {
	settings := kcp.Settings{Profile: kcp.LowLatency, StreamMode: true}
	lc := kcp.ListenConfig{Settings: settings}
	l, err := lc.Listen(context.Background(), "udp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "you asked for %s", r.URL.Path)
	})}
	go server.Serve(l)
	defer server.Close()

	d := kcp.Dialer{Settings: settings}
	transport := &http.Transport{DialContext: d.DialContext}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	answer, err := client.Get("http://" + l.Addr().String() + "/hello")
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	fmt.Println(string(body))
	// Output: you asked for /hello
}

// selfSigned returns a certificate for 127.0.0.1, and a pool of roots that has it.
func selfSigned() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// TLS inside the stream, for names, certificates and client authentication. The client says the first
// word of a TLS handshake, so that the listener learns of the session.
func Example_tls() {
	certificate, roots := selfSigned()
	kl, err := kcp.Listen("127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	l := tls.NewListener(kl, &tls.Config{Certificates: []tls.Certificate{certificate}})
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "hello, over TLS")
	}()

	conn, err := kcp.Dial(l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	secure := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"})
	defer secure.Close()
	if err := secure.Handshake(); err != nil {
		log.Fatal(err)
	}
	said, err := io.ReadAll(secure)
	fmt.Println(string(said), err)
	// Output: hello, over TLS <nil>
}

// The server proves who it is by a key pair, of which clients know the public half. Anybody else's
// listener is not talked to, and no key is shared.
func Example_serverKey() {
	private := kcp.NewPrivateKey() // a real server keeps it: MarshalText, ParsePrivateKey
	lc := kcp.ListenConfig{PrivateKey: private}
	l, err := lc.Listen(context.Background(), "udp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()

	dial := func(key kcp.PublicKey) {
		d := kcp.Dialer{Settings: kcp.Settings{ServerKey: key}, WaitForPeer: true, Timeout: 10 * time.Second}
		conn, err := d.Dial("udp", l.Addr().String())
		if err != nil {
			fmt.Println("another key:", errors.Is(err, kcp.ErrKeyDiffers))
			return
		}
		defer conn.Close()
		fmt.Println("sealed:", conn.(*kcp.UDPSession).Stats().Sealed)
	}
	dial(private.Public())
	dial(kcp.NewPrivateKey().Public())
	// Output:
	// sealed: true
	// another key: true
}

// writeFrame and readFrame keep messages of any length apart in a stream, as a WebSocket does: four
// bytes of length before each.
func writeFrame(w io.Writer, message []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...))
	return err
}

func readFrame(r io.Reader, most uint32) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > most {
		return nil, fmt.Errorf("a message of %d bytes: at most %d", n, most)
	}
	message := make([]byte, n)
	_, err := io.ReadFull(r, message)
	return message, err
}

// A connection that stays, on which either end may speak at any time, as a WebSocket: frames in a
// stream, a keepalive that finds a peer that has gone and keeps NATs open, and a half-close that tells
// the end.
func Example_longLived() {
	settings := kcp.Settings{StreamMode: true, KeepAlive: 20 * time.Second}
	lc := kcp.ListenConfig{Settings: settings}
	l, err := lc.Listen(context.Background(), "udp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		r := bufio.NewReader(conn)
		for {
			message, err := readFrame(r, 1<<20)
			if err != nil {
				return // io.EOF where the client has ended
			}
			writeFrame(conn, append([]byte("heard: "), message...))
		}
	}()

	d := kcp.Dialer{Settings: settings}
	conn, err := d.Dial("udp", l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	writeFrame(conn, []byte("one"))
	writeFrame(conn, []byte("two"))
	conn.(*kcp.UDPSession).CloseWrite()
	r := bufio.NewReader(conn)
	for {
		message, err := readFrame(r, 1<<20)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(string(message))
	}
	// Output:
	// heard: one
	// heard: two
	// EOF
}

// A game: positions, of which only the newest counts, as datagrams; what has to arrive, in order, in the
// stream of the same session. Here the server's side of some ticks.
func Example_gameLoop() {
	client, server := examplePair()
	defer client.Close()
	defer server.Close()

	for tick := uint32(1); tick <= 3; tick++ { // the client, each 16 ms
		client.SendDatagram(binary.BigEndian.AppendUint32(nil, tick)) // may be lost: the next one is better
	}
	client.Write([]byte("fire")) // is sent again until it arrives

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	newest := uint32(0)
	for newest < 3 { // a server's loop takes what is there in each tick, and does not wait
		b, err := server.ReceiveDatagram(ctx)
		if err != nil {
			log.Fatal(err)
		}
		newest = max(newest, binary.BigEndian.Uint32(b)) // they may overtake each other
	}
	event := make([]byte, 100)
	server.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, err := server.Read(event)
	fmt.Println("position of tick", newest)
	fmt.Println(string(event[:n]), err)
	// Output:
	// position of tick 3
	// fire <nil>
}
