package kcp

import (
	"math/rand/v2"
	"time"
)

const (
	// restartAnswers is how many answers in a row have to say that the peer does not have this
	// session, over restartTime at least, so that neither a forged nor a late segment ends one.
	restartAnswers = 3
	restartTime    = int64(time.Second)
	// oldUnaAnswers and oldUnaTime are the same for an una that is behind: segments may be late
	// by seconds, and so may be what the una waits for, where somebody else has acknowledged it.
	oldUnaAnswers = 10
	oldUnaTime    = int64(5 * time.Second)
	// restartAnswersMax bounds the answers that are asked for when more of them come than there
	// were questions: somebody forges them, and the peer's own may be lost.
	restartAnswersMax = 12
	// What the peer refutes was forged, or late, and more of it may come. Each time doubles the answers
	// and the time that decide, up to restartAnswersMax and restartTimeMax, until nothing has been
	// refuted for refutedLife.
	restartTimeMax = int64(16 * time.Second)
	refutedLife    = int64(10 * time.Minute)
	// restartQuestions is how many questions are asked before the matter is dropped: nobody says
	// the same for long enough, and the other timeouts decide.
	restartQuestions = 40
)

// peerIdentity finds out whether the peer still has this session, or was restarted and has another
// one, or none (docs/protocol.md, Session numbers). Each end draws a number for each of its
// sessions, and tells it in WINS segments. What contradicts it is not believed, as anybody may have
// sent it, or sent it long ago: it is a reason to ask, as with the challenge ACK of RFC 5961
// (https://www.rfc-editor.org/rfc/rfc5961#section-3).
type peerIdentity struct {
	own        uint32 // our number, 0 without extensions
	dialled    bool
	number     uint32 // the peer's, 0 while it is unknown
	trusted    bool   // it was told before anything showed that the peer has none
	settled    bool   // the peer's number does not change any more
	confirmed  bool   // the peer has answered something that only we can have sent
	tellNumber bool   // our next acknowledgements begin with our number

	acceptableAt int64 // when the peer's una was last up to what it had acknowledged before

	asking   bool          // there is a contradiction
	claim    contradiction // what it is
	since    int64         // when it was heard first
	askAt    int64         // when to ask next
	asked    int           // questions so far
	answered int           // of them by the same contradiction
	needed   int           // so many answers decide
	minSpan  int64         // over so much time
	gone     bool          // the peer does not have this session

	refuted   int   // contradictions that the peer has refuted
	refutedAt int64 // the last of them

	challenged bool // one question is to be asked without a contradiction
}

// contradiction is what the peer, or somebody else, says that the peer of this session would not:
// another number than its own, 0 for that it has no such session, or oldUna.
type contradiction int64

// oldUna is an una below what the peer has acknowledged before, when the window is open.
const oldUna contradiction = -1

// start draws our number. The peer's may change until it has acknowledged something, if we dialled:
// the listener may have begun with an older session.
func (id *peerIdentity) start(now int64, dialled bool) {
	for id.own == 0 {
		id.own = rand.Uint32()
	}
	id.dialled, id.settled, id.confirmed, id.tellNumber, id.acceptableAt = dialled, !dialled, !dialled, !dialled, now
}

// others says whether number is known not to be the peer's.
func (id *peerIdentity) others(number uint32) bool {
	return id.own != 0 && id.settled && id.number != 0 && number != id.number
}

// onNumber takes a number that a WINS of a marked peer tells, 0 for none, and says whether the peer may
// have sent it. A datagram with data is not the answer to a question.
func (id *peerIdentity) onNumber(now int64, number uint32, withData bool) (own bool) {
	switch {
	case id.own == 0:
	case id.others(number):
		id.contradicted(now, contradiction(number), withData)
		return false
	case number == 0:
	case number == id.number:
		if id.claim != oldUna {
			id.refute(now)
		}
	default:
		id.number = number
	}
	return true
}

// onAcceptableUna notes an una that is up to what the peer had acknowledged before.
func (id *peerIdentity) onAcceptableUna(now int64) {
	id.acceptableAt = now
	if id.asking && id.claim == oldUna {
		id.refute(now)
	}
}

// onOldUna notes an una that is not. It may be late; after an RTO without any other it is a
// contradiction. The answer to a question is a WINS that tells the peer's number. It says whether the
// segment may be the peer's.
func (id *peerIdentity) onOldUna(now int64, answer bool, rto int64) (own bool) {
	switch {
	case id.own == 0:
		return true
	case !id.asking && now-id.acceptableAt >= rto, id.asking && answer:
		id.contradicted(now, oldUna, false)
	}
	return !id.startedAnew()
}

// tells says whether a segment is a WINS of the peer's: with its number, if it has one.
func (id *peerIdentity) tells(h *header) bool {
	return h.cmd == IKCP_CMD_WINS && (id.number == 0 || h.ts == id.number)
}

// startedAnew says whether the peer, as far as is known, has begun again from the first segment.
func (id *peerIdentity) startedAnew() bool { return id.asking && id.claim == oldUna || id.gone }

// acknowledged notes that the peer has acknowledged what it had not before, which nobody else could.
func (id *peerIdentity) acknowledged(now int64) {
	id.settled, id.acceptableAt = true, now
	id.refute(now)
}

// contradicted takes a contradiction: the first one, or an answer. More answers than there were
// questions are somebody else's, unless they come with data, which a new client repeats by itself.
func (id *peerIdentity) contradicted(now int64, said contradiction, withData bool) {
	switch {
	case id.gone:
	case !id.asking:
		id.asking = true
		id.askAt = max(id.askAt, now) // a question of before may just be under way
		id.begin(now, said)
	case said != id.claim:
		if said == oldUna {
			return
		}
		id.begin(now, said)
	case id.answered < id.asked:
		id.answered++
	case !withData:
		id.needed = min(id.needed+1, restartAnswersMax)
	}
}

// begin starts to count the answers that say the same.
func (id *peerIdentity) begin(now int64, said contradiction) {
	id.claim, id.since, id.asked, id.answered = said, now, 0, 0
	if id.needed, id.minSpan = restartAnswers, restartTime; said == oldUna {
		id.needed, id.minSpan = oldUnaAnswers, oldUnaTime
	}
	if now-id.refutedAt >= refutedLife {
		id.refuted = 0
	}
	for range min(id.refuted, 4) {
		id.needed, id.minSpan = min(2*id.needed, restartAnswersMax), min(2*id.minSpan, restartTimeMax)
	}
}

// refute takes the contradiction, if there is one, for refuted by the peer.
func (id *peerIdentity) refute(now int64) {
	if id.asking {
		id.asking, id.refutedAt = false, now
		id.refuted++
	}
}

// challenge asks once, soon: whoever has the session answers as it should.
func (id *peerIdentity) challenge(now int64) {
	if id.own != 0 && !id.asking && !id.challenged {
		id.challenged, id.askAt = true, max(id.askAt, now)
	}
}

// dueAt is when to ask next, never if there is nothing to ask.
func (id *peerIdentity) dueAt() int64 {
	if !id.asking && !id.challenged {
		return never
	}
	return id.askAt
}

// question says whether to ask now, when dueAt has come, and decides when enough was heard: not
// before the last question could have been answered by the peer itself.
func (id *peerIdentity) question(now, rto int64) bool {
	switch {
	case !id.asking: // challenged
	case id.answered >= id.needed && now-id.since >= id.minSpan:
		id.asking, id.gone = false, true
		return false
	case id.asked >= restartQuestions:
		id.asking = false
		return false
	}
	id.challenged = false
	id.asked++
	id.askAt = now + max(rto, 2*id.minSpan/restartQuestions)
	return true
}
