-- KEYS: session, outcomes, when outcomes end. ARGV: owner, epoch, call, outcome, milliseconds to keep it,
-- bytes that each takes beside its own, bytes that there may be, name of the session, what the keys of
-- accounts and of sessions begin with.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held = tonumber(redis.call('HGET', KEYS[1], 'recorded'))
local others = tonumber(redis.call('HGET', KEYS[1], 'size')) - held
for _, call in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now)) do
    held = held - redis.call('HSTRLEN', KEYS[2], call) - ARGV[6]
    redis.call('HDEL', KEYS[2], call)
    redis.call('ZREM', KEYS[3], call)
end
redis.call('HSET', KEYS[1], 'recorded', held)
charge(KEYS[1], ARGV[8], ARGV[9], ARGV[10], others + held)
if redis.call('HEXISTS', KEYS[2], ARGV[3]) == 1 then
    return 1
end
held = held + #ARGV[4] + ARGV[6]
if held > tonumber(ARGV[7]) then
    return redis.error_reply('FULL ' .. held)
end
local full = charge(KEYS[1], ARGV[8], ARGV[9], ARGV[10], others + held)
if full then
    return full
end
redis.call('HSET', KEYS[1], 'recorded', held)
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
redis.call('ZADD', KEYS[3], now + ARGV[5], ARGV[3])
local left = redis.call('PTTL', KEYS[1])
redis.call('PEXPIRE', KEYS[2], left)
redis.call('PEXPIRE', KEYS[3], left)
return 1
