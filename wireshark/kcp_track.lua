-- What several datagrams say together: which transmission repeats which, and which one an ACK is for. An
-- ACK has the ts and sn of the transmission that arrived (docs/protocol.md, section 4.2), so each tells a
-- round trip.

local sessions -- by direction and conv
local found    -- by frame, what was found for each of its segments when that was dissected first
local place    -- of the frame that is dissected, the number of segments so far

local function reset()
	sessions, found, place = {}, {}, { n = 0 }
end
reset()

local function direction(from, from_port, to, to_port, conv)
	return string.format("%s %d %s %d %s", tostring(from), from_port, tostring(to), to_port, conv)
end

-- session returns what was sent that way; a new session number (section 9.2) begins anew.
local function session(key, number)
	local s = sessions[key]
	if not s or number and s.number and s.number ~= number then
		s = { first = {}, sent = {} }
		sessions[key] = s
	end
	s.number = number or s.number
	return s
end

-- observe returns what there is to say about a segment that is seen for the first time.
local function observe(tvb, at, cmd, pinfo)
	local conv = tostring(tvb(at, 4):le_uint())
	local ts, sn = tvb(at + 8, 4):le_uint(), tvb(at + 12, 4):le_uint()
	local out = direction(pinfo.src, pinfo.src_port, pinfo.dst, pinfo.dst_port, conv)
	local transmission = ts .. " " .. sn
	if cmd == "WINS" and tvb(at + 5, 1):uint() >= 0x80 and ts ~= 0 then
		session(out, ts)
	elseif cmd == "PUSH" or cmd == "FIN" or cmd == "SKIP" then
		local s = session(out)
		local before = s.first[sn]
		s.first[sn] = before or pinfo.number
		s.sent[transmission] = s.sent[transmission] or { frame = pinfo.number, time = pinfo.rel_ts }
		return before and before ~= pinfo.number and { before = before }
	elseif cmd == "ACK" then
		local back = sessions[direction(pinfo.dst, pinfo.dst_port, pinfo.src, pinfo.src_port, conv)]
		local sent = back and back.sent[transmission]
		return sent and { acks = sent.frame, rtt = pinfo.rel_ts - sent.time }
	end
	return nil
end

-- begin is called before the segments of a frame.
local function begin()
	place = { n = 0 }
end

-- segment adds to a segment's tree what is known of it, and tells whether it is a retransmission.
local function segment(names, tree, tvb, at, cmd, pinfo)
	place.n = place.n + 1
	local key = pinfo.number .. " " .. place.n
	if not pinfo.visited then found[key] = observe(tvb, at, cmd, pinfo) or nil end
	local what = found[key]
	if not what then return false end
	local f = names.fields
	if what.before then
		tree:add(f.retransmission, what.before):set_generated():add_proto_expert_info(names.experts.retransmitted)
		return true
	end
	tree:add(f.acks, what.acks):set_generated()
	tree:add(f.rtt, what.rtt):set_generated()
	return false
end

return { reset = reset, begin = begin, segment = segment }
