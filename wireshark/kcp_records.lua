-- Records: the data of WASK and WINS (docs/protocol.md, sections 9.4 and 16.1). A body that is shorter than
-- its type needs is shown as it is.

local bodies = {}

-- Each body is in tvb from one offset, as long as size says.

local values = {
	[1] = { size = 4, show = function(f, tree, value)
		local features = tree:add_le(f.features, value)
		for _, bit_field in ipairs({ f.features_datagrams, f.features_ranges, f.features_repairs, f.features_expiry }) do
			features:add_le(bit_field, value)
		end
	end },
	[2] = { size = 2, show = function(f, tree, value) tree:add_le(f.datagram, value) end },
	[3] = { size = 2, show = function(f, tree, value) tree:add_le(f.ack_delay, value) end },
}

-- PARAMS: id, length, value.
bodies[1] = function(names, tree, tvb, at, size)
	local f, stop = names.fields, at + size
	while stop - at >= 2 do
		local id, n = tvb(at, 1), tvb(at + 1, 1)
		if n:uint() > stop - at - 2 then break end
		tree:add(f.param_id, id)
		tree:add(f.param_length, n)
		if n:uint() > 0 then
			local value, known = tvb(at + 2, n:uint()), values[id:uint()]
			if known and known.size == n:uint() then known.show(f, tree, value) else tree:add(f.param_value, value) end
		end
		at = at + 2 + n:uint()
	end
	if at < stop then tree:add(f.rest, tvb(at, stop - at)):add_proto_expert_info(names.experts.bad_list) end
end

local function noise(f, tree, tvb, at, size)
	if size < 32 then
		tree:add(f.record_body, tvb(at, size))
		return
	end
	tree:add(f.noise_ephemeral, tvb(at, 32))
	if size > 32 then tree:add(f.noise_payload, tvb(at + 32, size - 32)) end
end

-- HELLO
bodies[2] = function(names, tree, tvb, at, size)
	tree:add(names.fields.noise_pattern, tvb(at, 1))
	if size > 1 then noise(names.fields, tree, tvb, at + 1, size - 1) end
end

-- WELCOME
bodies[3] = function(names, tree, tvb, at, size)
	noise(names.fields, tree, tvb, at, size)
end

-- RETRY and TOKEN
bodies[4] = function(names, tree, tvb, at, size)
	tree:add(names.fields.token, tvb(at, size))
end
bodies[5] = bodies[4]

-- echoed returns what shows a value that comes back as it is.
local function echoed(name, length)
	return function(names, tree, tvb, at, size)
		if size == length then
			tree:add_le(names.fields[name], tvb(at, size))
		else
			tree:add(names.fields.record_body, tvb(at, size))
		end
	end
end

-- PATH and PATH OK, PROBE and PROBE OK
bodies[6] = echoed("path", 8)
bodies[7] = bodies[6]
bodies[8] = echoed("probe", 4)
bodies[9] = bodies[8]

-- EARLY
bodies[10] = function(names, tree, tvb, at, size)
	local f, stop = names.fields, at + size
	if size >= 4 then
		tree:add_le(f.early_first, tvb(at, 4))
		at = at + 4
		while stop - at >= 16 do
			tree:add(f.early_digest, tvb(at, 16))
			at = at + 16
		end
	end
	if at < stop then tree:add(f.rest, tvb(at, stop - at)):add_proto_expert_info(names.experts.bad_list) end
end

-- The record at that offset, with a body of that size.
return function(names, tree, tvb, at, size)
	local f, kind = names.fields, tvb(at, 1)
	local record = tree:add(f.record, tvb(at, 3 + size))
	record:append_text(": " .. (names.record_types[kind:uint()] or string.format("type %d", kind:uint())))
	record:add(f.record_type, kind)
	record:add_le(f.record_length, tvb(at + 1, 2))
	local show = bodies[kind:uint()]
	if size == 0 then
		if kind:uint() == 3 then record:add_proto_expert_info(names.experts.keys_differ) end
	elseif show then
		show(names, record, tvb, at + 3, size)
	else
		record:add(f.record_body, tvb(at + 3, size))
	end
end
