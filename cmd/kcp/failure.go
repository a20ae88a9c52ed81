package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/xtaci/kcp-go/v5"
)

// The exit codes. docs/command.md and the man page have them from exitCodes.
const (
	codeDone        = 0
	codeFailed      = 1
	codeUsage       = 2
	codeNoAnswer    = 3
	codeKey         = 4
	codeLost        = 5
	codeAddress     = 6
	codeRefused     = 7
	codeInterrupted = 130
)

var exitCodes = []struct {
	code int
	text string
}{
	{codeDone, "All done; for servers, ended by SIGTERM or SIGINT."},
	{codeFailed, "Failed for a reason that has no code of its own."},
	{codeUsage, "Wrong options, configuration or key file."},
	{codeNoAnswer, "Nobody answers at the address."},
	{codeKey, "The keys differ, or the other end does not seal sessions."},
	{codeLost, "The other end was there, and has gone."},
	{codeAddress, "An address cannot be used: the port is taken, the name is unknown, the network is unreachable."},
	{codeRefused, "The other end is there, and says no."},
	{codeInterrupted, "Interrupted before it was done."},
}

// A failure is an error in words for who runs the command, with the exit code.
type failure struct {
	code  int
	text  string
	cause error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.cause }

func failf(code int, format string, args ...any) error {
	f := &failure{code: code, text: fmt.Sprintf(format, args...)}
	for _, a := range args {
		if err, ok := a.(error); ok {
			f.cause = err
		}
	}
	return f
}

func usagef(format string, args ...any) error { return failf(codeUsage, format, args...) }

var errInterrupted error = &failure{code: codeInterrupted, text: "interrupted"}

// listenFailure says why address cannot be listened at.
func listenFailure(network, address string, err error) error {
	var f *failure
	switch {
	case errors.As(err, &f):
		return err
	case errors.Is(err, syscall.EADDRINUSE):
		return failf(codeAddress, "%s port of %s is in use: another program listens there; end it, or choose another port", network, address)
	case errors.Is(err, os.ErrPermission):
		return failf(codeAddress, "not allowed to listen at %s: ports below 1024 are for root, or need CAP_NET_BIND_SERVICE", address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return failf(codeAddress, "cannot listen at %s: this machine has no such address; \":PORT\" listens at all of them", address)
	}
	return addressFailure(address, err)
}

// addressFailure says what is wrong with an address, or returns err as it is.
func addressFailure(address string, err error) error {
	var dns *net.DNSError
	var bad *net.AddrError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return failf(codeAddress, "there is no host %q (DNS); is it spelled right?", dns.Name)
	case errors.As(err, &dns):
		return failf(codeAddress, "cannot look up %q: %v", dns.Name, dns.Err)
	case errors.As(err, &bad):
		return failf(codeUsage, "%q is no address: %s; it has to be HOST:PORT, such as example.com:4000 or [::1]:4000", address, bad.Err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return failf(codeNoAnswer, "nobody listens at %s", address)
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return failf(codeAddress, "there is no route to %s: is this machine online, and does it have the address's family (IPv4, IPv6)?", address)
	}
	return failf(codeFailed, "%s: %v", address, err)
}

// dialFailure says why no session with address came about.
func (o *sessionOptions) dialFailure(address string, err error) error {
	switch {
	case errors.Is(err, kcp.ErrKeyDiffers):
		return failf(codeKey, "the server at %s has another key than -server-key says: it was given a new one, or it is another server; \"kcp key public FILE\" prints its key, there", address)
	case errors.Is(err, kcp.ErrNotSealed):
		return failf(codeKey, "%s answers, and does not seal sessions: it has no -private key, or is no program of this package", address)
	case errors.Is(err, syscall.ECONNREFUSED):
		return failf(codeNoAnswer, "nobody listens at %s (its machine says so): is the server started, and is that its port?", address)
	case errors.Is(err, syscall.ETIMEDOUT) && o.hasKey():
		return failf(codeNoAnswer, "no answer from %s within %v: nobody is there, a firewall drops UDP, or the server has another -key, as it says nothing to strangers (it counts them in its log)", address, o.timeout)
	case errors.Is(err, syscall.ETIMEDOUT):
		return failf(codeNoAnswer, "no answer from %s within %v: nobody is there, a firewall drops UDP, or the server has a -key, as it says nothing to strangers (it counts them in its log)", address, o.timeout)
	}
	return addressFailure(address, err)
}

// lostFailure says why a session, or TCP connection, with address that was there has failed.
func lostFailure(address string, err error) error {
	var f *failure
	var timeout *kcp.PeerTimeoutError
	switch {
	case err == nil, errors.As(err, &f):
		return err
	case errors.As(err, &timeout):
		return failf(codeLost, "%s stopped answering (%s): the program there was killed, or the path is broken", address, strings.TrimPrefix(timeout.Error(), "connection timed out: "))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return failf(codeLost, "%s has not said in time how the test went", address)
	case errors.Is(err, syscall.ECONNRESET):
		return failf(codeLost, "%s has reset the session: the program there was ended, or started again", address)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE):
		return failf(codeLost, "%s has ended the session before it was done: the program there was ended", address)
	}
	return failf(codeLost, "the session with %s failed: %v", address, err)
}
