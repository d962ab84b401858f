-- KEYS: session, checkpoints, lease of the claimant, outcomes, calls by magnitude. ARGV: claimant,
-- highest epoch seen, prefix of the keys of leases, maximum epoch. Returns {0} if there is no
-- session, {1, milliseconds, address, known epoch, tokens} if another owner has it, or {2, epoch,
-- known epoch, tokens, checkpoints}.
if redis.call('EXISTS', KEYS[3]) == 0 then
    return redis.error_reply('FENCED the lease has ended')
end
local session = redis.call('HMGET', KEYS[1], 'owner', 'claimed', 'known', 'tokens')
if not session[2] then
    return {0}
end
if session[1] and session[1] ~= ARGV[1] then
    local left = redis.call('PTTL', ARGV[3] .. session[1])
    if left ~= -2 then
        return {1, math.max(left, 1), redis.call('GET', ARGV[3] .. session[1]), session[3], session[4]}
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
