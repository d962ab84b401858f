-- KEYS: session, checkpoints, outcomes, calls by magnitude. ARGV: owner, epoch, id of the session,
-- prefix of the keys of accounts.
charge(KEYS[1], ARGV[3], ARGV[4], '', 0)
local account = redis.call('HGET', KEYS[1], 'account')
if account and account ~= '' then
    redis.call('HDEL', ARGV[4] .. account, ARGV[3])
end
return redis.call('DEL', unpack(KEYS))
