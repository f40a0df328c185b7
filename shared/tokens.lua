-- Raise revocation tokens and remove the takes that they make needless. KEYS: held, held_due.
-- ARGV: time to live in ms; then for each token: key, wait number, value, task id of the held take.
-- A token is only ever raised; a value that is none of ours counts as none.
for i = 2, #ARGV, 4 do
    local known = redis.pcall('GET', ARGV[i])
    local is_valid, token = pcall(cjson.decode, known)
    local number = is_valid and type(token) == 'table' and token.wait_number
    if type(number) ~= 'number' or number > 2147483647 or number <= tonumber(ARGV[i + 1]) then
        redis.call('SET', ARGV[i], ARGV[i + 2], 'PX', ARGV[1])
    end
    redis.call('HDEL', KEYS[1], ARGV[i + 3])
    redis.call('ZREM', KEYS[2], ARGV[i + 3])
end
return (#ARGV - 1) / 4
