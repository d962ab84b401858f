-- KEYS: session, outcomes. ARGV: owner, epoch, call, its magnitude. Returns {0 or 1, outcome}. 1
-- means that there is no outcome because those of calls up to this one were forgotten.
local outcome = redis.call('HGET', KEYS[2], ARGV[3])
if outcome then
    return {0, outcome}
end
local forgotten = tonumber(redis.call('HGET', KEYS[1], 'forgotten') or -1)
return {tonumber(ARGV[4]) <= forgotten and 1 or 0, false}
