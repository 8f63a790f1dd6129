-- What becomes of an interview beside its conversation: storing, parking, waking, erasing, reading on.

-- stored: PostgreSQL has committed everything up to `head` and the named commands. A head that is not in
-- the log was read before a failover lost the log's tail: clients must not take it for theirs.
--
-- `believed` is what Redis took for stored before PostgreSQL was found to hold `head` and no more. Where
-- that is still so, PostgreSQL lost its own tail in a failover: what came after is written again. Clients
-- keep what they were told, as all of it is still here.
-- ARGV id, head, believed (or ''), command ids  ->  ok | lost | missing
local function stored(keys, argv)
  local id, now_stored, believed = argv[1], argv[2], argv[3]
  local meta = present_of(keys, 'stored')
  if meta.head == '' then
    return {'missing'}
  end
  if not logged(meta.log, meta.head, now_stored) then
    return {'lost'}
  end
  for i = 4, #argv do
    redis.call('SREM', keys[PENDING], argv[i])
  end
  if split(now_stored) > split(meta.stored) then
    redis.call('HSET', keys[META], 'stored', now_stored)
    redis.call('PUBLISH', channel(keys), 's' .. now_stored)
  elseif believed == meta.stored and now_stored ~= believed then
    redis.call('HSET', keys[META], 'stored', now_stored)
    for _, command in ipairs(redis.call('HKEYS', keys[COMMANDS])) do
      redis.call('SADD', keys[PENDING], command)
    end
    redis.call('XADD', keys[OUTBOX], '*', 'i', id)
  end
  return {'ok'}
end

-- unstored: what the writer needs: the state, and the commands PostgreSQL does not have yet.
-- ARGV given?  ->  ok, state, commands | missing | erased
local function unstored(keys, argv)
  if redis.call('EXISTS', keys[META]) == 0 then
    return {redis.call('EXISTS', keys[ERASED]) == 1 and 'erased' or 'missing'}
  end
  local ids = redis.call('SMEMBERS', keys[PENDING])
  local commands = {}
  for i, id in ipairs(ids) do
    commands[2 * i - 1] = id
    commands[2 * i] = redis.call('HGET', keys[COMMANDS], id) or ''
  end
  return {'ok', describe(keys, '', true, false, argv[1] == '1'), commands}
end

local function free(keys, id)
  local ending = redis.pcall('HGET', keys[META], 'log') -- what is damaged is freed, too
  local log = keys[LOG] .. (type(ending) == 'string' and ending or '')
  redis.call('DEL', keys[META], keys[LOG], log, keys[TURNS], keys[COMMANDS], keys[PENDING])
  redis.call('ZREM', keys[TIMERS], id)
  redis.call('ZREM', keys[LEASES], id)
  redis.call('ZREM', keys[PRESENCE], id)
end

-- How often the pause before the next look at what cannot be parked is doubled.
local PARK_DOUBLINGS = 9

local function waits(keys, entry)
  return entry ~= '' and #redis.call('XRANGE', keys[OUTBOX], entry, entry) == 1
end

-- Queues an interview that rests and is not stored; returns how often that was found at its present head.
-- An entry of this kind that still waits serves as well as a new one: PostgreSQL may be away for long.
local function queue_resting(keys, id, meta)
  local head, looks, entry = string.match(meta.parking, '^(%S+) (%d+) (%S+)$')
  looks = head == meta.head and tonumber(looks) or 0
  if not waits(keys, entry or '') then
    entry = redis.call('XADD', keys[OUTBOX], '*', 'i', id)
  end
  redis.call('HSET', keys[META], 'parking', meta.head .. ' ' .. int(looks + 1) .. ' ' .. entry)
  return looks
end

-- park: frees an interview that rests and is wholly in PostgreSQL; else it is looked at again. What was
-- queued last may have changed it without an event.
-- ARGV id, version, idle_ms, again_ms  ->  ok | busy, why | missing
local function park(keys, argv)
  local meta = present_of(keys, 'version', 'stored', 'touched', 'running', 'parking', 'queued')
  if meta.version == '' then
    redis.call('ZREM', keys[TIMERS], argv[1])
    return {'missing'}
  end
  local now, pause = now_ms(), tonumber(argv[4])
  local idle = now - tonumber(meta.touched)
  local why
  if meta.version ~= argv[2] or idle < tonumber(argv[3]) or meta.running ~= '' then
    why = 'active'
  elseif meta.stored ~= meta.head or redis.call('SCARD', keys[PENDING]) > 0 or waits(keys, meta.queued) then
    why = 'unstored'
    pause = pause * 2 ^ math.min(queue_resting(keys, argv[1], meta), PARK_DOUBLINGS)
  end
  if why then
    redis.call('ZADD', keys[TIMERS], int(now + pause), argv[1])
    return {'busy', why}
  end
  free(keys, argv[1])
  return {'ok'}
end

-- evict: drops a session that PostgreSQL does not lead to: a failover lost the tail of its log. What is
-- stored is the truth then, and the session is rebuilt from it. ARGV id, version, head  ->  ok | moved
local function evict(keys, argv)
  local meta = present_of(keys, 'version')
  if meta.version ~= argv[2] or not logged(meta.log, meta.head, argv[3]) then
    return {'moved'}
  end
  free(keys, argv[1])
  redis.call('PUBLISH', channel(keys), 'l')
  return {'ok'}
end

-- postpone: sets the interview's next timer, unless something changed since: whoever did that set it.
-- ARGV id, tick, version (empty: whatever it is at)  ->  ok | moved
local function postpone(keys, argv)
  local version = redis.pcall('HGET', keys[META], 'version') -- an error where it is no hash
  if not version then
    redis.call('ZREM', keys[TIMERS], argv[1])
  elseif argv[3] ~= '' and argv[3] ~= version then
    return {'moved'}
  else
    redis.call('ZADD', keys[TIMERS], argv[2], argv[1])
  end
  return {'ok'}
end

-- So many arguments are handed to one command: Lua's stack holds some thousands.
local PUSHED = 1000

-- attend: tells who is where, for one partition, and learns who is not.
-- `heard_ms` is how long ago the last sign of life came from there. What was not seen for `lapse_ms` has lapsed.
-- KEYS presence, interviews' hashes; ARGV lapse_ms, limit, (id, present?, heard_ms)..
-- -> {ids of those present that are marked as away}, {id, seen}.. of the lapsed
local function attend(keys, argv)
  local now, here, away, lapsed = now_ms(), {}, {}, {}
  for i = 2, #keys do
    local id, present, heard = argv[3 * i - 3], argv[3 * i - 2], now - tonumber(argv[3 * i - 1])
    local meta = redis.pcall('HMGET', keys[i], 'version', 'heard', 'away')
    if meta[1] then -- else it is not there, or damaged, which must not stop the others
      if heard > (tonumber(meta[2]) or 0) then
        redis.call('HSET', keys[i], 'heard', int(heard))
      end
      if present == '1' then
        here[#here + 1] = int(now)
        here[#here + 1] = id
        if meta[3] then
          away[#away + 1] = id
        end
      end
    else
      redis.call('ZREM', keys[1], id)
    end
  end
  for i = 1, #here, PUSHED do
    redis.call('ZADD', keys[1], 'XX', unpack(here, i, math.min(i + PUSHED - 1, #here)))
  end
  local found = redis.call('ZRANGEBYSCORE', keys[1], '-inf', int(now - tonumber(argv[1])), 'WITHSCORES',
    'LIMIT', 0, argv[2])
  for i = 1, #found, 2 do
    lapsed[#lapsed + 1] = found[i]
    lapsed[#lapsed + 1] = found[i + 1]
  end
  return {away, lapsed}
end

-- erase: frees everything and refuses what arrives late. ARGV id, seconds
local function erase(keys, argv)
  free(keys, argv[1])
  redis.call('SET', keys[ERASED], '1', 'EX', argv[2])
  redis.call('PUBLISH', channel(keys), 'x')
  return {'ok'}
end

-- due: what the clock brought to these partitions. To look at all keys takes Redis as long as to append
-- hundreds of words, and there is rarely something: timers and outboxes are asked for less often.
-- KEYS leases×partitions, then timers×partitions, outbox×partitions where those are wanted;
-- ARGV limit, partitions
-- -> {lapsed leases}, {due timers}, {numbers of partitions whose outbox holds something}, {damaged keys}, which
-- must not stop the others, and since when the oldest entry of an outbox waits, as its name tells; 0 for none
local function due(keys, argv)
  local now, count = int(now_ms()), tonumber(argv[2])
  local leases, timers, outboxes, damaged, oldest = {}, {}, {}, {}, math.huge
  local function waits(command, key, ...)
    local found = redis.pcall(command, key, ...)
    if type(found) == 'number' then
      return found > 0
    end
    if not string.find(found.err, 'WRONGTYPE', 1, true) then
      error(found)
    end
    damaged[#damaged + 1] = key
  end
  local function gather(into, key)
    if waits('ZCOUNT', key, '-inf', now) then -- a third cheaper than an empty range
      for _, id in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', '0', argv[1])) do
        into[#into + 1] = id
      end
    end
  end
  for i, key in ipairs(keys) do
    if i <= count then
      gather(leases, key)
    elseif i <= 2 * count then
      gather(timers, key)
    elseif waits('XLEN', key) then
      outboxes[#outboxes + 1] = i - 2 * count - 1
      local first = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1][1]
      oldest = math.min(oldest, tonumber(string.match(first, '^%d+')))
    end
  end
  return {leases, timers, outboxes, damaged, oldest < math.huge and oldest or 0}
end

-- read: entries from `start` on, that one included. KEYS the interview's first two; ARGV start, count
local function read(keys, argv)
  local log = keys[LOG] .. (redis.call('HGET', keys[META], 'log') or '')
  return redis.call('XRANGE', log, argv[1], '+', 'COUNT', argv[2])
end

-- redeem: uses a ticket up; true for whoever came first, also when they ask again.
-- KEYS ticket; ARGV nonce, seconds
local function redeem(keys, argv)
  if redis.call('SET', keys[1], argv[1], 'NX', 'EX', argv[2]) then
    return 1
  end
  return redis.call('GET', keys[1]) == argv[1] and 1 or 0
end

register('unstored', unstored, {'no-writes'})
register('due', due, {'no-writes'})
register('read', read, {'no-writes'})
register('redeem', redeem, {'allow-oom'})
register('attend', attend, {'allow-oom'})
register('stored', stored, {'allow-oom'})
register('postpone', postpone, {'allow-oom'})
register('park', park, {'allow-oom'})
register('evict', evict, {'allow-oom'})
register('erase', erase, {'allow-oom'})
