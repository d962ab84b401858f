-- Maintains the hash of a client: the size of each session by its id, and their sum under ''.
-- Expired sessions are counted until the sum appears to exceed the quota. Returns an error if it
-- does, and has changed nothing else then.
local function charge(session, sid, accounts, sessions, after)
    local of = redis.call('HMGET', session, 'account', 'quota', 'size')
    if not of[1] or of[1] == '' then
        return nil
    end
    local key = accounts .. of[1]
    local change = after - tonumber(of[3])
    local held = tonumber(redis.call('HGET', key, '') or 0) + change
    if change > 0 and held > tonumber(of[2]) then
        held = change
        for _, other in ipairs(redis.call('HKEYS', key)) do
            if other ~= '' then
                if redis.call('EXISTS', sessions .. other) == 1 then
                    held = held + redis.call('HGET', key, other)
                else
                    redis.call('HDEL', key, other)
                end
            end
        end
        redis.call('HSET', key, '', held - change)
        if held > tonumber(of[2]) then
            return redis.error_reply('QUOTA ' .. string.format('%.0f', held) .. ' ' .. of[2])
        end
    end
    redis.call('HSET', key, '', held, sid, after)
    redis.call('HSET', session, 'size', after)
    return nil
end
