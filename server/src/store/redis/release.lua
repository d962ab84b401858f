-- KEYS: session, checkpoints, outcomes, calls by magnitude. ARGV: owner, epoch, milliseconds until
-- the session expires unless it is claimed.
redis.call('HDEL', KEYS[1], 'owner')
local left = math.min(redis.call('PTTL', KEYS[1]), tonumber(ARGV[3]))
for _, key in ipairs(KEYS) do
    redis.call('PEXPIRE', key, left)
end
return 1
