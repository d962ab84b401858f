-- KEYS: lease of the owner, owner of the instance. ARGV: owner, its address, prefix of the keys of
-- leases, 1 if there is an instance, 1 if another owner may keep the instance.
if redis.call('EXISTS', KEYS[1]) == 0 then
    return redis.error_reply('FENCED the lease has ended')
end
if ARGV[4] == '1' then
    local other = redis.call('GET', KEYS[2])
    if other and other ~= ARGV[1] then
        if ARGV[5] == '1' and redis.call('EXISTS', ARGV[3] .. other) == 1 then
            return redis.error_reply('TAKEN by another owner')
        end
        redis.call('DEL', ARGV[3] .. other)
    end
    redis.call('SET', KEYS[2], ARGV[1])
end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1
