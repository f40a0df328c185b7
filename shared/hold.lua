-- Hold messages until they are due. KEYS: held, held_due. ARGV: task id, due in ms, value; repeated.
-- One script, so that no crash leaves an entry in only one of the two. A known task id is overwritten.
for i = 1, #ARGV, 3 do
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
    redis.call('ZADD', KEYS[2], ARGV[i + 1], ARGV[i])
end
return #ARGV / 3
