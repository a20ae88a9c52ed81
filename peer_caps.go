package kcp

// peerCaps is what the two ends have announced that they can do (docs/protocol.md,
// Capabilities). A core that is driven by hand announces nothing, as it could not report the end
// of a stream.
type peerCaps struct {
	own        uint8 // the mark and bits that our control segments carry, 0 without extensions
	peer       uint8 // those of the peer's, 0 before the first
	peerKnown  bool  // a control segment of the peer's was received
	announcing bool  // a dialled session of which the peer has acknowledged nothing yet
	reset      bool  // the peer has reset the session
}

// learn takes the capabilities from a control segment of the peer's.
func (c *peerCaps) learn(h *header) {
	c.peerKnown = true
	if h.frg&capMark != 0 {
		c.peer = h.frg &^ capRebuilt
	}
}

// peerMarked says whether the peer has this package's extensions.
func (c *peerCaps) peerMarked() bool { return c.peer&capMark != 0 }

// bothTakeFIN says whether both ends take FIN and RST.
func (c *peerCaps) bothTakeFIN() bool { return takeFIN(c.own, c.peer) }

func takeFIN(a, b uint8) bool { return a&b&capMark != 0 && a&b&capFIN != 0 }

// bothTakeRecords says whether both ends take records.
func (c *peerCaps) bothTakeRecords() bool {
	return c.own&c.peer&capMark != 0 && c.own&c.peer&capRecords != 0
}

// lastCmd is the highest cmd that this end takes.
func (c *peerCaps) lastCmd() uint8 {
	switch {
	case c.own&capRecords != 0:
		return cmdLast
	case c.own&capFIN != 0:
		return cmdRST
	}
	return IKCP_CMD_WINS
}
