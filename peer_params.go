package kcp

import "time"

// peerParams is the exchange of parameters with a peer that takes records. An end asks by a WASK with
// its own, and is answered by a WINS with the peer's. It asks in datagrams that it sends anyway, and
// only when data has moved since the last question: an idle session is left alone.
type peerParams struct {
	peer  params // as announced
	told  int64  // our acknowledgement delay that the peer knows, or will when it asks again; -1 for none
	asked int64  // that in our last question

	answerDue bool   // the next WINS answers a question
	askAt     int64  // not before this time is there another question
	questions int    // in a row that were not answered
	movedTo   uint32 // moved, as of the last question
}

const (
	// paramsAfter is how many segments have to be acknowledged or received before a question is asked.
	// Shorter exchanges do without.
	paramsAfter = 8
	// paramsQuestions is how many questions are asked a RTO apart. A peer that answers none is asked
	// every paramsPause.
	paramsQuestions = 16
	paramsPause     = int64(30 * time.Second)
)

// due says whether to ask, when so many segments have moved in all. delay is our acknowledgement delay.
// urgent says that something waits for the answer.
func (p *peerParams) due(now int64, moved uint32, delay int64, urgent bool) bool {
	return (!p.peer.known || p.told != delay) && now >= p.askAt && (moved-p.movedTo >= paramsAfter || urgent)
}

// ask notes a question.
func (p *peerParams) ask(now int64, moved uint32, delay, rto int64) {
	p.asked, p.movedTo = delay, moved
	if p.questions++; p.questions >= paramsQuestions {
		rto = paramsPause
	}
	p.askAt = now + rto
}

// learn takes the peer's parameters, from a question or an answer.
func (p *peerParams) learn(peer params, answer bool) {
	p.peer = peer
	switch {
	case !answer:
		p.answerDue = true
	case p.questions > 0:
		p.told, p.questions = p.asked, 0
	}
}

// forget is for a peer that turns out to be another one.
func (p *peerParams) forget() { *p = peerParams{told: -1} }
