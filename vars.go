package kcp

// Vars returns the counters of the process and of its listeners, for package expvar, which this one does
// not import, as that brings an HTTP server:
//
//	expvar.Publish("kcp", expvar.Func(kcp.Vars))
func Vars() any {
	v := struct {
		Process   *Snmp
		Listeners map[string]ListenerStats // by address; those of one address together
	}{DefaultSnmp.Copy(), make(map[string]ListenerStats)}
	for l := range Listeners() {
		addr := l.Addr().String()
		v.Listeners[addr] = v.Listeners[addr].plus(l.Stats())
	}
	return v
}

// plus returns the sums of each.
func (a ListenerStats) plus(b ListenerStats) ListenerStats {
	return ListenerStats{
		Sessions: a.Sessions + b.Sessions, Backlog: a.Backlog + b.Backlog, HalfOpen: a.HalfOpen + b.HalfOpen,
		Opened: a.Opened + b.Opened, Accepted: a.Accepted + b.Accepted, Refused: a.Refused + b.Refused,
		BacklogFull: a.BacklogFull + b.BacklogFull, Handshakes: a.Handshakes + b.Handshakes,
		HandshakesDone: a.HandshakesDone + b.HandshakesDone, HandshakesRetried: a.HandshakesRetried + b.HandshakesRetried,
		HandshakesFailed: a.HandshakesFailed + b.HandshakesFailed, InvalidInputs: a.InvalidInputs + b.InvalidInputs,
		Foreign: a.Foreign + b.Foreign, Replays: a.Replays + b.Replays, ReceiveDrops: a.ReceiveDrops + b.ReceiveDrops,
	}
}
