-- KEYS: session, checkpoints. ARGV: owner, epoch, place.
return redis.call('HGET', KEYS[2], ARGV[3])
