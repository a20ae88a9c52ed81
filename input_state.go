package kcp

// inputState is what the segments of one datagram have told so far.
type inputState struct {
	una      uint32 // the newest una
	newest   int64  // when the newest transmission acknowledged was sent, 0 for none
	oldest   int64  // when the oldest was
	datagram []byte
	regular  bool // it was not rebuilt by FEC
	numbered bool // a WINS has told the peer's number
}

// onAck takes the time when a transmission was sent that was acknowledged, 0 for unknown.
func (in *inputState) onAck(sentAt int64) {
	if sentAt == 0 {
		return
	}
	if in.newest == 0 {
		in.oldest = sentAt
	}
	in.newest, in.oldest = max(in.newest, sentAt), min(in.oldest, sentAt)
}

// arrival is how what a PUSH carries came to be known.
type arrival uint8

const (
	arrivedRegularly arrival = iota
	arrivedByParity          // in a datagram that was rebuilt by FEC
	arrivedByRepair          // rebuilt from repairs
)

func (in *inputState) arrival() arrival {
	if in.regular {
		return arrivedRegularly
	}
	return arrivedByParity
}
