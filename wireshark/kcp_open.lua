-- Opens datagrams: envelopes of a shared cipher (docs/protocol.md, section 7), with keys from a
-- preference, and sealed sessions (section 16), with a key log.

local here = debug.getinfo(1, "S").source:match("^@(.*[/\\])") or ""
local ciphers = dofile(here .. "kcp_aead.lua")
local bxor, bor, shl, shr, tohex = bit.bxor, bit.bor, bit.lshift, bit.rshift, bit.tohex
local sub, rep, byte = string.sub, string.rep, string.byte

local M = {}

local function unhex(text)
	if #text % 2 ~= 0 or text:find("%X") then return nil end
	return (text:gsub("..", function(pair) return string.char(tonumber(pair, 16)) end))
end

local digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

-- unbase64 decodes RFC 4648's base64.
local function unbase64(text)
	local value, have, out = 0, 0, {}
	for c in text:gsub("=+$", ""):gmatch(".") do
		value, have = value % 256 * 64 + digits:find(c, 1, true) - 1, have + 6
		if have >= 8 then
			have = have - 8
			out[#out + 1] = string.char(math.floor(value / 2 ^ have) % 256)
		end
	end
	return table.concat(out)
end

local function le32(s, i)
	local a, b, c, d = byte(s, i, i + 3)
	return bor(a, shl(b, 8), shl(c, 16), shl(d, 24))
end

-- The envelope of a BlockCrypt.

local initial_vector = unhex("a7734f9c12ac1b01a415f2c1fc78e66b")
local nonce_size, envelope_size = 16, 20

-- envelope returns the opener of what decrypt decrypts.
local function envelope(name, decrypt)
	return function(raw)
		if #raw < envelope_size then return nil end
		local text = decrypt(raw)
		local payload = sub(text, envelope_size + 1)
		local sum = sub(text, nonce_size + 1, envelope_size)
		if ciphers.crc32(payload) ~= sum then return nil end
		return { layer = "envelope", cipher = name, text = text, start = envelope_size, payload = payload }
	end
end

-- block returns what makes an opener from the key of a block cipher.
local function block(name, new, size)
	return function(key)
		local encrypt = new(key)
		return envelope(name, function(raw) return ciphers.cfb(encrypt, size, initial_vector, raw) end)
	end
end

local function salsa20(key)
	key = sub(key .. rep("\0", 32), 1, 32)
	return envelope("Salsa20", function(raw)
		local nonce = sub(raw, 1, 8)
		return nonce .. ciphers.salsa20(key, nonce, sub(raw, 9))
	end)
end

local function none()
	return envelope("none", function(raw) return raw end)
end

-- aead returns what makes an opener from the key of an AEAD with a nonce of 12 bytes and a tag of 16.
local function aead(name, new)
	return function(key)
		local open = new(key)
		return function(raw)
			if #raw < 12 + 16 then return nil end
			local payload = open(sub(raw, 1, 12), "", sub(raw, 13))
			return payload and { layer = "aead", cipher = name, payload = payload }
		end
	end
end

-- What a key in the preference may be of, and how many bytes it may have.
local kinds = {
	["aes"] = { sizes = { [16] = true, [24] = true, [32] = true }, new = block("AES", ciphers.aes, 16) },
	["sm4"] = { sizes = { [16] = true }, new = block("SM4", ciphers.sm4, 16) },
	["tea"] = { sizes = { [16] = true }, new = block("TEA", ciphers.tea, 8) },
	["xtea"] = { sizes = { [16] = true }, new = block("XTEA", ciphers.xtea, 8) },
	["salsa20"] = { new = salsa20 },
	["none"] = { new = none },
	["aes-gcm"] = { sizes = { [16] = true, [24] = true, [32] = true }, new = aead("AES-GCM", ciphers.aes_gcm) },
	["chacha20-poly1305"] = { sizes = { [32] = true }, new = aead("ChaCha20-Poly1305", ciphers.chacha20poly1305) },
}

local openers = {}

-- set_keys takes the keys from a text: cipher:key, any number of them with spaces or commas between, each
-- in hex or base64. It returns what is wrong with it, or nil; the other keys are taken.
function M.set_keys(text)
	local wrong
	openers = {}
	for item in text:gmatch("[^%s,]+") do
		local name, text = item:match("^([%w-]+):?([%w+/]*=*)$")
		local kind, key = kinds[name and name:lower()], text and (unhex(text) or unbase64(text))
		if not kind then
			wrong = "a key is cipher:key, the cipher aes, sm4, tea, xtea, salsa20, none, aes-gcm or chacha20-poly1305"
		elseif kind.sizes and not kind.sizes[#key] then
			wrong = string.format("no key of %s has %d bytes", name, #key)
		else
			openers[#openers + 1] = kind.new(key)
		end
	end
	return wrong
end

function M.has_keys() return #openers > 0 end

-- The key log. Each line
--
--     KCP_SEALED index conv cipher head-key secret
--
-- in hex but for cipher (1 AES-256-GCM, 2 ChaCha20-Poly1305), is of the datagrams of one direction: the
-- index that their receiver chose, and the secret of epoch 0.

local sealed_ciphers = {
	["1"] = { name = "AES-256-GCM", new = ciphers.aes_gcm },
	["2"] = { name = "ChaCha20-Poly1305", new = ciphers.chacha20poly1305 },
}

-- Epochs are derived one after the other. This many are those of 10^10 datagrams.
local most_epochs = 4096

local log -- path, size; heads: by key the function that masks; sessions: by index a list

local function no_log(path)
	return { path = path, size = 0, heads = {}, sessions = {}, seen = {} }
end
log = no_log("")

local function log_line(line)
	local index, conv, cipher, head, secret =
		line:match("^KCP_SEALED (%x+) (%x+) ([12]) (%x+) (%x+)%s*$")
	if not index or #index ~= 8 or #head ~= 32 or #secret ~= 64 or log.seen[line] then return end
	log.seen[line] = true
	log.heads[head] = log.heads[head] or ciphers.aes(unhex(head))
	index = index:lower()
	local list = log.sessions[index] or {}
	log.sessions[index] = list
	list[#list + 1] = {
		conv = conv, cipher = sealed_ciphers[cipher], head = head,
		epoch = 0, secret = unhex(secret), -- the newest that was derived
		keys = {},                  -- by epoch
	}
end

-- read_log reads the key log, if it has become longer: the capture may be a live one.
local function read_log()
	if log.path == "" then return false end
	local file = io.open(log.path, "r")
	if not file then return false end
	local size = file:seek("end") or 0
	local longer = size ~= log.size
	if longer then
		file:seek("set", 0)
		for line in file:lines() do log_line(line) end
		log.size = size
	end
	file:close()
	return longer
end

function M.set_key_log(path)
	log = no_log(path)
	read_log()
end

-- key returns the opener of an epoch, or nil if that is too far ahead to be true.
local function key(session, epoch)
	if epoch >= most_epochs then return nil end
	while session.epoch <= epoch do
		session.keys[session.epoch] = session.cipher.new(session.secret)
		session.secret = ciphers.hkdf_expand(session.secret, "kcp next epoch")
		session.epoch = session.epoch + 1
	end
	return session.keys[epoch]
end

local sealed_head, sealed_tail, epoch_bits = 12, 16, 22

-- try_sealed opens a datagram with what the log has.
local function try_sealed(raw)
	for head_key, mask in pairs(log.heads) do
		local head = ciphers.xor(sub(raw, 1, sealed_head), mask(sub(raw, -16)))
		local low, high = le32(head, 5), le32(head, 9)
		local epoch = high % 2 ^ 32 * 2 ^ (32 - epoch_bits) + shr(low, epoch_bits)
		for _, session in ipairs(log.sessions[tohex(le32(head, 1))] or {}) do
			local open = session.head == head_key and key(session, epoch)
			local payload = open and open("\0\0\0\0" .. sub(head, 5), head, sub(raw, sealed_head + 1))
			if payload then
				return {
					layer = "sealed", cipher = session.cipher.name, conv = session.conv,
					head = head, epoch = epoch, payload = payload,
				}
			end
		end
	end
	return nil
end

local function sealed(raw)
	if log.path == "" or #raw < sealed_head + sealed_tail then return nil end
	return try_sealed(raw) or read_log() and try_sealed(raw) or nil
end

-- open returns what became of a datagram: a table with layer (envelope, aead or sealed), cipher, payload,
-- and what the layer shows; or nil where no key opens it. Each opening is authenticated, by a tag or a CRC.
function M.open(raw)
	local opened = sealed(raw)
	if opened then return opened end
	for i, open in ipairs(openers) do
		opened = open(raw)
		if opened then
			table.remove(openers, i) -- the next is likely of the same key
			table.insert(openers, 1, open)
			return opened
		end
	end
	return nil
end

return M
