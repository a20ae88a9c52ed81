-- What the dissector shows: its fields, its expert information, and the names of numbers. Names of fields
-- are those of docs/protocol.md.

local cmds = {
	[81] = "PUSH", [82] = "ACK", [83] = "WASK", [84] = "WINS", [85] = "FIN",
	[86] = "RST", [87] = "DGRAM", [88] = "REP", [89] = "REPORT", [90] = "SKIP",
}
local fec_types = { [0xf1] = "data", [0xf2] = "parity", [0xf3] = "out-of-band" }
local record_types = {
	[0] = "PAD", [1] = "PARAMS", [2] = "HELLO", [3] = "WELCOME", [4] = "RETRY", [5] = "TOKEN",
	[6] = "PATH", [7] = "PATH OK", [8] = "PROBE", [9] = "PROBE OK", [10] = "EARLY",
}
local param_ids = { [1] = "features", [2] = "longest datagram", [3] = "longest acknowledgement delay" }
local patterns = { [0] = "Noise_NNpsk0_25519_ChaChaPoly_SHA256", [1] = "Noise_NKpsk0_25519_ChaChaPoly_SHA256" }

-- Fields.

local f = {}

local function field(name, kind, title, ...)
	local key = name:gsub("[.]", "_")
	f[key] = ProtoField[kind]("kcp." .. name, title, ...)
end

field("cipher", "string", "Cipher")
field("nonce", "bytes", "Nonce")
field("crc", "uint32", "CRC-32", base.HEX)
field("tag", "bytes", "Tag")
field("opened", "bytes", "Opened payload")
field("unopened", "bytes", "Not opened")
field("sealed.conv", "string", "Conversation, by the key log")
field("sealed.index", "uint32", "Receiver's index", base.HEX)
field("sealed.number", "uint64", "Number")
field("sealed.epoch", "uint32", "Epoch")

field("fec.seqid", "uint32", "Shard number (seqid)")
field("fec.type", "uint16", "Type", base.HEX, fec_types)
field("fec.size", "uint16", "Size")
field("fec.parity", "bytes", "Parity")
field("oob", "bytes", "Out-of-band payload")

field("conv", "uint32", "Conversation", base.HEX)
field("cmd", "uint8", "Command", base.DEC, cmds)
field("frg", "uint8", "Segments of this message that follow")
field("caps", "uint8", "Capabilities", base.HEX)
field("caps.mark", "bool", "Mark", 8, nil, 0x80)
field("caps.fin", "bool", "FIN", 8, nil, 0x01)
field("caps.records", "bool", "RECORDS", 8, nil, 0x02)
field("caps.rebuilt", "bool", "REBUILT", 8, nil, 0x04)
field("wnd", "uint16", "Window, in segments")
field("ts", "uint32", "Time stamp")
field("session", "uint32", "Session number", base.HEX)
field("sn", "uint32", "Serial number")
field("una", "uint32", "Unacknowledged from")
field("len", "uint32", "Length")
field("data", "bytes", "Data")
field("ignored", "bytes", "Data that is skipped")
field("rest", "bytes", "Rest of the datagram")

field("range", "none", "Range")
field("range.first", "uint32", "First serial number")
field("range.count", "uint32", "Count")

field("rep.index", "uint8", "Index", base.DEC, nil, 0x7f)
field("rep.answer", "bool", "Answer this", 8, nil, 0x80)
field("rep.base", "uint32", "Base serial number")
field("rep.members", "uint64", "Members", base.HEX)
field("rep.sum", "bytes", "Sum of symbols")
field("report.count", "uint32", "Transmissions received")
field("report.ts", "uint32", "Newest time stamp received")

field("record", "none", "Record")
field("record.type", "uint8", "Type", base.DEC, record_types)
field("record.length", "uint16", "Length")
field("record.body", "bytes", "Body")
field("param.id", "uint8", "Parameter", base.DEC, param_ids)
field("param.length", "uint8", "Length")
field("param.value", "bytes", "Value")
field("features", "uint32", "Features", base.HEX)
field("features.datagrams", "bool", "Datagrams", 32, nil, 0x01)
field("features.ranges", "bool", "Ranges", 32, nil, 0x02)
field("features.repairs", "bool", "Repairs", 32, nil, 0x04)
field("features.expiry", "bool", "Expiry", 32, nil, 0x08)
field("datagram", "uint16", "Longest datagram, in bytes")
field("ack_delay", "uint16", "Longest acknowledgement delay, in ms")
field("path", "uint64", "Value", base.HEX)
field("probe", "uint32", "Value", base.HEX)
field("noise.pattern", "uint8", "Pattern", base.DEC, patterns)
field("noise.ephemeral", "bytes", "Ephemeral public key")
field("noise.payload", "bytes", "Encrypted payload")
field("token", "bytes", "Token")
field("early.first", "uint32", "First serial number")
field("early.digest", "bytes", "Digest of a segment")

field("retransmission", "framenum", "Serial number sent before in frame", base.NONE, frametype.RETRANS_PREV)
field("acks", "framenum", "Acknowledges the transmission in frame", base.NONE, frametype.ACK)
field("rtt", "double", "Time since that transmission, in seconds")

-- Expert information.

local e = {}

local function expert(name, title, group, severity)
	e[name] = ProtoExpert.new("kcp." .. name, title, group, severity)
end

expert("not_opened", "No key opens this datagram, and it is not in the clear", PI_DECRYPTION, PI_NOTE)
expert("unopened_truncated", "The capture has only the head of this datagram, which cannot be opened", PI_UNDECODED, PI_NOTE)
expert("foreign_conv", "Another conversation: a receiver stops here", PI_PROTOCOL, PI_WARN)
expert("unknown_cmd", "Unknown command: a receiver stops here", PI_MALFORMED, PI_WARN)
expert("too_long", "The length is more than what is left, or than 1500: a receiver stops here", PI_MALFORMED, PI_WARN)
expert("rest_ignored", "Less than a segment's header: a receiver ignores this", PI_MALFORMED, PI_NOTE)
expert("bad_size", "A size below 2, or above what there is: a receiver drops this datagram", PI_MALFORMED, PI_WARN)
expert("bad_list", "The list does not parse: it ends here", PI_MALFORMED, PI_WARN)
expert("retransmitted", "Retransmission", PI_SEQUENCE, PI_NOTE)
expert("reset", "The session is given up, and data lost", PI_SEQUENCE, PI_WARN)
expert("no_session", "The peer has no such session", PI_SEQUENCE, PI_NOTE)
expert("keys_differ", "An empty WELCOME: HELLO does not open, the keys differ", PI_SECURITY, PI_WARN)

local function list(t)
	local l = {}
	for _, v in pairs(t) do l[#l + 1] = v end
	return l
end

-- The names, and what registers the rest with a protocol.
return {
	cmds = cmds, fec_types = fec_types, record_types = record_types, fields = f, experts = e,
	register = function(proto)
		proto.fields = list(f)
		proto.experts = list(e)
	end,
}
