package kcp

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// These tests run the dissector in wireshark/ by tshark over captures that they make. They are skipped
// where there is no tshark.

// frame is a datagram of a capture.
type frame struct {
	at       time.Duration
	from, to netip.AddrPort
	data     []byte
}

// testFrame is a frame between two hosts.
func testFrame(b []byte) frame {
	return frame{0, netip.MustParseAddrPort("10.0.0.1:1000"), netip.MustParseAddrPort("10.0.0.2:4000"), b}
}

// pcap returns a capture file (https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/) of IPv4 packets.
func pcap(frames []frame) []byte {
	const linkRaw = 101
	le, be := binary.LittleEndian, binary.BigEndian
	var b []byte
	for _, v := range []uint32{0xa1b2c3d4, 4<<16 | 2, 0, 0, 65535, linkRaw} {
		b = le.AppendUint32(b, v)
	}
	for _, f := range frames {
		size := 20 + 8 + len(f.data)
		for _, v := range []uint32{uint32(f.at / time.Second), uint32(f.at % time.Second / time.Microsecond), uint32(size), uint32(size)} {
			b = le.AppendUint32(b, v)
		}
		b = be.AppendUint32(b, 0x4500<<16|uint32(size))
		b = append(b, 0, 0, 0, 0, 64, 17, 0, 0) // not fragmented, TTL, UDP, no checksum
		b = append(append(b, f.from.Addr().AsSlice()...), f.to.Addr().AsSlice()...)
		b = be.AppendUint16(be.AppendUint16(b, f.from.Port()), f.to.Port())
		b = be.AppendUint32(b, uint32(8+len(f.data))<<16)
		b = append(b, f.data...)
	}
	return b
}

// tshark runs it with the dissector over the frames, and returns what it prints.
func tshark(t *testing.T, frames []frame, args ...string) []byte {
	t.Helper()
	program, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("no tshark here")
	}
	file := filepath.Join(t.TempDir(), "test.pcap")
	if err := os.WriteFile(file, pcap(frames), 0o644); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"-n", "-X", "lua_script:wireshark/kcp.lua", "-r", file, "-d", "udp.port==4000,kcp"}, args...)
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir())
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil || strings.Contains(complaints.String(), "Lua") {
		t.Fatalf("tshark: %v\n%s", err, &complaints)
	}
	return out
}

// shown is a field of a dissected datagram: its name without "kcp.", its value as it is shown, and its
// bytes in hex.
type shown struct{ name, show, value string }

type dissected []shown

// dissect returns what the dissector finds in each frame, in order.
func dissect(t *testing.T, frames []frame, args ...string) (list []dissected) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(tshark(t, frames, append(args, "-T", "pdml", "-J", "kcp")...)))
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		attr := make(map[string]string)
		for _, a := range start.Attr {
			attr[a.Name.Local] = a.Value
		}
		switch name, ours := strings.CutPrefix(attr["name"], "kcp."); {
		case start.Name.Local == "packet":
			list = append(list, nil)
		case ours:
			last := &list[len(list)-1]
			*last = append(*last, shown{name, attr["show"], attr["value"]})
		case attr["name"] == "_ws.lua.error":
			t.Errorf("frame %d: %s", len(list), attr["showname"])
		}
	}
	if len(list) != len(frames) {
		t.Fatalf("%d of %d frames", len(list), len(frames))
	}
	return list
}

// get returns the values of all fields of that name.
func (d dissected) get(name string) (show []string) {
	for _, f := range d {
		if f.name == name {
			show = append(show, f.show)
		}
	}
	return show
}

// has says whether there is a field of that name.
func (d dissected) has(name string) bool { return d.get(name) != nil }

// dissectedNames are the names of docs/protocol.md for fields that the dissector calls otherwise.
var dissectedNames = map[string]string{
	"caps": "frg", "session": "ts", "report.ts": "ts", "report.count": "sn", "rep.base": "sn", "oob": "payload",
	"fec.seqid": "seqid", "fec.type": "type", "fec.size": "size",
}
