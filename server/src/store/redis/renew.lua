-- KEYS: lease of the owner, its mark. ARGV: milliseconds until the lease ends. Returns 0 if it has
-- ended.
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
