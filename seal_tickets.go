package kcp

import "sync"

// ticketStore is the tickets that listeners have given to this process, the last of each.
type ticketStore struct {
	mu   sync.Mutex
	list map[ticketOf][ticketSize]byte
}

// ticketOf tells listeners apart.
type ticketOf struct {
	at  peerAddr
	psk psk
	key PublicKey
}

// ticketsMax bounds the tickets that are kept.
const ticketsMax = 1024

// tickets is the process's.
var tickets ticketStore

// get returns the ticket of a listener, zeros if there is none.
func (t *ticketStore) get(of ticketOf) [ticketSize]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.list[of]
}

// put keeps a ticket, in place of any other where there is no room.
func (t *ticketStore) put(of ticketOf, ticket [ticketSize]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.list == nil {
		t.list = make(map[ticketOf][ticketSize]byte)
	}
	if _, in := t.list[of]; !in && len(t.list) >= ticketsMax {
		for other := range t.list {
			delete(t.list, other)
			break
		}
	}
	t.list[of] = ticket
}
