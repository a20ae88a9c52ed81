package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/xtaci/kcp-go/v5"
)

var keyCommand = &command{
	name:  "key",
	usage: []string{"private [FILE]", "public FILE", "shared [FILE]"},
	short: "make keys, and print them",
	words: []string{"private", "public", "shared"},
	long: `"kcp key private FILE" makes the private key that a server proves its identity with (-private), and prints
the public key that belongs to it, for the clients (-server-key). "kcp key public FILE" prints that again;
FILE may be "-" for the standard input.

"kcp key shared FILE" makes a key that both ends share (-key). Who does not have it gets no answer.

A FILE that exists is not replaced, and a new one can be read by its owner only. Without FILE the secret goes
to the standard output.`,
	setup: func(fs *flag.FlagSet) doFunc {
		return func(_ context.Context, std *stdio, args []string) error {
			if len(args) == 0 {
				return usagef("want one of private, public and shared; kcp help key tells what they are")
			}
			return runKey(std, args[0], args[1:])
		}
	},
}

func runKey(std *stdio, kind string, args []string) error {
	switch kind {
	case "private":
		key := kcp.NewPrivateKey()
		text, _ := key.MarshalText() // has no error
		wrote, err := writeSecret(std, string(text), args)
		if wrote {
			fmt.Fprintf(std.out, "%v\n", key.Public())
		}
		return err
	case "shared":
		var key [32]byte
		rand.Read(key[:]) // never fails
		_, err := writeSecret(std, base64.StdEncoding.EncodeToString(key[:]), args)
		return err
	case "public":
		name, err := one(args, "the file with the private key")
		if err != nil {
			return err
		}
		key, err := readPrivateFrom(std.in, name)
		if err == nil {
			fmt.Fprintf(std.out, "%v\n", key.Public())
		}
		return err
	}
	return usagef("there is no %q key: want one of private, public and shared", kind)
}

// writeSecret writes a secret to the file that args name, which must not exist, or to the standard output.
func writeSecret(std *stdio, secret string, args []string) (toFile bool, err error) {
	if len(args) == 0 {
		_, err := fmt.Fprintln(std.out, secret)
		return false, err
	}
	name, err := one(args, "the file")
	if err != nil {
		return false, err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, os.ErrExist):
		return false, usagef("%s exists: a key that is in use is not replaced; remove it first, or choose another name", name)
	case err != nil:
		return false, failf(codeFailed, "%v", err)
	}
	_, err = fmt.Fprintln(f, secret)
	if err := errors.Join(err, f.Close()); err != nil {
		return false, failf(codeFailed, "%v", err)
	}
	return true, nil
}

func readPrivate(name string) (kcp.PrivateKey, error) {
	return readPrivateFrom(strings.NewReader(""), name)
}

// readPrivateFrom reads a private key from a file, or from in, which "-" means.
func readPrivateFrom(in io.Reader, name string) (k kcp.PrivateKey, err error) {
	var text []byte
	if name == "-" {
		text, err = io.ReadAll(io.LimitReader(in, 1<<10))
	} else {
		text, err = os.ReadFile(name)
	}
	if err != nil {
		return k, usagef("private key: %v", err)
	}
	if k, err = kcp.ParsePrivateKey(strings.TrimSpace(string(text))); err != nil {
		return k, usagef("%s has no private key: 32 bytes in base64, as \"kcp key private\" makes them", name)
	}
	return k, nil
}

// readPublic returns the public key that s is, or that the file s has.
func readPublic(s string) (k kcp.PublicKey, err error) {
	if k, err = kcp.ParsePublicKey(s); err == nil {
		return k, nil
	}
	text, fileErr := os.ReadFile(s)
	if fileErr == nil {
		if k, err = kcp.ParsePublicKey(strings.TrimSpace(string(text))); err == nil {
			return k, nil
		}
	}
	return k, usagef("-server-key is neither a public key, 44 characters as \"kcp key public\" prints them, nor a file with one")
}
