-- KEYS: session, checkpoints, outcomes, calls by magnitude, lease of the owner. ARGV: owner,
-- lifetime, account, quota, size of a session without contents, id of the session, prefix of the
-- keys of accounts, prefix of the keys of sessions.
if redis.call('EXISTS', KEYS[5]) == 0 then
    return redis.error_reply('FENCED the lease has ended')
end
local session = redis.call('HMGET', KEYS[1], 'owner', 'claimed')
if session[2] then
    if session[1] == ARGV[1] and session[2] == '1' and redis.call('EXISTS', KEYS[2], KEYS[3]) == 0 then
        return 1
    end
    return redis.error_reply('TAKEN the session exists')
end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
local time = redis.call('TIME')
local ends = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2]
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'claimed', '1', 'known', '0', 'tokens', '', 'recorded', '0',
    'ends', string.format('%.0f', ends), 'account', ARGV[3], 'quota', ARGV[4], 'size', '0')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local full = charge(KEYS[1], ARGV[6], ARGV[7], ARGV[8], tonumber(ARGV[5]))
if full then
    redis.call('DEL', KEYS[1])
    return full
end
if ARGV[3] ~= '' and redis.call('PTTL', ARGV[7] .. ARGV[3]) < tonumber(ARGV[2]) then
    redis.call('PEXPIRE', ARGV[7] .. ARGV[3], ARGV[2])
end
return 1
