-- Reads one record for its owner. Of another owner's it reads no more than of one that is not there, so that neither
-- the reply nor the time tells whether there is one.
-- KEYS[1]  the record's hash
-- ARGV[1]  the owner
-- Returns  all fields of the hash; none if it is not the owner's
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then
  return {}
end
return redis.call('HGETALL', KEYS[1])
