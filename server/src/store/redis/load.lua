-- KEYS: session, checkpoints. ARGV: owner, epoch, position.
return redis.call('HGET', KEYS[2], ARGV[3])
