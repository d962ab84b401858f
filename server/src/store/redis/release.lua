-- KEYS: session. ARGV: owner, epoch.
return redis.call('HDEL', KEYS[1], 'owner')
