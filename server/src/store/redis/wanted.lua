-- KEYS: lease of the owner, requested sessions of the owner. ARGV: maximum number. Returns ids and
-- tokens alternately.
if redis.call('EXISTS', KEYS[1]) == 0 then
    return redis.error_reply('FENCED the lease has ended')
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
