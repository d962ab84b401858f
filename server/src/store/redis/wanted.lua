-- KEYS: lease of the owner, sessions that are wanted of it. ARGV: how many are returned at most.
-- Returns names and tokens in turns.
if redis.call('EXISTS', KEYS[1]) == 0 then
    return redis.error_reply('FENCED not this owner by now')
end
local told = {}
for n, session in ipairs(redis.call('HKEYS', KEYS[2])) do
    if n > tonumber(ARGV[1]) then
        break
    end
    told[2 * n - 1] = session
    told[2 * n] = redis.call('HGET', KEYS[2], session)
    redis.call('HDEL', KEYS[2], session)
end
return told
