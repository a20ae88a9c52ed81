package main

import (
	"cmp"
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

// run makes a transfer, or one end of one, and shows it on out. width returns the width of the
// terminal in columns, 0 if out is none.
func run(ctx context.Context, o options, out io.Writer, width func() int) error {
	if o.listen != "" {
		return o.runReceiver(ctx, out, width)
	}
	source, what, err := o.source()
	if err != nil {
		return err
	}
	defer source.Close()
	l, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer l.free()
	fmt.Fprintf(out, "Sends %s over %s\nand checks that it arrives intact.\n", what, o.over())
	o.printSetting(out, l)

	kcp.DefaultSnmp.Reset()
	p := newProgress(out, width, o.size, o.mtu, l.sender.GetSRTT)
	var sum []byte
	ends := []end{{"sender", func(ctx context.Context) (err error) {
		sum, err = o.send(ctx, l.sender, source, p)
		return err
	}}}
	if l.listener != nil {
		ends = append(ends, end{"receiver", func(ctx context.Context) error { return o.acceptAndReceive(ctx, l.listener, p) }})
	}
	err = watch(ctx, p, ends...)
	return o.finish(out, l, p, sum, err)
}

// runReceiver is the receiver's end alone.
func (o *options) runReceiver(ctx context.Context, out io.Writer, width func() int) error {
	l, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer l.free()
	fmt.Fprintln(out, "Receives one transfer, and keeps nothing of it. Send with -dial.")
	o.printSetting(out, l)
	s, err := o.accept(ctx, l.listener)
	if err != nil {
		return err
	}
	if o.size, err = o.receiveSize(ctx, s); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s from %v\n", amount(o.size), s.RemoteAddr())
	p := newProgress(out, width, o.size, o.mtu, s.GetSRTT)
	var sum []byte
	err = watch(ctx, p, end{"receiver", func(ctx context.Context) (err error) {
		sum, err = o.receive(ctx, s, p)
		return err
	}})
	return o.finish(out, l, p, sum, err)
}

// over describes the link in a few words.
func (o *options) over() string {
	switch {
	case o.dial != "":
		return "UDP to " + o.dial
	case o.udp:
		return "UDP"
	}
	return fmt.Sprintf("an emulated link, %g%% loss in each direction,", o.loss)
}

// finish shows how a transfer has ended.
func (o *options) finish(out io.Writer, l *link, p *progress, sum []byte, err error) error {
	took := p.end()
	if err != nil {
		return fmt.Errorf("after %s of %s: %w", si(float64(p.moved.Load())), amount(o.size), err)
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

// end is an end of a transfer.
type end struct {
	name string
	run  func(context.Context) error
}

// watch runs ends and shows their progress until they are done, one of them fails, nothing is moved
// for patience, or ctx is done.
func watch(ctx context.Context, p *progress, ends ...end) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var running sync.WaitGroup
	for _, e := range ends {
		running.Go(func() {
			if err := e.run(ctx); err != nil {
				fail(fmt.Errorf("%s: %w", e.name, err))
			}
		})
	}
	done := make(chan struct{})
	go func() {
		running.Wait()
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
			return context.Cause(ctx)
		}
	}
}

// send is the sender's end. It returns the SHA-256 of the data that it sent. Without a receiver in
// this process progress is what the session has taken.
func (o *options) send(ctx context.Context, s *kcp.UDPSession, source io.Reader, p *progress) ([]byte, error) {
	defer closeOnDone(ctx, s)()
	o.tune(s)
	if _, err := s.Write(binary.BigEndian.AppendUint64(nil, uint64(o.size))); err != nil {
		return nil, err
	}
	hash := sha256.New()
	to := io.MultiWriter(s, hash)
	if o.dial != "" {
		to = io.MultiWriter(s, hash, (*counter)(&p.moved))
	}
	if _, err := io.CopyN(to, source, o.size); err != nil {
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

// acceptAndReceive is the receiver's end.
func (o *options) acceptAndReceive(ctx context.Context, l *kcp.Listener, p *progress) error {
	s, err := o.accept(ctx, l)
	if err != nil {
		return err
	}
	if size, err := o.receiveSize(ctx, s); err != nil || size != o.size {
		return cmp.Or(err, fmt.Errorf("%d bytes are announced, want %d", size, o.size))
	}
	_, err = o.receive(ctx, s, p)
	return err
}

// accept waits for the sender. Its session is the only one.
func (o *options) accept(ctx context.Context, l *kcp.Listener) (*kcp.UDPSession, error) {
	defer closeOnDone(ctx, l)()
	s, err := l.AcceptKCP()
	if err == nil {
		o.tune(s)
		s.SetUserTimeout(patience)
		err = s.SetLinger(-1) // Close waits for delivery: the program may end after it
	}
	return s, err
}

// sizeMost is the most that -size takes.
const sizeMost = 1 << 50

// receiveSize receives how much data will come. After an error the session is gone.
func (o *options) receiveSize(ctx context.Context, s *kcp.UDPSession) (int64, error) {
	defer context.AfterFunc(ctx, func() { s.Abort() })()
	s.SetReadDeadline(time.Now().Add(patience))
	var length [lengthSize]byte
	_, err := io.ReadFull(s, length[:])
	size := binary.BigEndian.Uint64(length[:])
	if err == nil && size > sizeMost {
		err = fmt.Errorf("%d bytes are announced: that is no transfer of ours", size)
	}
	if err != nil {
		s.Abort()
		return 0, err
	}
	return int64(size), s.SetReadDeadline(time.Time{})
}

// receive receives o.size bytes, keeps none of them, and returns their SHA-256.
func (o *options) receive(ctx context.Context, s *kcp.UDPSession, p *progress) (got []byte, err error) {
	defer context.AfterFunc(ctx, func() { s.Abort() })()
	defer func() {
		if err != nil {
			s.Abort()
		} else {
			err = s.Close()
		}
	}()
	hash := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(hash, (*counter)(&p.moved)), s, o.size); err != nil {
		return nil, err
	}
	want := make([]byte, sha256.Size)
	if _, err := io.ReadFull(s, want); err != nil {
		return nil, err
	}
	got = hash.Sum(nil)
	if _, err := s.Write(got); err != nil {
		return nil, err
	}
	if [sha256.Size]byte(got) != [sha256.Size]byte(want) {
		return nil, errors.New("SHA-256 differs: what arrived is not what was sent")
	}
	return got, nil
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
