-- KEYS: lease of the owner, its mark, when its channel was first found without a subscriber. The
-- channel has the name of the first key. Returns 0 if nothing is subscribed to it. The mark is the
-- run of the server, because a server that has restarted has closed the connections of all owners.
local left = redis.call('PTTL', KEYS[1])
if left == -2 then
    return redis.error_reply('FENCED the lease has ended')
end
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)')
local subscribers = redis.pcall('PUBSUB', 'NUMSUB', KEYS[1])
if not run or subscribers.err then
    return redis.error_reply('NOPERM scripts need INFO and PUBSUB NUMSUB')
elseif tonumber(subscribers[2]) == 0 then
    return 0
end
redis.call('SET', KEYS[2], run, 'PX', left)
redis.call('DEL', KEYS[3])
return 1
