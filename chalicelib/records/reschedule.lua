-- Moves entries of the schedule.
-- KEYS[1]  the sorted set of checks
-- ARGV     record id, time as the caller has seen it, time to set; and so on
--          No time seen: the check is set. Else: an entry that another writer has moved since stays. No time to set:
--          the entry is removed.
for i = 1, #ARGV, 3 do
  local id, seen, new = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if seen == '' then
    redis.call('ZADD', KEYS[1], new, id)
  else
    local score = redis.call('ZSCORE', KEYS[1], id)
    if score and tonumber(score) == tonumber(seen) then
      if new == '' then
        redis.call('ZREM', KEYS[1], id)
      else
        redis.call('ZADD', KEYS[1], new, id)
      end
    end
  end
end
