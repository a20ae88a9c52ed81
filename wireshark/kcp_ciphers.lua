-- Block and stream ciphers in pure Lua: not every Wireshark gives Lua the ones that it has. Strings of bytes
-- in, strings of bytes out. Needs the library bit, which all of them have.

local bxor, band, bor, tobit = bit.bxor, bit.band, bit.bor, bit.tobit
local shl, shr, rol, ror = bit.lshift, bit.rshift, bit.rol, bit.ror
local byte, char, sub = string.byte, string.char, string.sub
local floor = math.floor

local M = {}

-- Words, 32 bits each.

local function be32(s, i)
	local a, b, c, d = byte(s, i, i + 3)
	return bor(shl(a, 24), shl(b, 16), shl(c, 8), d)
end

local function le32(s, i)
	local a, b, c, d = byte(s, i, i + 3)
	return bor(a, shl(b, 8), shl(c, 16), shl(d, 24))
end

local function put_be32(x)
	return char(shr(x, 24), band(shr(x, 16), 255), band(shr(x, 8), 255), band(x, 255))
end

local function put_le32(x)
	return char(band(x, 255), band(shr(x, 8), 255), band(shr(x, 16), 255), shr(x, 24))
end

-- words returns the n words of s, each read by read.
local function words(s, n, read)
	local w = {}
	for i = 1, n do w[i] = read(s, 4 * i - 3) end
	return w
end

-- join returns the bytes of words, each written by write.
local function join(w, write)
	local s = {}
	for i = 1, #w do s[i] = write(w[i]) end
	return table.concat(s)
end

-- xor returns the first of a's bytes xored with those of b, as many as the shorter has.
local function xor(a, b)
	local s = {}
	for i = 1, math.min(#a, #b) do s[i] = char(bxor(byte(a, i), byte(b, i))) end
	return table.concat(s)
end

M.be32, M.put_be32, M.put_le32, M.words, M.join, M.xor = be32, put_be32, put_le32, words, join, xor

-- AES (FIPS 197), the forward direction.

-- gf_mul multiplies in GF(2^8) modulo poly.
local function gf_mul(a, b, poly)
	local p = 0
	while b > 0 do
		if b % 2 == 1 then p = bxor(p, a) end
		a, b = 2 * a, floor(b / 2)
		if a > 255 then a = bxor(a, poly) end
	end
	return p
end

-- gf_inverses returns the table of inverses in GF(2^8) modulo poly, with 0 for 0.
local function gf_inverses(poly)
	local inverse = { [0] = 0 }
	for a = 1, 255 do
		if not inverse[a] then
			local b = 1
			while gf_mul(a, b, poly) ~= 1 do b = b + 1 end
			inverse[a], inverse[b] = b, a
		end
	end
	return inverse
end

local sbox, te0, te1, te2, te3 = {}, {}, {}, {}, {}
for a, b in pairs(gf_inverses(0x11b)) do
	local s = 0x63
	for i = 0, 4 do s = bxor(s, band(bor(shl(b, i), shr(b, 8 - i)), 255)) end
	sbox[a] = s
	local s2 = gf_mul(s, 2, 0x11b)
	local t = bor(shl(s2, 24), shl(s, 16), shl(s, 8), bxor(s2, s))
	te0[a], te1[a], te2[a], te3[a] = t, ror(t, 8), ror(t, 16), ror(t, 24)
end

local function sub_word(x)
	return bor(shl(sbox[shr(x, 24)], 24), shl(sbox[band(shr(x, 16), 255)], 16),
		shl(sbox[band(shr(x, 8), 255)], 8), sbox[band(x, 255)])
end

-- aes returns the function that encrypts a block with key, of 16, 24 or 32 bytes.
function M.aes(key)
	local n = #key / 4
	local w, rcon = words(key, n, be32), 1
	for i = n + 1, 4 * (n + 7) do
		local t = w[i - 1]
		if (i - 1) % n == 0 then
			t = bxor(sub_word(rol(t, 8)), shl(rcon, 24))
			rcon = gf_mul(rcon, 2, 0x11b)
		elseif n > 6 and (i - 1) % n == 4 then
			t = sub_word(t)
		end
		w[i] = bxor(w[i - n], t)
	end
	local last = 4 * (n + 6) + 1
	-- One word of a round, from the words of the state that its columns come from.
	local function round(a, b, c, d, k)
		return bxor(te0[shr(a, 24)], te1[band(shr(b, 16), 255)], te2[band(shr(c, 8), 255)], te3[band(d, 255)], k)
	end
	local function final(a, b, c, d, k)
		local x = bor(band(a, 0xff000000), band(b, 0xff0000), band(c, 0xff00), band(d, 0xff))
		return put_be32(bxor(sub_word(x), k))
	end
	return function(s)
		local a, b = bxor(be32(s, 1), w[1]), bxor(be32(s, 5), w[2])
		local c, d = bxor(be32(s, 9), w[3]), bxor(be32(s, 13), w[4])
		for k = 5, last - 4, 4 do
			a, b, c, d = round(a, b, c, d, w[k]), round(b, c, d, a, w[k + 1]),
				round(c, d, a, b, w[k + 2]), round(d, a, b, c, w[k + 3])
		end
		return final(a, b, c, d, w[last]) .. final(b, c, d, a, w[last + 1]) ..
			final(c, d, a, b, w[last + 2]) .. final(d, a, b, c, w[last + 3])
	end
end

-- SM4 (GB/T 32907-2016).

local sm4_sbox = {}
do
	local inverse = gf_inverses(0x1f5)
	-- affine multiplies by the circulant matrix whose first row is 0xa7, and adds 0xd3.
	local function affine(x)
		local y, row = 0, 0xa7
		for i = 7, 0, -1 do
			local p = band(row, x)
			p = bxor(p, shr(p, 4))
			p = bxor(p, shr(p, 2))
			y = bor(y, shl(band(bxor(p, shr(p, 1)), 1), 7 - i))
			row = bor(band(shl(row, 1), 255), shr(row, 7))
		end
		return bxor(y, 0xd3)
	end
	for x = 0, 255 do sm4_sbox[x] = affine(inverse[affine(x)]) end
end

local function sm4_tau(x)
	return bor(shl(sm4_sbox[shr(x, 24)], 24), shl(sm4_sbox[band(shr(x, 16), 255)], 16),
		shl(sm4_sbox[band(shr(x, 8), 255)], 8), sm4_sbox[band(x, 255)])
end

function M.sm4(key)
	local k, fk = words(key, 4, be32), { 0xa3b1bac6, 0x56aa3350, 0x677d9197, 0xb27022dc }
	for i = 1, 4 do k[i] = bxor(k[i], fk[i]) end
	for i = 0, 31 do
		local ck = bor(shl(28 * i % 256, 24), shl((28 * i + 7) % 256, 16), shl((28 * i + 14) % 256, 8), (28 * i + 21) % 256)
		local t = sm4_tau(bxor(k[i + 2], k[i + 3], k[i + 4], ck))
		k[i + 5] = bxor(k[i + 1], t, rol(t, 13), rol(t, 23))
	end
	return function(s)
		local x = words(s, 4, be32)
		for i = 1, 32 do
			local t = sm4_tau(bxor(x[i + 1], x[i + 2], x[i + 3], k[i + 4]))
			x[i + 4] = bxor(x[i], t, rol(t, 2), rol(t, 10), rol(t, 18), rol(t, 24))
		end
		return join({ x[36], x[35], x[34], x[33] }, put_be32)
	end
end

-- TEA with 8 cycles and XTEA with 32, as docs/protocol.md, section 7.1, has them.

local delta = 0x9e3779b9

function M.tea(key)
	local k = words(key, 4, be32)
	return function(s)
		local a, b, sum = be32(s, 1), be32(s, 5), 0
		for _ = 1, 8 do
			sum = tobit(sum + delta)
			a = tobit(a + bxor(tobit(shl(b, 4) + k[1]), tobit(b + sum), tobit(shr(b, 5) + k[2])))
			b = tobit(b + bxor(tobit(shl(a, 4) + k[3]), tobit(a + sum), tobit(shr(a, 5) + k[4])))
		end
		return put_be32(a) .. put_be32(b)
	end
end

function M.xtea(key)
	local k = words(key, 4, be32)
	return function(s)
		local a, b, sum = be32(s, 1), be32(s, 5), 0
		for _ = 1, 32 do
			a = tobit(a + bxor(tobit(bxor(shl(b, 4), shr(b, 5)) + b), tobit(sum + k[band(sum, 3) + 1])))
			sum = tobit(sum + delta)
			b = tobit(b + bxor(tobit(bxor(shl(a, 4), shr(a, 5)) + a), tobit(sum + k[band(shr(sum, 11), 3) + 1])))
		end
		return put_be32(a) .. put_be32(b)
	end
end

-- cfb decrypts s by full-block cipher feedback.
function M.cfb(encrypt, size, iv, s)
	local out, before = {}, sub(iv, 1, size)
	for i = 1, #s, size do
		local block = sub(s, i, i + size - 1)
		out[#out + 1] = xor(block, encrypt(before))
		before = block
	end
	return table.concat(out)
end

-- Salsa20 and ChaCha20: two permutations of 16 words in 10 double rounds.

local function salsa_quarter(x, a, b, c, d)
	x[b] = bxor(x[b], rol(tobit(x[a] + x[d]), 7))
	x[c] = bxor(x[c], rol(tobit(x[b] + x[a]), 9))
	x[d] = bxor(x[d], rol(tobit(x[c] + x[b]), 13))
	x[a] = bxor(x[a], rol(tobit(x[d] + x[c]), 18))
end

local function chacha_quarter(x, a, b, c, d)
	x[a] = tobit(x[a] + x[b]); x[d] = rol(bxor(x[d], x[a]), 16)
	x[c] = tobit(x[c] + x[d]); x[b] = rol(bxor(x[b], x[c]), 12)
	x[a] = tobit(x[a] + x[b]); x[d] = rol(bxor(x[d], x[a]), 8)
	x[c] = tobit(x[c] + x[d]); x[b] = rol(bxor(x[b], x[c]), 7)
end

local salsa_order = {
	{ 1, 5, 9, 13 }, { 6, 10, 14, 2 }, { 11, 15, 3, 7 }, { 16, 4, 8, 12 },
	{ 1, 2, 3, 4 }, { 6, 7, 8, 5 }, { 11, 12, 9, 10 }, { 16, 13, 14, 15 },
}
local chacha_order = {
	{ 1, 5, 9, 13 }, { 2, 6, 10, 14 }, { 3, 7, 11, 15 }, { 4, 8, 12, 16 },
	{ 1, 6, 11, 16 }, { 2, 7, 12, 13 }, { 3, 8, 9, 14 }, { 4, 5, 10, 15 },
}

-- keystream returns 64 bytes.
local function keystream(state, quarter, order)
	local x = {}
	for i = 1, 16 do x[i] = state[i] end
	for _ = 1, 10 do
		for _, o in ipairs(order) do quarter(x, o[1], o[2], o[3], o[4]) end
	end
	for i = 1, 16 do x[i] = tobit(x[i] + state[i]) end
	return join(x, put_le32)
end

-- stream xors s with the keystream, whose block counter is word n of the state.
local function stream(s, state, n, quarter, order)
	local out = {}
	for i = 1, #s, 64 do
		out[#out + 1] = xor(sub(s, i, i + 63), keystream(state, quarter, order))
		state[n] = tobit(state[n] + 1)
	end
	return table.concat(out)
end

local sigma = words("expand 32-byte k", 4, le32)

-- salsa20 encrypts s from block 0 on; nonce has 8 bytes.
function M.salsa20(key, nonce, s)
	local k, n, c = words(key, 8, le32), words(nonce, 2, le32), sigma
	local state = { c[1], k[1], k[2], k[3], k[4], c[2], n[1], n[2], 0, 0, c[3], k[5], k[6], k[7], k[8], c[4] }
	return stream(s, state, 9, salsa_quarter, salsa_order)
end

-- chacha20 encrypts s from that block on (RFC 8439); nonce has 12 bytes.
function M.chacha20(key, nonce, block, s)
	local state = words(key, 8, le32)
	for i = 4, 1, -1 do table.insert(state, 1, sigma[i]) end
	state[13] = block
	for i = 0, 2 do state[14 + i] = le32(nonce, 4 * i + 1) end
	return stream(s, state, 13, chacha_quarter, chacha_order)
end

return M
