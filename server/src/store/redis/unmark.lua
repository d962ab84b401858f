-- KEYS: lease of the owner, its mark, when its channel was first found without a subscriber.
redis.call('DEL', KEYS[2], KEYS[3])
if redis.call('EXISTS', KEYS[1]) == 0 then
    return redis.error_reply('FENCED the lease has ended')
end
return 1
