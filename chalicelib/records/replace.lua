-- Compare-and-set of one record.
-- KEYS[1]  the record's hash
-- ARGV[1]  the revision that the writer has read, empty for a hash without one, 'absent' for no hash
-- ARGV[2]  seconds to live, 0 for no limit
-- ARGV[3]  the fields to store, as name, value, name, value ...; none drops the record
-- Returns  'OK', or all fields of the hash where its revision is another one
local revision = redis.call('HGET', KEYS[1], 'revision')
if not revision then
  revision = redis.call('EXISTS', KEYS[1]) == 1 and '' or 'absent'
end
if revision ~= ARGV[1] then
  return redis.call('HGETALL', KEYS[1])
end
redis.call('DEL', KEYS[1])
if #ARGV > 2 then
  redis.call('HSET', KEYS[1], unpack(ARGV, 3))
  if ARGV[2] ~= '0' then
    redis.call('EXPIRE', KEYS[1], ARGV[2])
  end
end
return 'OK'
