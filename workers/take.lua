-- Take what is there, in order, oldest first. KEYS: queue, taken (this drain's own list), drains.
-- ARGV: most messages, most bytes, lease in ms. Returns all of this drain's own list, so that what an answer lost
-- on the way had taken comes again.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[3], now + ARGV[3], KEYS[2])
-- The list of a drain whose lease is over goes back to the front of the queue, in its order.
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 1)) do
    local message = redis.call('RPOP', gone)
    while message do
        redis.call('RPUSH', KEYS[1], message)
        message = redis.call('RPOP', gone)
    end
    redis.call('ZREM', KEYS[3], gone)
end
local mine = redis.call('LRANGE', KEYS[2], 0, -1)
local bytes = 0
for _, message in ipairs(mine) do bytes = bytes + #message end
while #mine < tonumber(ARGV[1]) and bytes < tonumber(ARGV[2]) do
    local message = redis.call('RPOP', KEYS[1])
    if not message then break end
    redis.call('RPUSH', KEYS[2], message)
    mine[#mine + 1] = message
    bytes = bytes + #message
end
return mine
