package main

import "os"

// underSystemd says whether what is logged goes to systemd's journal (systemd.exec(5)).
func underSystemd() bool { return os.Getenv("JOURNAL_STREAM") != "" }
