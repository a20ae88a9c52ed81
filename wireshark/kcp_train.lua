-- Trains: at a host that sends or receives by segmentation offload (Linux, UDP_SEGMENT and UDP_GRO) a capture
-- has datagrams of one length, the last of which may be shorter, as one packet. What that length is nothing
-- tells; it is found by whether what has it opens, or consists of segments.

local default_mtu, most_learned = 1400, 16

local learned, found

local function reset()
	learned = {} -- lengths of datagrams, the newest first
	found = {}   -- by frame, so that it is the same whenever the frame is looked at
end
reset()

-- learn notes the length of a datagram: others of its session may have it.
local function learn(length)
	for i, l in ipairs(learned) do
		if l == length then table.remove(learned, i) end
	end
	table.insert(learned, 1, length)
	learned[most_learned + 1] = nil
end

-- length returns that of the datagrams in a packet, or nil where it is none that is known. fits tells whether
-- the first so many bytes are a datagram.
local function length(tvb, pinfo, fits)
	local key = pinfo.number
	if found[key] == nil and not pinfo.visited then
		found[key] = false
		for i = 0, #learned do
			local l = learned[i] or default_mtu
			if l < tvb:len() and fits(tvb(0, l):tvb()) then
				found[key] = l
				break
			end
		end
	end
	return found[key] or nil
end

return { reset = reset, learn = learn, length = length }
