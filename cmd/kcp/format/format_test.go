package format

import (
	"testing"
	"time"
)

func TestFormat(t *testing.T) {
	for got, want := range map[string]string{
		Bytes(0): "0 B", Bytes(999): "999 B", Bytes(1000): "1.00 kB", Bytes(12345): "12.3 kB", Bytes(999999): "1.00 MB",
		Bytes(123e6): "123 MB", Bits(125000): "1.00 Mbit/s",
		Short(time.Hour): "1h", Short(90 * time.Second): "1m30s", Short(time.Minute): "1m", Short(10 * time.Second): "10s",
		Milliseconds(412 * time.Microsecond): "0.41", Milliseconds(34120 * time.Microsecond): "34.1", Milliseconds(1208 * time.Millisecond): "1208",
		Count(1, "segment"): "1 segment", Count(uint64(2), "segment"): "2 segments",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
