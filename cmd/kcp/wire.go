package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"time"
)

// Each session between two of these programs begins with a line of JSON from the client, the hello, which
// says what it is for. What follows depends on that.

// helloVersion is the version of what follows; a server with another says so.
const helloVersion = 1

// What a session may be for.
const (
	doEcho    = "echo"    // the server returns stream and datagrams
	doTest    = "test"    // of a perf test: its control
	doData    = "data"    // of a perf test: its load
	doForward = "forward" // what kcp forward does
)

type hello struct {
	Version int       `json:"kcp"`
	Do      string    `json:"do"`
	Test    string    `json:"test,omitempty"`    // id of the test that data and echo belong to
	Spec    *testSpec `json:"spec,omitempty"`    // of a test
	Targets []string  `json:"targets,omitempty"` // of forward
}

// An answer is the server's line for a hello, but for data.
type answer struct {
	Refused string `json:"refused,omitempty"` // why it does not do that
	Test    string `json:"test,omitempty"`
}

// A duplex is a session or a TCP connection.
type duplex interface {
	net.Conn
	CloseWrite() error
}

// maxLine bounds what is read before a line ends. A report has a few kilobytes a session.
const maxLine = 1 << 20

// sayTime bounds how long a line may take that is due at once.
const sayTime = 10 * time.Second

// writeLine sends v as a line of JSON.
func writeLine(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// readLine reads a line of JSON, and not a byte more.
func readLine(r io.Reader, most int, v any) error {
	line := make([]byte, 0, 256)
	for {
		var b [1]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return err
		}
		if b[0] == '\n' {
			break
		}
		if len(line) == most {
			return fmt.Errorf("a line of more than %d bytes", most)
		}
		line = append(line, b[0])
	}
	return json.Unmarshal(line, v)
}

// readHello reads the first line of a connection.
func readHello(conn net.Conn) (h hello, err error) {
	conn.SetReadDeadline(time.Now().Add(sayTime))
	defer conn.SetReadDeadline(time.Time{})
	if err := readLine(conn, 64<<10, &h); err != nil {
		return h, err
	}
	if h.Version != helloVersion {
		return h, fmt.Errorf("version %d of kcp's protocol, this is version %d", h.Version, helloVersion)
	}
	return h, nil
}

// sayHello sends the first line of a connection, and reads the answer.
func sayHello(conn net.Conn, h hello) (a answer, err error) {
	h.Version = helloVersion
	if err := writeLine(conn, h); err != nil {
		return a, err
	}
	conn.SetReadDeadline(time.Now().Add(sayTime))
	defer conn.SetReadDeadline(time.Time{})
	if err := readLine(conn, maxLine, &a); err != nil {
		return a, err
	}
	if a.Refused != "" {
		return a, failf(codeRefused, "the server says: %s", a.Refused)
	}
	return a, nil
}
