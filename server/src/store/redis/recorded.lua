-- KEYS: session, outcomes, when outcomes end. ARGV: owner, epoch, call.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = redis.call('ZSCORE', KEYS[3], ARGV[3])
if not ends or tonumber(ends) <= now then
    return false
end
return redis.call('HGET', KEYS[2], ARGV[3])
