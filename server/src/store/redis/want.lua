-- KEYS: session. ARGV: its name, token that its client has shown, what the keys of requests begin with,
-- milliseconds to keep one.
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner then
    redis.call('HSET', ARGV[3] .. owner, ARGV[1], ARGV[2])
    redis.call('PEXPIRE', ARGV[3] .. owner, ARGV[4])
end
return 1
