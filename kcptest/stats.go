package kcptest

import "github.com/xtaci/kcp-go/v5/internal/netem"

// Stats counts what became of datagrams. Bytes are those of the payload.
type Stats struct {
	Sent           uint64 // written
	SentBytes      uint64 // bytes of them
	Delivered      uint64 // arrived in a receive buffer, copies included
	DeliveredBytes uint64 // bytes of them

	Filtered    uint64 // dropped by a partition or the filter
	TooLong     uint64 // dropped, as they were longer than Path.MTU
	Policed     uint64 // dropped by the policer
	QueueDrops  uint64 // dropped, as the queue was full
	Lost        uint64 // lost by Path.Loss or Path.BurstLoss
	Unbound     uint64 // arrived where no Conn is
	BufferDrops uint64 // dropped, as the receive buffer was full

	Duplicated uint64 // copies made
	Reordered  uint64 // delivered after one that was sent later
}

func stats(s netem.Stats) Stats {
	return Stats{
		Sent: s.Sent, SentBytes: s.SentBytes, Delivered: s.Delivered, DeliveredBytes: s.DeliveredBytes,
		Filtered: s.TapDrops, TooLong: s.MTUDrops, Policed: s.Policed, QueueDrops: s.QueueDrops,
		Lost: s.Lost, Unbound: s.Unbound, BufferDrops: s.BufferDrops,
		Duplicated: s.Duplicated, Reordered: s.Reordered,
	}
}
