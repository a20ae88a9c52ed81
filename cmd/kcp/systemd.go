package main

import (
	"context"
	"net"
	"os"
	"strconv"
	"time"
)

// underSystemd says whether what is logged goes to systemd's journal (systemd.exec(5)).
func underSystemd() bool { return os.Getenv("JOURNAL_STREAM") != "" }

// notifySystemd tells the service manager of a state, as sd_notify(3) does: a datagram to the socket that
// NOTIFY_SOCKET names. Without one it does nothing.
func notifySystemd(state string) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return
	}
	conn, err := net.Dial("unixgram", name) // which knows that "@" begins an abstract name
	if err != nil {
		return
	}
	defer conn.Close()
	conn.Write([]byte(state))
}

// feedWatchdog tells the service manager that the process is alive, as often as WatchdogSec wants it, until
// ctx is done (sd_watchdog_enabled(3)).
func feedWatchdog(ctx context.Context) {
	µs, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || µs < 2 {
		return
	}
	ticks := time.NewTicker(time.Duration(µs) * time.Microsecond / 2)
	defer ticks.Stop()
	for {
		notifySystemd("WATCHDOG=1")
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}
