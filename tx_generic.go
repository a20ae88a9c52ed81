package kcp

import (
	"net"

	"github.com/pkg/errors"
)

// sendEach sends datagrams by the PacketConn's own method, which may wait for room, until the time
// until.
func (s *socket) sendEach(list []outbound, until int64) (done, refused int, full bool, err error) {
	for _, o := range list {
		if o.to.fragments != list[0].to.fragments {
			break
		}
		if done > 0 && until != never && clock() >= until {
			break
		}
		if err := s.sendOne(o); errors.Is(err, net.ErrClosed) {
			return done, refused, false, err
		} else if err != nil && errors.Is(err, errTooLong) {
			o.to.refuseLength()
			if o.to.fragments != fragmentsNever {
				refused++
			}
		} else if err != nil {
			s.noteSendError(err)
			refused++
		}
		done++
	}
	return done, refused, false, nil
}

func (s *socket) sendOne(o outbound) (err error) {
	switch {
	case s.connected:
		_, err = s.udp.Write(o.data)
	case s.udp != nil:
		_, err = s.udp.WriteToUDPAddrPort(o.data, o.to.udp)
	default:
		_, err = s.conn.WriteTo(o.data, o.to.netAddr())
	}
	return err
}
