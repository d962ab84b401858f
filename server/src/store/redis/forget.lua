-- KEYS: session. ARGV: owner, epoch, magnitude of the highest call whose outcome is forgotten.
if tonumber(ARGV[3]) > tonumber(redis.call('HGET', KEYS[1], 'forgotten') or -1) then
    redis.call('HSET', KEYS[1], 'forgotten', ARGV[3])
end
return 1
