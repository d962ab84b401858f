-- KEYS: session, checkpoints, outcomes, when outcomes end, lease of the owner. ARGV: owner, lifetime.
if redis.call('EXISTS', KEYS[5]) == 0 then
    return redis.error_reply('FENCED not this owner by now')
end
local session = redis.call('HMGET', KEYS[1], 'owner', 'claimed')
if session[2] then
    if session[1] == ARGV[1] and session[2] == '1' and redis.call('EXISTS', KEYS[2], KEYS[3]) == 0 then
        return 1
    end
    return redis.error_reply('TAKEN by something else')
end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'claimed', '1', 'known', '0', 'tokens', '', 'recorded', '0')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
