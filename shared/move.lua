-- Hand what is due to its queue. KEYS: held, held_due. ARGV: look-ahead in ms, most messages at once.
-- Returns how many entries were looked at. Redis' clock, since workers of every machine run this.
local now = redis.call('TIME')
local due = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) + tonumber(ARGV[1])
local ids = redis.call('ZRANGE', KEYS[2], '-inf', due, 'BYSCORE', 'LIMIT', 0, ARGV[2])
for _, id in ipairs(ids) do
    local value = redis.call('HGET', KEYS[1], id)
    local cut = value and string.find(value, '\0', 1, true)
    -- Push first: a full Redis refuses it, and the message must still be held then.
    local pushed = cut and redis.pcall('LPUSH', string.sub(value, 1, cut - 1), string.sub(value, cut + 1))
    local problem = type(pushed) == 'table' and pushed.err
    if problem and not string.find(problem, 'WRONGTYPE', 1, true) then
        return redis.error_reply(problem)
    elseif problem then
        -- A queue's name that is no list: look again in a minute, or it would stop all that come after.
        redis.call('ZADD', KEYS[2], due + 60000, id)
    else
        -- Also an orphan, whose message is gone or names no queue.
        redis.call('HDEL', KEYS[1], id)
        redis.call('ZREM', KEYS[2], id)
    end
end
return #ids
