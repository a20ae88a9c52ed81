package kcp

// sendsAtOnce says whether a driver may send: batched system calls do not wait for room in the
// socket. A caller who has written something may also wait for a UDP socket, which takes datagrams
// sooner or later; own says that it is one. All else is the write loop's.
func (s *socket) sendsAtOnce(own bool) bool { return s.batch != nil || own && s.udp != nil }

// send sends datagrams in order, until the time until where each may take long. It returns how many
// it is done with, and how many of those the socket refused; they are lost, as any datagram may be.
// full says that the socket has no room for the next one. Only a closed socket is an error.
func (s *socket) send(list []outbound, until int64) (done, refused int, full bool, err error) {
	if list[0].to.fragments != fragmentsDefault {
		return s.sendSized(list, until)
	}
	return s.sendAlike(list, until)
}

// sendAlike sends the datagrams at the start of the list that may have fragments or not as the first.
func (s *socket) sendAlike(list []outbound, until int64) (done, refused int, full bool, err error) {
	if s.batch != nil {
		return s.sendBatch(list)
	}
	return s.sendEach(list, until)
}
