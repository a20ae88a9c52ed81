package kcp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xtaci/kcp-go/v5/internal/netem"
)

// A dialling is how a program under test gets its connections.
type dialling struct {
	l    net.Listener
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// overBoth runs f over loopback, in real time, and in virtual time over a path that loses.
func overBoth(t *testing.T, f func(t *testing.T, d dialling)) {
	t.Run("loopback", func(t *testing.T) {
		watchdog(t)
		settings := Settings{Block: newCrypt(t, "gcm"), Profile: LowLatency, StreamMode: true}
		l, err := (&ListenConfig{Settings: settings}).Listen(context.Background(), "udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		f(t, dialling{l, (&Dialer{Settings: settings}).DialContext})
	})
	t.Run("lossy", func(t *testing.T) {
		virtual(t, netem.Path{Delay: 10 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.05}, func(w *world) {
			cfg, err := Settings{Block: newCrypt(t, "aes"), Profile: LowLatency, StreamMode: true}.resolve()
			w.check(err)
			cfg.sched, cfg.snmp = w.sched, w.snmp
			l := w.listen(cfg, "10.0.0.2:2000")
			f(t, dialling{l, func(context.Context, string, string) (net.Conn, error) { return w.dial(cfg, l), nil }})
			l.Close()
		})
	})
}

// net/http as it is: connections are kept and used again, requests run side by side, a large upload
// arrives, and closing the server ends them all.
func TestHTTP(t *testing.T) {
	overBoth(t, func(t *testing.T, d dialling) {
		var conns, requests atomic.Int32
		server := &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				h := sha256.New()
				n, err := io.Copy(h, r.Body)
				if err != nil {
					t.Error(err)
				}
				fmt.Fprintf(w, "%d %x", n, h.Sum(nil))
			}),
			ConnState: func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					conns.Add(1)
				}
			},
		}
		served := make(chan error, 1)
		go func() { served <- server.Serve(d.l) }()
		client := &http.Client{Transport: &http.Transport{DialContext: d.dial, MaxConnsPerHost: 10, MaxIdleConnsPerHost: 10}}
		post := func(body []byte) {
			r, err := client.Post("http://"+d.l.Addr().String(), "text/plain", bytes.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Body.Close()
			got, err := io.ReadAll(r.Body)
			if want := fmt.Sprintf("%d %x", len(body), sha256.Sum256(body)); err != nil || string(got) != want {
				t.Errorf("%q, %v, want %q", got, err, want)
			}
		}
		for i := range 20 {
			post(random(1, i))
		}
		if n := conns.Load(); n != 1 {
			t.Errorf("%d connections for 20 requests in a row", n)
		}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { post(random(2, 10_000)) })
		}
		wg.Wait()
		post(random(3, 4<<20))
		if n, r := conns.Load(), requests.Load(); n > 10 || r != 121 {
			t.Errorf("%d connections for %d requests", n, r)
		}
		client.CloseIdleConnections()
		if err := server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != http.ErrServerClosed {
			t.Error(err)
		}
	})
}

// A body whose length nobody said ends with the connection.
func TestHTTPWithoutLength(t *testing.T) {
	overBoth(t, func(t *testing.T, d dialling) {
		body := random(1, 300_000)
		go func() {
			c, err := d.l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			http.ReadRequest(bufio.NewReader(c))
			io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\n")
			c.Write(body)
			c.Close()
		}()
		client := &http.Client{Transport: &http.Transport{DialContext: d.dial}}
		r, err := client.Get("http://" + d.l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		if got, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

// certificate returns a key pair of its own authority for "example.com".
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"example.com"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(1000 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// crypto/tls needs an end of the stream that it can trust: its own, and then ours.
func TestTLS(t *testing.T) {
	overBoth(t, func(t *testing.T, d dialling) {
		cert, pool := certificate(t)
		l := tls.NewListener(d.l, &tls.Config{Certificates: []tls.Certificate{cert}})
		echoed := make(chan error, 1)
		go func() {
			c, err := l.Accept()
			if err == nil {
				_, err = io.Copy(c, c)
				err = errors.Join(err, c.Close())
			}
			echoed <- err
		}()
		raw, err := d.dial(context.Background(), "udp", d.l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c := tls.Client(raw, &tls.Config{RootCAs: pool, ServerName: "example.com", Time: func() time.Time { return time.Now() }})
		if err := c.Handshake(); err != nil { // under a mutex, for which virtual time does not wait
			t.Fatal(err)
		}
		data := random(1, 500_000)
		go func() {
			c.Write(data)
			c.CloseWrite()
		}()
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		c.Close()
		if err := <-echoed; err != nil {
			t.Error(err)
		}
	})
}

// io.Copy of files, in both directions, and a scanner over lines.
func TestCopyAndScan(t *testing.T) {
	overBoth(t, func(t *testing.T, d dialling) {
		dir := t.TempDir()
		in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
		data := random(1, 3_000_000)
		if err := os.WriteFile(in, data, 0o600); err != nil {
			t.Fatal(err)
		}
		lines := strings.Repeat("a line of text\n", 10_000)
		done := make(chan error, 1)
		go func() {
			done <- func() error {
				c, err := d.l.Accept()
				if err != nil {
					return err
				}
				defer c.Close()
				f, err := os.Create(out)
				if err != nil {
					return err
				}
				if _, err := io.Copy(f, c); err != nil {
					return err
				}
				if err := f.Close(); err != nil {
					return err
				}
				_, err = io.Copy(c, strings.NewReader(lines))
				return err
			}()
		}()
		c, err := d.dial(context.Background(), "udp", d.l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(in)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if n, err := io.Copy(c, f); err != nil || n != int64(len(data)) {
			t.Fatalf("%d bytes, %v", n, err)
		}
		if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Error(err)
		}
		n := 0
		scan := bufio.NewScanner(c)
		for ; scan.Scan(); n++ {
			if scan.Text() != "a line of text" {
				t.Fatalf("line %d: %q", n, scan.Text())
			}
		}
		if n != 10_000 || scan.Err() != nil {
			t.Errorf("%d lines, %v", n, scan.Err())
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		c.Close()
	})
}
