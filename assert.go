package kcp

import (
	"io"
	"net"
)

// What the types of this package are.
var (
	_ net.Conn      = (*UDPSession)(nil)
	_ io.ReaderFrom = (*UDPSession)(nil)
	_ io.WriterTo   = (*UDPSession)(nil)
	_ net.Listener  = (*Listener)(nil)
	_ net.Error     = (*PeerTimeoutError)(nil)

	_ CongestionControl = (*bbr)(nil)
	_ CongestionControl = (*cubic)(nil)
	_ CongestionControl = (*conservation)(nil)

	_ BlockCrypt = (*cfb)(nil)
	_ Entropy    = (*chachaEntropy)(nil)
	_ Entropy    = (*aesEntropy)(nil)
	_ io.Reader  = (*chachaEntropy)(nil)
	_ io.Reader  = (*aesEntropy)(nil)
	_ io.Reader  = filler{}
)
