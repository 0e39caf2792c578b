-- SPDX-License-Identifier: Apache-2.0
--
-- The one script of the driver redis:. It says in Lua what window.c says in C,
-- function by function and under the same names; window.h tells why it is
-- right. It runs on the server in one step, by the server's clock. Redis 5.0
-- or newer; a replica gets what was written, not the script.
--
-- KEYS[1] is the marker, "RUN-ID TIME": the start of the server that its data
-- belongs to, and since when the data is complete. Without a marker the data
-- was lost, or never was (which the caller knows: ARGV[4]). After a restart
-- what was loaded from the disk may be old. In both cases everything counts as
-- used up: a record that is not from after that time is filled when it is
-- looked at. The marker never expires; a record does, when it says nothing
-- any more.
--
-- Numbers in Lua are doubles: microseconds since 1970 are exact until 2255.

local SLICES, WINDOWS, STRICT = 21, 6, 600000000
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min

-- A window: {period, asked, newest, used, used, ...}, newest slice first; what is missing is 0.
local function width_of(period) return ceil(period / (SLICES - 1)) end
local function slices_of(period) return ceil((period - 1) / width_of(period)) + 1 end

local function total_of(w)
	local total = 0
	for i = 4, #w do total = total + w[i] end
	return total
end

local function advance(w, now)
	local ahead = floor(now / width_of(w[1])) - w[3]
	if ahead == 0 or ahead == -1 then return w end
	local moved = {w[1], w[2], w[3] + ahead}
	if ahead < 0 then
		moved[4] = total_of(w)
	else
		for i = 4, min(#w, 3 + slices_of(w[1]) - ahead) do
			for k = #moved + 1, i + ahead - 1 do moved[k] = 0 end
			moved[i + ahead] = w[i]
		end
	end
	return moved
end

local function raise(w, back, value, add)
	for i = #w + 1, 4 + back do w[i] = 0 end
	w[4 + back] = add and w[4 + back] + value or max(w[4 + back], value)
end

local function derive(w, from, now)
	local width, from_width = width_of(w[1]), width_of(from[1])
	for i = 0, #from - 4 do
		local back = max(w[3] - floor(min((from[3] - i + 1) * from_width - 1, now) / width), 0)
		if from[4 + i] > 0 and back < slices_of(w[1]) then raise(w, back, from[4 + i], true) end
	end
end

local function fill(w, count, since)
	local first, slices = w[3] - floor(since / width_of(w[1])), slices_of(w[1])
	local spread = w[1] > STRICT
	for i = 0, spread and slices - 1 or 0 do
		local share = count
		if spread then
			share = floor((slices - i) * count / slices) - floor((slices - i - 1) * count / slices)
		end
		local back = max(first + i, 0)
		if back < slices then raise(w, back, share) end
	end
end

local function wait_for(w, count, cost, now)
	local slices, excess = slices_of(w[1]), total_of(w) + cost - count
	if excess <= 0 then return 0 end
	local i = slices
	while excess > 0 and i > 0 do
		i = i - 1
		excess = excess - (w[4 + i] or 0)
	end
	return (w[3] - i + slices) * width_of(w[1]) - now
end

-- A record: {since, parked, cap_until, cap_since, cap_left, window, window, ...}
local function load(key)
	local packed = redis.pcall('GET', key)
	if not packed then return {0, 0, 0, 0, 0} end
	if type(packed) == 'string' then
		local good, record = pcall(cmsgpack.unpack, packed)
		good = good and type(record) == 'table' and #record >= 5
		for i = 1, good and #record or 0 do
			if type(record[i]) ~= (i > 5 and 'table' or 'number') then good = false end
		end
		if good then return record end
	end
	return {-1, 0, 0, 0, 0}	-- not ours: as after a loss just now
end

local function save(key, record, now)
	local expires = max(record[2], record[3])
	for i = 6, #record do
		local w = record[i]
		while #w > 3 and w[#w] == 0 do w[#w] = nil end
		if #w > 3 then expires = max(expires, (w[3] + slices_of(w[1])) * width_of(w[1])) end
	end
	if expires > now then
		local left = string.format('%.0f', ceil((expires - now) / 1000))
		redis.call('SET', key, cmsgpack.pack(record), 'PX', left)
	else
		redis.call('DEL', key)
	end
end

local function is_ruled(w, rules)
	for _, rule in ipairs(rules) do
		if rule[2] == w[1] then return true end
	end
	return false
end

local function find(record, period)
	for i = 6, #record do
		if record[i][1] == period then return i end
	end
end

local function make(record, rules, period, now)
	local w, longest, oldest = {period, 0, floor(now / width_of(period))}
	for i = 6, #record do
		if not longest or record[i][1] > longest[1] then longest = record[i] end
		if not is_ruled(record[i], rules) and (not oldest or record[i][2] < record[oldest][2]) then
			oldest = i
		end
	end
	if longest then derive(w, longest, now) end
	if #record == 5 + WINDOWS then
		record[oldest] = record[#record]
		record[#record] = nil
	end
	record[#record + 1] = w
	return #record
end

local function wait(record, rules, cost, since, now)
	local result = max(record[2] - now, 0)
	local lost = record[1] < since and since
	if record[1] < 0 then lost = now end
	if now < record[3] and cost > record[5] then result = max(result, record[3] - now) end
	local kept = 5
	for i = 6, #record do
		local w = record[i]
		record[i] = nil
		if not lost or is_ruled(w, rules) then
			kept = kept + 1
			record[kept] = advance(w, now)
		end
	end
	for _, rule in ipairs(rules) do
		local i = find(record, rule[2]) or make(record, rules, rule[2], now)
		if lost then fill(record[i], rule[1], min(lost, now)) end
		result = max(result, wait_for(record[i], rule[1], cost, now))
	end
	record[1] = max(record[1], since)
	return result
end

local function take(record, rules, cost, now)
	local kept = 5
	for i = 6, #record do
		local w = record[i]
		record[i] = nil
		local ruled = is_ruled(w, rules)
		if ruled then w[2] = now end
		if ruled or w[2] + w[1] >= now then
			raise(w, 0, cost, true)
			kept = kept + 1
			record[kept] = w
		end
	end
	if now < record[3] then record[5] = record[5] - cost end
end

local function take_back(w, amount, taken)
	local back = w[3] - floor(taken / width_of(w[1]))
	if back >= 0 and w[4 + back] then w[4 + back] = max(w[4 + back] - amount, 0) end
	return back >= 0
end

local function refund(record, amount, taken, now)
	for i = 6, #record do take_back(record[i], amount, taken) end
	if now < record[3] and taken >= record[4] then record[5] = record[5] + amount end
end

local function move(record, amount, taken, now)
	for i = 6, #record do
		if take_back(record[i], amount, taken) then
			record[i] = advance(record[i], now)
			raise(record[i], 0, amount, true)
		end
	end
end

-- ARGV: [1] operation, [2] time or "" (the server's), [3] the server's run id, [4] "1": this node has seen the
-- store before, [5] "1": the store does not know all (a node was on its own). Then
--	take	for each key: cost, number of rules, for each rule: count, period
--	refund	the time of the grant, for each key: amount
--	move	the same
--	lower	park for (0: not), at most so many (-1: any number) within
-- Returns {1, time, complete since}, or {0, time, complete since, each key's wait}.
local now = tonumber(ARGV[2])
if not now then
	local time = redis.call('TIME')
	now = time[1] * 1000000 + time[2]
end
local marker = redis.pcall('GET', KEYS[1])
local run, since = string.match(type(marker) == 'string' and marker or '', '^(%S+) (%d+)$')
since = tonumber(since)
if not since or run ~= ARGV[3] or ARGV[5] == '1' then
	since = (marker or ARGV[4] == '1') and now or 0
	redis.call('SET', KEYS[1], string.format('%s %.0f', ARGV[3], since))
end

if ARGV[1] == 'take' then
	local reply, longest, at, items = {1, now, since}, 0, 6, {}
	for k = 2, #KEYS do
		local cost, count, rules = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), {}
		for i = 1, count do
			rules[i] = {tonumber(ARGV[at + 2 * i]), tonumber(ARGV[at + 2 * i + 1])}
		end
		at = at + 2 + 2 * count
		local record = load(KEYS[k])
		local broken = record[1] < 0
		reply[k + 2] = wait(record, rules, cost, since, now)
		longest = max(longest, reply[k + 2])
		if broken then save(KEYS[k], record, now) end
		items[k] = {record, rules, cost}
	end
	if longest > 0 then
		reply[1] = 0
		return reply
	end
	for k = 2, #KEYS do
		local record, rules, cost = unpack(items[k])
		take(record, rules, cost, now)
		save(KEYS[k], record, now)
	end
	return reply
end
for k = 2, #KEYS do
	local record = load(KEYS[k])
	if ARGV[1] == 'refund' then
		refund(record, tonumber(ARGV[5 + k]), tonumber(ARGV[6]), now)
	elseif ARGV[1] == 'move' then
		move(record, tonumber(ARGV[5 + k]), tonumber(ARGV[6]), now)
	else
		local park, left, period = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
		record[2] = park > 0 and max(record[2], now + park) or record[2]
		if left >= 0 and not (now < record[3] and record[5] <= left) then
			record[3], record[4], record[5] = now + period, now, left
		end
	end
	save(KEYS[k], record, now)
end
return {1, now, since}
