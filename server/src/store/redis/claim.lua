-- KEYS: session, checkpoints, lease of the claimant, outcomes, calls by magnitude. ARGV: claimant,
-- highest epoch seen, prefix of the keys of leases, maximum epoch, prefix of the keys of marks,
-- prefix of the keys of when channels were first found without a subscriber, milliseconds of that
-- after which an owner counts as dead. Returns {0} if there is no session, {1, milliseconds,
-- address, known epoch, tokens} if another owner has it, or {2, epoch, known epoch, tokens,
-- checkpoints}.

-- Returns the milliseconds until the owner counts as dead, or nil if its process seems to run. See
-- presence.rs.
local function dies_in(owner)
    local mark = redis.call('GET', ARGV[5] .. owner)
    if not mark then
        return nil
    end
    local subscribers = redis.pcall('PUBSUB', 'NUMSUB', ARGV[3] .. owner)
    if subscribers.err or tonumber(subscribers[2]) > 0 then
        return nil
    end
    local info = redis.pcall('INFO', 'server')
    if type(info) ~= 'string' or string.match(info, 'run_id:(%x+)') ~= mark then
        return nil
    end
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    redis.call('SET', ARGV[6] .. owner, string.format('%.0f', now), 'PX', 60000, 'NX')
    return math.max(redis.call('GET', ARGV[6] .. owner) + ARGV[7] - now, 0)
end

if redis.call('EXISTS', KEYS[3]) == 0 then
    return redis.error_reply('FENCED the lease has ended')
end
local session = redis.call('HMGET', KEYS[1], 'owner', 'claimed', 'known', 'tokens')
if not session[2] then
    return {0}
end
if session[1] and session[1] ~= ARGV[1] then
    local lease = ARGV[3] .. session[1]
    local left = redis.call('PTTL', lease)
    local dies = left ~= -2 and dies_in(session[1])
    if dies and dies > 0 then
        -- Clients are not sent to the address of a process that has ended.
        return {1, math.max(math.min(left, dies), 1), '', session[3], session[4]}
    elseif dies then
        redis.call('DEL', lease, ARGV[5] .. session[1], ARGV[6] .. session[1])
    elseif left ~= -2 then
        return {1, math.max(left, 1), redis.call('GET', lease), session[3], session[4]}
    end
end
local epoch = math.max(tonumber(session[2]), tonumber(session[3]), tonumber(ARGV[2])) + 1
local text = string.format('%.0f', epoch)
if epoch > tonumber(ARGV[4]) then
    return redis.error_reply('FULL ' .. text)
end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'claimed', text)
-- The session would have expired earlier while it had no owner.
local ends = redis.call('HGET', KEYS[1], 'ends')
for _, key in ipairs({KEYS[1], KEYS[2], KEYS[4], KEYS[5]}) do
    redis.call('PEXPIREAT', key, ends)
end
local checkpoints = redis.call('HKEYS', KEYS[2])
table.sort(checkpoints)
return {2, text, session[3], session[4], checkpoints}
