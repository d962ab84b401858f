-- The beginning of every script on a session. KEYS[1] is the session, ARGV[1] and ARGV[2] are owner
-- and epoch.
local session = redis.call('HMGET', KEYS[1], 'owner', 'claimed')
if session[1] ~= ARGV[1] or session[2] ~= ARGV[2] then
    return redis.error_reply('FENCED the owner no longer has the session')
end
