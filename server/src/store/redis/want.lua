-- KEYS: session. ARGV: its id, token that its client has presented, prefix of the keys of requests,
-- milliseconds until the request expires.
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner then
    redis.call('HSET', ARGV[3] .. owner, ARGV[1], ARGV[2])
    redis.call('PEXPIRE', ARGV[3] .. owner, ARGV[4])
end
return 1
