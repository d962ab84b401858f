-- KEYS: session, outcomes, calls by magnitude. ARGV: owner, epoch, call, its magnitude, outcome,
-- size of an outcome without contents, maximum size of all outcomes, id of the session, prefix of
-- the keys of accounts, prefix of the keys of sessions.
if redis.call('HEXISTS', KEYS[2], ARGV[3]) == 1 then
    return 1
end
local before = tonumber(redis.call('HGET', KEYS[1], 'recorded'))
local others = tonumber(redis.call('HGET', KEYS[1], 'size')) - before
local held = before + #ARGV[5] + ARGV[6]
-- The oldest outcomes that must be forgotten for this one.
local oldest = {}
local forgotten = -1
while held > tonumber(ARGV[7]) do
    local next = redis.call('ZRANGE', KEYS[3], #oldest, #oldest, 'WITHSCORES')
    if not next[1] then
        break
    end
    held = held - redis.call('HSTRLEN', KEYS[2], next[1]) - ARGV[6]
    forgotten = tonumber(next[2])
    oldest[#oldest + 1] = next[1]
end
local full = charge(KEYS[1], ARGV[8], ARGV[9], ARGV[10], others + held)
if full then
    return full
end
for _, call in ipairs(oldest) do
    redis.call('HDEL', KEYS[2], call)
    redis.call('ZREM', KEYS[3], call)
end
if forgotten > tonumber(redis.call('HGET', KEYS[1], 'forgotten') or -1) then
    redis.call('HSET', KEYS[1], 'forgotten', string.format('%.0f', forgotten))
end
redis.call('HSET', KEYS[1], 'recorded', held)
redis.call('HSET', KEYS[2], ARGV[3], ARGV[5])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[3])
local left = redis.call('PTTL', KEYS[1])
redis.call('PEXPIRE', KEYS[2], left)
redis.call('PEXPIRE', KEYS[3], left)
return 1
