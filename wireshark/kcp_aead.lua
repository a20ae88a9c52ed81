-- AEADs, checksums and key derivation in pure Lua, above kcp_ciphers.lua.

local here = debug.getinfo(1, "S").source:match("^@(.*[/\\])") or ""
local M = dofile(here .. "kcp_ciphers.lua")

local bxor, band, bor, bnot, tobit = bit.bxor, bit.band, bit.bor, bit.bnot, bit.tobit
local shl, shr, ror = bit.lshift, bit.rshift, bit.ror
local byte, char, sub, rep = string.byte, string.char, string.sub, string.rep
local floor = math.floor
local be32, put_be32, put_le32, words, join, xor = M.be32, M.put_be32, M.put_le32, M.words, M.join, M.xor
local chacha20 = M.chacha20

-- poly1305 authenticates s (RFC 8439, 2.5), in limbs of 13 bits: a sum of ten products of two fits
-- into a double.
local function poly1305(key, s)
	local function limbs(b, top)
		b = b .. rep("\0", 17 - #b)
		local l, have, value, at = {}, 0, 0, 1
		for i = 1, 10 do
			while have < 13 and at <= 17 do
				value, have, at = value + byte(b, at) * 2 ^ have, have + 8, at + 1
			end
			l[i] = floor(value % 8192)
			value, have = floor(value / 8192), have - 13
		end
		if top then l[floor(top / 13) + 1] = l[floor(top / 13) + 1] + 2 ^ (top % 13) end
		return l
	end
	local function clamp(b)
		local c = { byte(b, 1, 16) }
		for i = 4, 16, 4 do c[i] = c[i] % 16 end
		for i = 5, 13, 4 do c[i] = c[i] - c[i] % 4 end
		return char(table.unpack(c))
	end
	local r, h = limbs(clamp(sub(key, 1, 16))), limbs("")
	-- carry brings each limb below 2^13, and what is above 2^130 back, five times.
	local function carry(t)
		local c = 0
		for i = 1, 10 do
			local v = t[i] + c
			c = floor(v / 8192)
			h[i] = v - c * 8192
		end
		h[1] = h[1] + 5 * c
		c = floor(h[1] / 8192)
		h[1], h[2] = h[1] - c * 8192, h[2] + c
	end
	for at = 1, #s, 16 do
		local block = sub(s, at, at + 15)
		local m, t = limbs(block, 8 * #block), {}
		for i = 1, 10 do m[i] = m[i] + h[i] end
		for i = 1, 10 do
			local v = 0
			for j = 1, i do v = v + m[j] * r[i - j + 1] end
			local w = 0
			for j = i + 1, 10 do w = w + m[j] * r[i - j + 11] end
			t[i] = v + 5 * w
		end
		carry(t)
	end
	carry(h)
	carry(h)
	-- Modulo 2^130 - 5, which h may still be as large as.
	local g, c = {}, 5
	for i = 1, 10 do
		local v = h[i] + c
		c = floor(v / 8192)
		g[i] = v - c * 8192
	end
	if c > 0 then h = g end
	local out, value, have, at, borrow = {}, 0, 0, 1, 0
	for i = 1, 16 do
		while have < 8 do
			value, have, at = value + h[at] * 2 ^ have, have + 13, at + 1
		end
		local sum = value % 256 + byte(key, 16 + i) + borrow
		out[i], borrow = char(floor(sum % 256)), floor(sum / 256)
		value, have = floor(value / 256), have - 8
	end
	return table.concat(out)
end

local function pad16(s) return s .. rep("\0", -#s % 16) end

-- How the two constructions write a length, in 8 bytes.
local function le64(n) return put_le32(n) .. "\0\0\0\0" end
local function be64_bits(n) return "\0\0\0\0" .. put_be32(8 * n) end

-- chacha20poly1305 opens s, and returns nil if it does not authenticate.
function M.chacha20poly1305(key)
	return function(nonce, ad, s)
		local text, tag = sub(s, 1, -17), sub(s, -16)
		local once = chacha20(key, nonce, 0, rep("\0", 32))
		if poly1305(once, pad16(ad) .. pad16(text) .. le64(#ad) .. le64(#text)) ~= tag then return nil end
		return chacha20(key, nonce, 1, text)
	end
end

-- AES-GCM (SP 800-38D) with nonces of 12 bytes. The product by H is taken four bits at a time, from a
-- table of the 16 multiples of H.

local gcm_reduce = {}
for i = 0, 15 do
	local x = i
	for _ = 1, 4 do x = x % 2 == 1 and bxor(shr(x, 1), shl(0xe1, 8)) or shr(x, 1) end
	gcm_reduce[i] = shl(x, 16)
end

local function ghash(h)
	local multiples = { [0] = { 0, 0, 0, 0 }, [8] = h }
	for _, i in ipairs({ 4, 2, 1 }) do
		local v = multiples[2 * i]
		multiples[i] = {
			bxor(shr(v[1], 1), band(v[4], 1) == 1 and 0xe1000000 or 0), bor(shr(v[2], 1), shl(v[1], 31)),
			bor(shr(v[3], 1), shl(v[2], 31)), bor(shr(v[4], 1), shl(v[3], 31)),
		}
	end
	for i = 1, 15 do
		if not multiples[i] then
			local high = i >= 8 and 8 or i >= 4 and 4 or 2
			local a, b = multiples[high], multiples[i - high]
			multiples[i] = { bxor(a[1], b[1]), bxor(a[2], b[2]), bxor(a[3], b[3]), bxor(a[4], b[4]) }
		end
	end
	return function(s)
		local y = { 0, 0, 0, 0 }
		for at = 1, #s, 16 do
			local a, b, c, d = 0, 0, 0, 0
			for w = 4, 1, -1 do
				local x = bxor(y[w], be32(s, at + 4 * w - 4))
				for _ = 1, 8 do
					local out, m = gcm_reduce[band(d, 15)], multiples[band(x, 15)]
					d = bxor(shr(d, 4), shl(c, 28), m[4])
					c = bxor(shr(c, 4), shl(b, 28), m[3])
					b = bxor(shr(b, 4), shl(a, 28), m[2])
					a = bxor(shr(a, 4), out, m[1])
					x = shr(x, 4)
				end
			end
			y[1], y[2], y[3], y[4] = a, b, c, d
		end
		return join(y, put_be32)
	end
end

function M.aes_gcm(key)
	local encrypt = M.aes(key)
	local hash = ghash(words(encrypt(rep("\0", 16)), 4, be32))
	return function(nonce, ad, s)
		local text, tag = sub(s, 1, -17), sub(s, -16)
		local sum = hash(pad16(ad) .. pad16(text) .. be64_bits(#ad) .. be64_bits(#text))
		if xor(sum, encrypt(nonce .. put_be32(1))) ~= tag then return nil end
		local out = {}
		for i = 1, #text, 16 do
			out[#out + 1] = xor(sub(text, i, i + 15), encrypt(nonce .. put_be32(floor(i / 16) + 2)))
		end
		return table.concat(out)
	end
end

-- CRC-32 of IEEE 802.3.

local crc_table = {}
for i = 0, 255 do
	local c = i
	for _ = 1, 8 do c = band(c, 1) == 1 and bxor(shr(c, 1), 0xedb88320) or shr(c, 1) end
	crc_table[i] = c
end

-- crc32 returns the sum as four little-endian bytes.
function M.crc32(s)
	local c = -1
	for i = 1, #s do c = bxor(shr(c, 8), crc_table[band(bxor(c, byte(s, i)), 255)]) end
	return put_le32(bnot(c))
end

-- SHA-256 (FIPS 180-4) and HKDF-Expand (RFC 5869).

local sha_k, sha_h = {}, {}
do
	-- fraction returns the first 32 bits behind the point.
	local function fraction(x) return tobit(floor((x - floor(x)) * 2 ^ 32)) end
	local p = 2
	while #sha_k < 64 do
		local prime = true
		for q = 2, floor(math.sqrt(p)) do prime = prime and p % q ~= 0 end
		if prime then
			-- Newton's step mends the last bit of a power's result.
			local x = p ^ (1 / 3)
			sha_k[#sha_k + 1] = fraction(x - (x * x * x - p) / (3 * x * x))
			if #sha_h < 8 then sha_h[#sha_h + 1] = fraction(math.sqrt(p)) end
		end
		p = p + 1
	end
end

local function sha256(s)
	local h = {}
	for i = 1, 8 do h[i] = sha_h[i] end
	s = s .. "\128" .. rep("\0", (55 - #s) % 64) .. be64_bits(#s)
	for at = 1, #s, 64 do
		local w = words(sub(s, at, at + 63), 16, be32)
		for i = 17, 64 do
			local x, y = w[i - 15], w[i - 2]
			w[i] = tobit(w[i - 16] + bxor(ror(x, 7), ror(x, 18), shr(x, 3)) + w[i - 7] +
				bxor(ror(y, 17), ror(y, 19), shr(y, 10)))
		end
		local a, b, c, d, e, f, g, z = h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8]
		for i = 1, 64 do
			local t = z + bxor(ror(e, 6), ror(e, 11), ror(e, 25)) + bxor(band(e, f), band(bnot(e), g)) + sha_k[i] + w[i]
			local u = bxor(ror(a, 2), ror(a, 13), ror(a, 22)) + bxor(band(a, b), band(a, c), band(b, c))
			z, g, f, e, d, c, b, a = g, f, e, tobit(d + t), c, b, a, tobit(t + u)
		end
		for i, v in ipairs({ a, b, c, d, e, f, g, z }) do h[i] = tobit(h[i] + v) end
	end
	return join(h, put_be32)
end

-- hkdf_expand returns 32 bytes; secret has at most 64.
function M.hkdf_expand(secret, info)
	local key = secret .. rep("\0", 64 - #secret)
	local inner = sha256(xor(key, rep("\x36", 64)) .. info .. "\1")
	return sha256(xor(key, rep("\x5c", 64)) .. inner)
end

return M
