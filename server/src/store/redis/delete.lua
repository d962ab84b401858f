-- KEYS: session, checkpoints, outcomes, when outcomes end. ARGV: owner, epoch.
return redis.call('DEL', unpack(KEYS))
