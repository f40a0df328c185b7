-- Acknowledge all of a drain's list but what is kept, in its order. KEYS: taken. ARGV: messages.
redis.call('DEL', KEYS[1])
for _, message in ipairs(ARGV) do redis.call('RPUSH', KEYS[1], message) end
return #ARGV
