-- Moves entries of the schedule.
-- KEYS[1]  the sorted set of checks
-- ARGV     record id, time as the caller has seen it, time to set; and so on
--          No time seen: the check is set, a millisecond later if it has that time already: who has read it sees that
--          it has moved. Else: an entry that another writer has moved since stays. No time to set: it is removed.
for i = 1, #ARGV, 3 do
  local id, seen, new = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local score = tonumber(redis.call('ZSCORE', KEYS[1], id) or -1)
  if seen == '' then
    if score == tonumber(new) then
      new = score + 1
    end
    redis.call('ZADD', KEYS[1], new, id)
  elseif score == tonumber(seen) then
    if new == '' then
      redis.call('ZREM', KEYS[1], id)
    else
      redis.call('ZADD', KEYS[1], new, id)
    end
  end
end
