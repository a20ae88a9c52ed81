package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xtaci/kcp-go/v5"
)

// The framing of the stream: eight bytes with the length of the data, the data, and its SHA-256.
// The receiver answers with the SHA-256 of the data that it has received. The answer ends the
// transfer.
const lengthSize = 8

// patience is how long nothing may arrive. The sessions themselves wait for longer before they
// fail.
const patience = 20 * time.Second

// run makes a transfer and shows it on out. width returns the width of the terminal in columns, 0
// if out is none.
func run(ctx context.Context, o options, out io.Writer, width func() int) error {
	source, what, err := o.source()
	if err != nil {
		return err
	}
	defer source.Close()
	l, err := o.open()
	if err != nil {
		return err
	}
	defer l.free()
	over := fmt.Sprintf("an emulated link, %g%% loss in each direction,", o.loss)
	if o.udp {
		over = "UDP"
	}
	fmt.Fprintf(out, "Sends %s over %s\nand checks that it arrives intact.\n", what, over)
	o.printSetting(out, l)

	kcp.DefaultSnmp.Reset()
	p := newProgress(out, width, o.size, o.mtu, l.sender.GetSRTT)
	sum, err := o.transfer(ctx, l, source, p)
	took := p.end()
	if err != nil {
		return fmt.Errorf("after %s of %s: %w", si(float64(p.received.Load())), amount(o.size), err)
	}
	return o.report(out, l, took, p.resent(), sum)
}

// source opens the data to be sent, and sets o.size if it is a file.
func (o *options) source() (r io.ReadCloser, what string, err error) {
	if o.file == "" {
		var seed [32]byte
		binary.BigEndian.PutUint64(seed[:], o.seed)
		return io.NopCloser(rand.NewChaCha8(seed)), amount(o.size) + " of random bytes", nil
	}
	path, err := filepath.Abs(o.file) // for an error that says where the file was looked for
	if err != nil {
		return nil, "", err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, "", fmt.Errorf("-file: %w", err)
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s is no regular file", path)
	}
	if err != nil {
		file.Close()
		return nil, "", fmt.Errorf("-file: %w", err)
	}
	o.size = info.Size()
	return file, fmt.Sprintf("%s (%s)", filepath.Base(path), amount(o.size)), nil
}

// transfer runs both ends until they are done, one of them fails, nothing arrives for patience, or
// ctx is done. It returns the SHA-256 of the payload.
func (o *options) transfer(ctx context.Context, l *link, source io.Reader, p *progress) ([]byte, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var (
		ends sync.WaitGroup
		sum  []byte
	)
	ends.Go(func() {
		var err error
		if sum, err = o.send(ctx, l.sender, source); err != nil {
			fail(fmt.Errorf("sender: %w", err))
		}
	})
	ends.Go(func() {
		if err := o.receive(ctx, l.listener, &p.received); err != nil {
			fail(fmt.Errorf("receiver: %w", err))
		}
	})
	done := make(chan struct{})
	go func() {
		ends.Wait()
		close(done)
	}()
	tick := time.NewTicker(p.interval())
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.show()
			if time.Since(p.last) > patience {
				fail(fmt.Errorf("nothing has arrived for %v", patience))
			}
		case <-done:
			return sum, context.Cause(ctx)
		}
	}
}

// send is the sender's end. It returns the SHA-256 of the data that it sent.
func (o *options) send(ctx context.Context, s *kcp.UDPSession, source io.Reader) ([]byte, error) {
	defer closeOnDone(ctx, s)()
	o.tune(s)
	if _, err := s.Write(binary.BigEndian.AppendUint64(nil, uint64(o.size))); err != nil {
		return nil, err
	}
	hash := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(s, hash), source, o.size); err != nil {
		return nil, err
	}
	sum := hash.Sum(nil)
	if _, err := s.Write(sum); err != nil {
		return nil, err
	}
	answer := make([]byte, sha256.Size)
	if _, err := io.ReadFull(s, answer); err != nil {
		return nil, err
	}
	if [sha256.Size]byte(answer) != [sha256.Size]byte(sum) {
		return nil, fmt.Errorf("the receiver has SHA-256 %x, this end %x", answer, sum)
	}
	return sum, nil
}

// receive is the receiver's end. It adds the bytes that arrive to received, and keeps none of them.
func (o *options) receive(ctx context.Context, l *kcp.Listener, received *atomic.Int64) error {
	stop := closeOnDone(ctx, l)
	s, err := l.AcceptKCP()
	stop()
	if err != nil {
		return err
	}
	defer closeOnDone(ctx, s)()
	o.tune(s)
	var length [lengthSize]byte
	if _, err := io.ReadFull(s, length[:]); err != nil {
		return err
	}
	hash := sha256.New()
	size := int64(binary.BigEndian.Uint64(length[:]))
	if _, err := io.CopyN(io.MultiWriter(hash, (*counter)(received)), s, size); err != nil {
		return err
	}
	want := make([]byte, sha256.Size)
	if _, err := io.ReadFull(s, want); err != nil {
		return err
	}
	got := hash.Sum(nil)
	if _, err := s.Write(got); err != nil {
		return err
	}
	if [sha256.Size]byte(got) != [sha256.Size]byte(want) {
		return errors.New("SHA-256 differs: what arrived is not what was sent")
	}
	return nil
}

// closeOnDone closes c when ctx is done, which makes calls return that are blocked on c, or
// otherwise when the function that it returns is called.
func closeOnDone(ctx context.Context, c io.Closer) func() {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	return func() {
		if stop() {
			c.Close()
		}
	}
}

// counter counts the bytes that are written to it.
type counter atomic.Int64

func (c *counter) Write(b []byte) (int, error) {
	(*atomic.Int64)(c).Add(int64(len(b)))
	return len(b), nil
}
