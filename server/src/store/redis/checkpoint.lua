-- KEYS: session, checkpoints. ARGV: owner, epoch, position, position of the oldest checkpoint to
-- keep, checksum and snapshot, tokens, epoch of the checkpoint, maximum number of checkpoints, id
-- of the session, prefix of the keys of accounts, prefix of the keys of sessions. Positions are
-- digits of equal length, so that they compare as text.
local there = redis.call('HKEYS', KEYS[2])
local kept = 1
local size = tonumber(redis.call('HGET', KEYS[1], 'size')) + #ARGV[5]
for _, place in ipairs(there) do
    if place > ARGV[3] then
        return redis.error_reply('LATER checkpoint exists')
    end
    if place >= ARGV[4] and place ~= ARGV[3] then
        kept = kept + 1
    else
        size = size - redis.call('HSTRLEN', KEYS[2], place)
    end
end
if kept > tonumber(ARGV[8]) then
    return redis.error_reply('FULL ' .. kept)
end
local full = charge(KEYS[1], ARGV[9], ARGV[10], ARGV[11], size)
if full then
    return full
end
for _, place in ipairs(there) do
    if place < ARGV[4] then
        redis.call('HDEL', KEYS[2], place)
    end
end
redis.call('HSET', KEYS[2], ARGV[3], ARGV[5])
redis.call('PEXPIRE', KEYS[2], redis.call('PTTL', KEYS[1]))
redis.call('HSET', KEYS[1], 'tokens', ARGV[6])
if tonumber(ARGV[7]) > tonumber(redis.call('HGET', KEYS[1], 'known')) then
    redis.call('HSET', KEYS[1], 'known', ARGV[7])
end
return 1
