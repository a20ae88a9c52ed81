package main

import (
	"context"
	"fmt"
	"net"
	"slices"

	"github.com/xtaci/kcp-go/v5"
)

// asking is how many questions are open at a time, so that a socket's buffer holds the answers.
const asking = 200

// clients are sessions that one goroutine serves.
type clients struct {
	socket *kcp.Transport
	to     net.Addr
	all    []*client
	events chan *client // has room for one of each that has a question open
}

// client is a session. Its notifications are one while one waits in events.
type client struct {
	*kcp.UDPSession
	waiting chan struct{} // full while the client is in events
	left    int           // bytes of the answer that have not come
	answer  []byte
}

func newClients(t *kcp.Transport, to net.Addr) *clients {
	return &clients{socket: t, to: to, events: make(chan *client)}
}

// open makes sure that there are n sessions, and that events has room for all.
func (c *clients) open(ctx context.Context, n int) error {
	streams := &kcp.Dialer{Settings: kcp.Settings{StreamMode: true}}
	for len(c.all) < n {
		s, err := c.socket.Dial(ctx, streams, c.to)
		if err != nil {
			return err
		}
		c.all = append(c.all, &client{UDPSession: s, waiting: make(chan struct{}, 1)})
	}
	if cap(c.events) < n {
		c.events = make(chan *client, n)
		for _, one := range c.all {
			one.SetReadNotify(func() {
				select {
				case one.waiting <- struct{}{}:
					c.events <- one
				default:
				}
			})
		}
	}
	return nil
}

// ask has n sessions send a message, and waits until each has it back.
func (c *clients) ask(ctx context.Context, n int, message string) error {
	if err := c.open(ctx, n); err != nil {
		return err
	}
	asked, answered := 0, 0
	buf := make([]byte, 1500)
	for answered < n {
		for ; asked < n && asked-answered < asking; asked++ {
			one := c.all[asked]
			one.left, one.answer = len(message), nil
			if k, err := one.TryWrite([]byte(message)); k != len(message) {
				return fmt.Errorf("session %d: %d bytes written, %w", one.GetConv(), k, err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d answers: %w", answered, n, ctx.Err())
		case one := <-c.events:
			<-one.waiting // before it is read: what comes later is told again
			done, err := one.read(buf)
			if err != nil {
				return fmt.Errorf("session %d: %w", one.GetConv(), err)
			}
			if done && string(one.answer) != message {
				return fmt.Errorf("session %d: %q came back", one.GetConv(), one.answer)
			}
			if done {
				answered++
			}
		}
	}
	return nil
}

// read reads what there is, and says whether it has completed the answer.
func (c *client) read(buf []byte) (done bool, err error) {
	for {
		n, err := c.TryRead(buf)
		if n == 0 || err != nil {
			return done, err
		}
		c.answer = append(c.answer, buf[:n]...)
		c.left -= n
		done = c.left == 0
	}
}

// close closes all sessions.
func (c *clients) close() {
	for _, one := range slices.Backward(c.all) {
		one.SetReadNotify(nil)
		one.Close()
	}
	c.all = nil
}
