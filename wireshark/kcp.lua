-- A dissector of KCP as docs/protocol.md of github.com/xtaci/kcp-go/v5 specifies it; section numbers are
-- that document's. docs/wireshark.md says how to install and use it.
--
-- Nothing a datagram says is believed before it was compared with what is there: no range is made that
-- could be outside of it.

local here = debug.getinfo(1, "S").source:match("^@(.*[/\\])") or ""
local opener = dofile(here .. "kcp_open.lua")
local names = dofile(here .. "kcp_fields.lua")
local dissect_record = dofile(here .. "kcp_records.lua")
local track = dofile(here .. "kcp_track.lua")
local train = dofile(here .. "kcp_train.lua")
local f, e, cmds = names.fields, names.experts, names.cmds

local kcp = Proto("kcp", "KCP")
names.register(kcp)

kcp.prefs.keys = Pref.string("Keys", "",
	"Of the shared ciphers, each as cipher:key with the key in hex or base64, with spaces between. Ciphers: aes, sm4, tea, xtea, salsa20, none, aes-gcm, chacha20-poly1305")
kcp.prefs.keylog = Pref.string("Key log of sealed sessions", "", "The path of a file with KCP_SEALED lines")

local header_size, longest = 24, 1500

-- Segments (section 3).

local has_caps = { ACK = true, WASK = true, WINS = true, RST = true }
local has_data = { PUSH = true, DGRAM = true }

local function add_caps(tree, range)
	local caps = tree:add(f.caps, range)
	for _, bit_field in ipairs({ f.caps_mark, f.caps_fin, f.caps_records, f.caps_rebuilt }) do
		caps:add(bit_field, range)
	end
end

-- add_header adds the fields of the segment at that offset.
local function add_header(tree, tvb, at, cmd)
	local frg, ts, sn = tvb(at + 5, 1), tvb(at + 8, 4), tvb(at + 12, 4)
	tree:add_le(f.conv, tvb(at, 4))
	tree:add(f.cmd, tvb(at + 4, 1))
	if has_caps[cmd] then
		add_caps(tree, frg)
	elseif cmd == "REP" then
		tree:add(f.rep_index, frg)
		tree:add(f.rep_answer, frg)
	else
		tree:add(f.frg, frg)
	end
	tree:add_le(f.wnd, tvb(at + 6, 2))
	local told = cmd == "WINS" and frg:uint() >= 0x80
	tree:add_le(told and f.session or cmd == "REPORT" and f.report_ts or f.ts, ts)
	if told and ts:le_uint() == 0 then tree:add_proto_expert_info(e.no_session) end
	if cmd == "RST" then tree:add_proto_expert_info(e.reset) end
	tree:add_le(cmd == "REP" and f.rep_base or cmd == "REPORT" and f.report_count or f.sn, sn)
	tree:add_le(f.una, tvb(at + 16, 4))
	tree:add_le(f.len, tvb(at + 20, 4))
end

-- The data of a segment lies in tvb from one offset up to another.

local function add_ranges(tree, tvb, from, to)
	while to - from >= 8 do
		local first, count = tvb(from, 4), tvb(from + 4, 4)
		local pair = tree:add(f.range, tvb(from, 8))
		pair:append_text(string.format(": %d, %d segments", first:le_uint(), count:le_uint()))
		pair:add_le(f.range_first, first)
		pair:add_le(f.range_count, count)
		from = from + 8
	end
	if from < to then tree:add(f.rest, tvb(from, to - from)):add_proto_expert_info(e.bad_list) end
end

local function add_records(tree, tvb, from, to)
	while to - from >= 3 do
		local size = tvb(from + 1, 2):le_uint()
		if size > to - from - 3 then break end
		dissect_record(names, tree, tvb, from, size)
		from = from + 3 + size
	end
	if from < to then tree:add(f.rest, tvb(from, to - from)):add_proto_expert_info(e.bad_list) end
end

local function add_repair(tree, tvb, from, to)
	if to - from < 8 then
		tree:add(f.rest, tvb(from, to - from)):add_proto_expert_info(e.bad_list)
		return
	end
	tree:add_le(f.rep_members, tvb(from, 8))
	if to - from > 8 then tree:add(f.rep_sum, tvb(from + 8, to - from - 8)) end
end

local function add_data(tree, tvb, from, to, cmd)
	if from == to then return end
	if has_data[cmd] then
		tree:add(f.data, tvb(from, to - from))
	elseif cmd == "ACK" then
		add_ranges(tree, tvb, from, to)
	elseif cmd == "WASK" or cmd == "WINS" then
		add_records(tree, tvb, from, to)
	elseif cmd == "REP" then
		add_repair(tree, tvb, from, to)
	else
		tree:add(f.ignored, tvb(from, to - from))
	end
end

-- describe returns a segment in a few words.
local function describe(tvb, at, cmd, len)
	local ts, sn = tvb(at + 8, 4):le_uint(), tvb(at + 12, 4):le_uint()
	if cmd == "PUSH" and len == 0 and sn == 0xffffffff then return "PUSH, address challenge" end
	if cmd == "WASK" then return len > 0 and "WASK with records" or "WASK" end
	if cmd == "WINS" and tvb(at + 5, 1):uint() >= 0x80 and ts == 0 then return "WINS, no such session" end
	if cmd == "WINS" then return string.format("WINS wnd=%d", tvb(at + 6, 2):le_uint()) .. (len > 0 and " with records" or "") end
	if cmd == "REP" then return string.format("REP base=%d", sn) end
	if cmd == "REPORT" then return string.format("REPORT count=%d", sn) end
	local text = string.format("%s sn=%d", cmd, sn)
	if cmd == "ACK" then
		return string.format("%s una=%d", text, tvb(at + 16, 4):le_uint()) .. (len > 0 and string.format(", %d ranges", math.floor(len / 8)) or "")
	end
	return has_data[cmd] and string.format("%s len=%d", text, len) or text
end

-- add_segments adds the segments from at on, and returns descriptions of them.
local function add_segments(tree, tvb, at, pinfo)
	local texts, conv = {}, nil
	while tvb:len() - at >= header_size do
		local this, number, len = tvb(at, 4):le_uint(), tvb(at + 4, 1):uint(), tvb(at + 20, 4):le_uint()
		local cmd, left = cmds[number], tvb:len() - at - header_size
		conv = conv or this
		local stop = this ~= conv and e.foreign_conv or not cmd and e.unknown_cmd or
			(len > left or len > longest) and e.too_long
		if stop then
			tree:add(f.rest, tvb(at)):add_proto_expert_info(stop)
			return texts
		end
		local text = describe(tvb, at, cmd, len)
		local segment = tree:add(kcp, tvb(at, header_size + len), "Segment: " .. text)
		add_header(segment, tvb, at, cmd)
		if track.segment(names, segment, tvb, at, cmd, pinfo) then text = text .. " (again)" end
		add_data(segment, tvb, at + header_size, at + header_size + len, cmd)
		texts[#texts + 1] = text
		at = at + header_size + len
	end
	if at < tvb:len() then tree:add(f.rest, tvb(at)):add_proto_expert_info(e.rest_ignored) end
	return texts
end

-- The FEC header (section 8.1).

local function is_fec(tvb, at)
	return tvb:len() - at >= 8 and names.fec_types[tvb(at + 4, 2):le_uint()] ~= nil
end

local function add_fec(tree, tvb, at, pinfo)
	local kind, size = names.fec_types[tvb(at + 4, 2):le_uint()], tvb(at + 6, 2)
	local left = tvb:len() - at - 8
	local head = tree:add(kcp, tvb(at, 8), string.format("FEC: %s, shard %d", kind, tvb(at, 4):le_uint()))
	head:add_le(f.fec_seqid, tvb(at, 4))
	head:add_le(f.fec_type, tvb(at + 4, 2))
	if kind == "parity" then
		head:add(f.fec_parity, tvb(at + 6))
		return { string.format("FEC parity %d", tvb(at, 4):le_uint()) }
	end
	local size_item = head:add_le(f.fec_size, size)
	if size:le_uint() < 2 or size:le_uint() - 2 > left then
		size_item:add_proto_expert_info(e.bad_size)
		if left > 0 then tree:add(f.rest, tvb(at + 8)) end
		return { "FEC " .. kind .. ", bad size" }
	end
	left = size:le_uint() - 2
	if left == 0 then return { "FEC " .. kind } end
	local body = tvb(at + 8, left):tvb()
	if kind == "data" then return add_segments(tree, body, 0, pinfo) end
	if left < 4 then
		tree:add(f.rest, body()):add_proto_expert_info(e.rest_ignored)
		return { "out-of-band" }
	end
	tree:add_le(f.conv, body(0, 4))
	if left > 4 then tree:add(f.oob, body(4)) end
	return { string.format("out-of-band len=%d", left - 4) }
end

-- add_content adds what a datagram holds under its cipher.
local function add_content(tree, tvb, at, pinfo)
	if is_fec(tvb, at) then return add_fec(tree, tvb, at, pinfo) end
	return add_segments(tree, tvb, at, pinfo)
end

-- Opened datagrams (sections 2, 7 and 16.2).

local layers = {}

function layers.envelope(tree, tvb, opened)
	local text = ByteArray.new(opened.text, true):tvb("Decrypted KCP datagram")
	tree:add(f.nonce, text(0, 16))
	tree:add_le(f.crc, text(16, 4))
	return text, opened.start
end

local function payload_of(opened)
	if opened.payload == "" then return nil end
	return ByteArray.new(opened.payload, true):tvb("Decrypted KCP datagram")
end

function layers.aead(tree, tvb, opened)
	tree:add(f.nonce, tvb(0, 12))
	tree:add(f.tag, tvb(tvb:len() - 16))
	return payload_of(opened), 0
end

function layers.sealed(tree, tvb, opened)
	local head = ByteArray.new(opened.head, true):tvb("Head of a sealed KCP datagram")
	tree:add(f.sealed_conv, opened.conv)
	tree:add_le(f.sealed_index, head(0, 4))
	tree:add_le(f.sealed_number, head(4, 8))
	tree:add(f.sealed_epoch, opened.epoch)
	tree:add(f.tag, tvb(tvb:len() - 16))
	return payload_of(opened), 0
end

-- is_clear tells whether an unopened datagram is one in the clear: one whose first bytes are in place.
local function is_clear(tvb)
	return is_fec(tvb, 0) or tvb:len() >= header_size and cmds[tvb(4, 1):uint()] ~= nil
end

local function add_datagram(tvb, pinfo, tree, opened)
	tree:append_text(string.format(", %d bytes", tvb:len()))
	if opened then
		tree:add(f.cipher, opened.cipher)
		if opened.layer == "sealed" then tree:append_text(", sealed") end
		local text, at = layers[opened.layer](tree, tvb, opened)
		return text and at < text:len() and add_content(tree, text, at, pinfo) or {}, opened.layer == "sealed" and "sealed: " or ""
	end
	if is_clear(tvb) then return add_content(tree, tvb, 0, pinfo), "" end
	local cut = tvb:len() < tvb:reported_len()
	tree:add(f.unopened, tvb()):add_proto_expert_info(cut and e.unopened_truncated or e.not_opened)
	return { "not opened" }, ""
end

-- consists_of_segments tells whether a datagram in the clear is segments of one conversation to its
-- last byte, behind a FEC header or not.
local function consists_of_segments(tvb)
	local at, conv = 0, nil
	if is_fec(tvb, 0) then
		if tvb(4, 2):le_uint() ~= 0xf1 or tvb(6, 2):le_uint() ~= tvb:len() - 6 then return false end
		at = 8
	end
	while tvb:len() - at >= header_size do
		local this, len = tvb(at, 4):le_uint(), tvb(at + 20, 4):le_uint()
		if this ~= (conv or this) or not cmds[tvb(at + 4, 1):uint()] then return false end
		if len > tvb:len() - at - header_size then return false end
		conv, at = this, at + header_size + len
	end
	return conv ~= nil and at == tvb:len()
end

-- fits tells whether a datagram is one for sure.
local function fits(tvb)
	return opener.open(tvb:raw()) ~= nil or consists_of_segments(tvb)
end

local most_described = 6

local function describe_all(texts)
	if #texts > most_described then
		texts[most_described] = string.format("and %d more", #texts - most_described + 1)
	end
	return table.concat(texts, "; ", 1, math.min(#texts, most_described))
end

-- show adds a packet, which opened is the result of opening.
local function show(tvb, pinfo, tree, opened)
	track.begin()
	pinfo.cols.protocol = "KCP"
	local length = not opened and not consists_of_segments(tvb) and train.length(tvb, pinfo, fits)
	if not length then
		if not pinfo.visited and tvb:len() <= longest then train.learn(tvb:len()) end
		local texts, prefix = add_datagram(tvb, pinfo, tree:add(kcp, tvb()), opened)
		pinfo.cols.info = prefix .. describe_all(texts)
		return
	end
	local all, n = {}, math.ceil(tvb:len() / length)
	for at = 0, tvb:len() - 1, length do
		local one = tvb(at, math.min(length, tvb:len() - at)):tvb()
		local texts = add_datagram(one, pinfo, tree:add(kcp, one()), opener.open(one:raw()))
		for _, text in ipairs(texts) do all[#all + 1] = text end
	end
	pinfo.cols.info = string.format("%d datagrams: %s", n, describe_all(all))
end

function kcp.dissector(tvb, pinfo, tree)
	if tvb:len() == 0 then return 0 end
	show(tvb, pinfo, tree, opener.open(tvb:raw()))
	return tvb:len()
end

-- Datagrams of any port are taken that a key opens, or that are nothing but segments; from then on the
-- conversation is KCP's.
kcp:register_heuristic("udp", function(tvb, pinfo, tree)
	if tvb:len() < header_size then return false end
	local opened = opener.open(tvb:raw())
	if not opened and not consists_of_segments(tvb) and not train.length(tvb, pinfo, fits) then return false end
	pinfo.conversation = kcp
	show(tvb, pinfo, tree, opened)
	return true
end)

DissectorTable.get("udp.port"):add_for_decode_as(kcp)

local keys, keylog

local function read_prefs()
	if keys ~= kcp.prefs.keys then
		keys = kcp.prefs.keys
		local wrong = opener.set_keys(keys)
		if wrong then report_failure("KCP: " .. wrong) end
	end
	if keylog ~= kcp.prefs.keylog then
		keylog = kcp.prefs.keylog
		opener.set_key_log(keylog)
	end
end

kcp.prefs_changed = read_prefs

function kcp.init()
	read_prefs()
	track.reset()
	train.reset()
end
