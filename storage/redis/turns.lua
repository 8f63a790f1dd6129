-- The interviewer's turn: its lease, and the relay of its words.

-- acquire: takes the lease of the turn that is to be generated. The nonce makes it repeatable.
-- ARGV id, nonce, lease_ms  ->  ok, fence, state | held | idle | missing
local function acquire(keys, argv)
  local meta = meta_of(keys, 'version', 'fence', 'lease_until', 'running')
  if meta.version == '' then
    redis.call('ZREM', keys[LEASES], argv[1])
    return {'missing'}
  end
  if meta.running == '' then
    redis.call('ZREM', keys[LEASES], argv[1])
    return {'idle'}
  end
  local now = now_ms()
  local held = tonumber(meta.lease_until) > now
  local fence = meta.fence
  if held and string.sub(fence, -#argv[2] - 1) ~= ':' .. argv[2] then
    return {'held'}
  end
  if not held then
    fence = int(counter_of(fence) + 1) .. ':' .. argv[2]
  end
  local due = int(now + tonumber(argv[3]))
  redis.call('HSET', keys[META], 'fence', fence, 'lease_until', due)
  redis.call('ZADD', keys[LEASES], due, argv[1])
  return {'ok', fence, describe(keys, '', true, true)}
end

-- renew: ARGV id, fence, lease_ms  ->  ok | fenced. A lease that lapsed is not renewed, even where
-- nobody took it: its holder was suspended, and what it believes is old.
local function renew(keys, argv)
  local meta = meta_of(keys, 'fence', 'lease_until')
  local now = now_ms()
  if not holds_lease(meta, argv[2], now) then
    return {'fenced'}
  end
  local due = int(now + tonumber(argv[3]))
  redis.call('HSET', keys[META], 'lease_until', due)
  redis.call('ZADD', keys[LEASES], due, argv[1])
  return {'ok'}
end

-- release: gives the turn to whoever is first. ARGV id, fence  ->  ok | fenced
local function release(keys, argv)
  local meta = meta_of(keys, 'fence', 'lease_until')
  local now = now_ms()
  if meta.fence == argv[2] and meta.lease_until == '0' then
    return {'ok'}
  end
  if not holds_lease(meta, argv[2], now) then
    return {'fenced'}
  end
  redis.call('HSET', keys[META], 'lease_until', '0')
  redis.call('ZADD', keys[LEASES], int(now), argv[1])
  return {'ok'}
end

-- append: the relay's own step, kept to the fewest calls. `ordinal` counts the appends of one attempt
-- so that one whose reply was lost can be repeated. They begin anew with each attempt, under the same
-- fence: one that was on its way while its attempt was given up must not pass for the next one's.
-- `hears` is 1 where the caller itself hears the interview's notifications, else 0: where it is the one
-- listener, its own words are told to nobody. None counted proves nothing: after a planned switch they
-- may listen at the old primary, which passes on what is published here.
-- ARGV max_log, fence, ordinal, handle, hears, body  ->  ok, id | repeated, head | fenced
local function append(keys, argv)
  local meta = meta_of(keys, 'fence', 'lease_until', 'ordinal', 'head', 'open_from', 'running')
  local turn, attempt = string.match(argv[6], DELTA)
  if turn and turn .. ':' .. attempt ~= meta.running then
    return {'fenced'}
  end
  if not holds_lease(meta, argv[2], now_ms()) then
    return {'fenced'}
  end
  local ordinal = tonumber(meta.ordinal)
  if tonumber(argv[3]) <= ordinal then
    return {'repeated', meta.head}
  end
  if tonumber(argv[3]) ~= ordinal + 1 then
    return {'fenced'}
  end
  local id = write_log(keys, meta.head, {argv[6]})[1]
  redis.call('HSET', keys[META], 'head', id, 'ordinal', argv[3], 'handle', argv[4])
  if ordinal % 64 == 63 then
    trim_log(keys, id, meta.open_from, tonumber(argv[1]))
  end
  if argv[5] == '0' or redis.call('PUBSUB', 'NUMSUB', channel(keys))[2] ~= 1 then
    redis.call('PUBLISH', channel(keys), 'e' .. id)
  end
  return {'ok', id}
end

register('acquire', acquire, {'allow-oom'})
register('renew', renew, {'allow-oom'})
register('append', append, {})
register('release', release, {'allow-oom'})
