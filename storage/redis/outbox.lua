-- The outbox: deliveries to PostgreSQL, taken by one consumer at a time.

-- Consumers are named by process and come and go; those that hold nothing are forgotten after a day.
local CONSUMERS, CONSUMER_IDLE_MS = 16, 86400000

local function forget_consumers(stream, group)
  local consumers = redis.call('XINFO', 'CONSUMERS', stream, group)
  if #consumers <= CONSUMERS then
    return
  end
  for _, fields in ipairs(consumers) do
    local consumer = {}
    for i = 1, #fields, 2 do
      consumer[fields[i]] = fields[i + 1]
    end
    if consumer.pending == 0 and consumer.idle > CONSUMER_IDLE_MS then
      redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer.name)
    end
  end
end

-- XAUTOCLAIM looks at ten deliveries for each it may claim, so that one call can miss what lies behind
-- many that are still being worked on.
local SCANS = 32

local function claim(stream, group, consumer, count, idle)
  local entries, cursor = {}, '0-0'
  for _ = 1, SCANS do
    local reply = redis.call('XAUTOCLAIM', stream, group, consumer, idle, cursor, 'COUNT',
      count - #entries)
    cursor = reply[1]
    for _, entry in ipairs(reply[2]) do
      entries[#entries + 1] = entry
    end
    if cursor == '0-0' or #entries >= count then
      break
    end
  end
  return entries
end

-- take: outbox deliveries another consumer left behind, then new ones.
-- KEYS outbox; ARGV group, consumer, count, idle_ms  ->  entries
local function take(keys, argv)
  local stream, group, consumer, count = keys[1], argv[1], argv[2], tonumber(argv[3])
  if redis.call('EXISTS', stream) == 0 then
    return {}
  end
  if #redis.call('XINFO', 'GROUPS', stream) == 0 then
    redis.call('XGROUP', 'CREATE', stream, group, '0')
  end
  local entries = claim(stream, group, consumer, count, argv[4])
  if #entries < count then
    local fresh = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count - #entries,
      'STREAMS', stream, '>')
    for _, entry in ipairs(fresh and fresh[1][2] or {}) do
      entries[#entries + 1] = entry
    end
  end
  forget_consumers(stream, group)
  return entries
end

-- What counts failures and is no hash tells nobody anything, and would keep the partition from going on.
local function counting(key)
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'hash' and kind ~= 'none' then
    redis.call('DEL', key)
  end
end

local function discard(keys, group, id)
  redis.call('XACK', keys[1], group, id)
  redis.call('XDEL', keys[1], id)
  redis.call('HDEL', keys[2], id)
end

-- settle: takes committed deliveries out. KEYS outbox, tries; ARGV group, ids
local function settle(keys, argv)
  counting(keys[2])
  for i = 2, #argv do
    discard(keys, argv[1], argv[i])
  end
  return {'ok'}
end

-- bury: counts a failure of bad data, once a delivery; the last one moves the entry to the dead letters.
-- KEYS outbox, tries, dead; ARGV group, id, code, tries allowed, dead letters kept  ->  buried? 1 or 0
local function bury(keys, argv)
  local group, id = argv[1], argv[2]
  local entry = redis.call('XRANGE', keys[1], id, id)[1]
  if not entry then
    return 1
  end
  local pending = redis.call('XINFO', 'GROUPS', keys[1])[1] and
    redis.call('XPENDING', keys[1], group, id, id, 1)[1]
  local delivery = pending and int(pending[4]) or ''
  counting(keys[2])
  local counted, last = string.match(redis.call('HGET', keys[2], id) or '', '^(%d+) (.*)$')
  local tries = tonumber(counted or 0)
  if delivery == '' or last ~= delivery then
    tries = tries + 1
    redis.call('HSET', keys[2], id, int(tries) .. ' ' .. delivery)
  end
  if tries < tonumber(argv[4]) then
    return 0
  end
  local fields = entry[2]
  fields[#fields + 1] = 'code'
  fields[#fields + 1] = argv[3]
  redis.call('XADD', keys[3], 'MAXLEN', '~', argv[5], '*', unpack(fields))
  discard(keys, group, id)
  return 1
end

register('take', take, {'allow-oom'})
register('settle', settle, {'allow-oom'})
register('bury', bury, {'allow-oom'})
