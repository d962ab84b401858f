-- KEYS: references of the owner. ARGV: id that the page begins after, maximum number, prefix of the
-- keys of references. Returns ids and labels alternately.
local after = ARGV[1] == '' and '-' or '(' .. ARGV[1]
local list = {}
for _, id in ipairs(redis.call('ZRANGEBYLEX', KEYS[1], after, '+', 'LIMIT', 0, ARGV[2])) do
    list[#list + 1] = id
    list[#list + 1] = redis.call('HGET', ARGV[3] .. id, 'label') or ''
end
return list
