package kcp

// SetLogger calls logger with what is sent, received, queued and read, as far as mask asks for it:
// a message, and pairs of keys and values, as log/slog's functions take them. Segments have conv,
// sn, ts, una, wnd, frg and len, datagrams conv, len and regular (false when rebuilt from parity),
// and what is queued or read conv and len. Calls are in the order of the events, one at a time, from
// within the methods of the core, which logger must not call. A nil logger, or a mask of 0, ends
// the reports.
func (k *KCP) SetLogger(mask KCPLogType, logger func(msg string, args ...any)) {
	k.log.set(mask, logger)
}

// logRead reports that n bytes were read.
func (k *KCP) logRead(n int) {
	if k.log.mask != 0 && n > 0 {
		k.log.bytes(IKCP_LOG_RECV, "kcp recv", k.conv, n)
	}
}
