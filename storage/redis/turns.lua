-- The interviewer's turn: its lease, and the relay of its words.

-- acquire: takes the lease of the turn that is to be generated. The nonce makes it repeatable.
-- ARGV id, nonce, lease_ms, given?  ->  ok, fence, state | held | idle | missing
local function acquire(keys, argv)
  local meta = meta_of(keys, 'version', 'fence', 'lease_until', 'running', 'log')
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
  redis.call('HSET', keys[META], 'fence', fence, 'lease_until', due, 'log', rename(keys, keys[LOG] .. meta.log))
  redis.call('ZADD', keys[LEASES], due, argv[1])
  return {'ok', fence, describe(keys, '', true, true, argv[4] == '1')}
end

-- What pcall caught, as a reply: Redis's own errors, texts or tables, begin with a code.
local function failure(caught)
  local text = type(caught) == 'table' and caught.err or tostring(caught)
  if not string.find(text, '^%u+ ') then
    text = 'ERR ' .. text
  end
  return redis.error_reply(text)
end

local function renew_one(meta_key, log_key, leases_key, now, lease_ms, notes, id, fence)
  local meta = notes and present_of({meta_key, log_key}, 'fence', 'lease_until')
    or fields_of(meta_key, {'fence', 'lease_until'})
  if not holds_lease(meta, fence, now) then
    return 0
  end
  local due = int(now + lease_ms)
  if notes then
    redis.call('HSET', meta_key, 'lease_until', due, 'head', meta.head, 'ordinal', meta.ordinal, 'handle', meta.handle)
  else
    redis.call('HSET', meta_key, 'lease_until', due)
  end
  redis.call('ZADD', leases_key, due, id)
  return 1
end

-- renew: prolongs leases, each for itself. One that lapsed is not renewed, even where nobody took it:
-- its holder was suspended, and what it believes is old. Now and then it notes the heads, which costs as
-- much again: a pulse looks no further.
-- KEYS meta, log and leases of each, ARGV lease_ms, 1 to note, then id, fence of each
-- -> for each: 1 | 0, fenced | an error
local function renew(keys, argv)
  local now, lease_ms, notes, answers = now_ms(), tonumber(argv[1]), argv[2] == '1', {}
  for i = 1, #keys / 3 do
    local done, answer = pcall(renew_one, keys[3 * i - 2], keys[3 * i - 1], keys[3 * i], now, lease_ms, notes,
      argv[2 * i + 1], argv[2 * i + 2])
    answers[i] = done and answer or failure(answer)
  end
  return answers
end

-- release: gives the turn to whoever is first. ARGV id, fence  ->  ok | fenced
local function release(keys, argv)
  local meta = meta_of(keys, 'fence', 'lease_until', 'log')
  local now = now_ms()
  if meta.fence == argv[2] and meta.lease_until == '0' then
    return {'ok'}
  end
  if not holds_lease(meta, argv[2], now) then
    return {'fenced'}
  end
  redis.call('HSET', keys[META], 'lease_until', '0', 'log', rename(keys, keys[LOG] .. meta.log))
  redis.call('ZADD', keys[LEASES], int(now), argv[1])
  return {'ok'}
end

-- One piece of one interview; see `append`.
local function append_one(meta_key, log_key, now, fence, ordinal, handle, untold, body)
  local meta = present_of({meta_key, log_key}, 'fence', 'lease_until', 'running')
  if not holds_lease(meta, fence, now) then
    return false
  end
  local turn, attempt = string.match(body, DELTA)
  if turn and turn .. ':' .. attempt ~= meta.running then
    return false
  end
  local seq, check = string.match(meta.head, '^(%d+)-(%d+)$')
  if not seq then
    error('the head of the log is damaged')
  end
  local known, given = tonumber(meta.ordinal), tonumber(ordinal)
  if given <= known then
    if not untold then
      redis.call('PUBLISH', meta_key, 'e' .. meta.head) -- the reply that was lost may have come before that
    end
    return {meta.head, given == known and meta.log or '', 0}
  end
  if given ~= known + 1 then
    return false
  end
  local id = follow(seq, check, body)
  redis.call('XADD', meta.log, id, 'e', body)
  redis.call('HSET', meta_key, 'head', id, 'ordinal', ordinal, 'handle', handle)
  if not untold then
    redis.call('PUBLISH', meta_key, 'e' .. id)
  end
  return {id, meta.log, 1}
end

-- How many listen to the notifications of each, as Redis tells it: key, number, key, number ..
local function listeners(keys)
  local asked = {}
  for i = 1, #keys, 2 do
    asked[#asked + 1] = keys[i]
  end
  return redis.call('PUBSUB', 'NUMSUB', unpack(asked))
end

-- append: the relay's own step, for as many interviews as have something to say. Each piece stands for
-- itself; one whose keys are damaged stops no other. `ordinal` counts the appends of one attempt so that
-- one whose reply was lost can be repeated. They begin anew with each attempt, under the same fence: one
-- that was on its way while its attempt was given up must not pass for the next one's.
-- `hears` is 1 where the caller itself hears the interview's notifications, else 0: where it is the one
-- listener, its own words are told to nobody. None counted proves nothing: after a planned switch they
-- may listen at the old primary, which passes on what is published here.
--
-- What comes next needs no function, which costs Redis three times as much as what it does here. The caller
-- knows the log's name now. As long as it goes by that name, nobody else has written, acquired or rebuilt
-- anything: `rename`. So the next piece may come as
--   XADD name NOMKSTREAM id e body o 'ordinal handle'
-- over the same connection: behind a failover, the log may go by that name and have lost its tail.
-- KEYS meta and log of each, ARGV fence, ordinal, handle, hears, body of each
-- -> for each: {id, name, 1} | {head, name, 0}, it was there; no name where others are behind it
--    | nil, fenced | an error
local function append(keys, argv)
  local now, listening, answers = now_ms(), listeners(keys), {}
  for i = 1, #keys / 2 do
    local at = 5 * i - 4
    local untold = argv[at + 3] ~= '0' and listening[2 * i] == 1
    local done, answer = pcall(append_one, keys[2 * i - 1], keys[2 * i], now, argv[at], argv[at + 1], argv[at + 2],
      untold, argv[at + 4])
    answers[i] = done and answer or not done and failure(answer)
  end
  return answers
end

register('acquire', acquire, {'allow-oom'})
register('renew', renew, {'allow-oom'})
register('append', append, {})
register('release', release, {'allow-oom'})
