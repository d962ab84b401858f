-- KEYS: reference, references of the owner. ARGV: id, owner, label, recipe, maximum number of
-- references.
local there = redis.call('HMGET', KEYS[1], 'owner', 'label', 'recipe')
if there[1] then
    if there[1] == ARGV[2] and there[2] == ARGV[3] and there[3] == ARGV[4] then
        return 1
    end
    return redis.error_reply('TAKEN the reference exists')
end
local held = redis.call('ZCARD', KEYS[2]) + 1
if held > tonumber(ARGV[5]) then
    return redis.error_reply('FULL ' .. held)
end
redis.call('HSET', KEYS[1], 'owner', ARGV[2], 'label', ARGV[3], 'recipe', ARGV[4])
redis.call('ZADD', KEYS[2], 0, ARGV[1])
return 1
