-- The job queue: a stream for each priority, a hash of what is known of each job, a sorted set of those
-- that wait for a later time, and a stream of dead letters. See storage/jobs.py for what holds.
--
-- What is known of a job stands in the hash, from its being queued to its end: the entry of a stream only
-- names it. A delivery is told by the entry and how often it was taken: a worker that was missed, and comes
-- back when another has its job, ends nothing.

local KNOWN, LATER, DEAD, FIRST = 1, 2, 3, 4
local PRIORITIES = 3
local WORKERS = 'workers'
local RETRIES = 64

local function known(keys, name)
  local raw = redis.call('HGET', keys[KNOWN], name)
  return raw and cjson.decode(raw) or nil
end

local function remember(keys, name, job)
  redis.call('HSET', keys[KNOWN], name, cjson.encode(job))
end

local function stream_of(keys, job)
  return keys[FIRST + job.priority - 1]
end

local function put(keys, name, job)
  job.entry = redis.call('XADD', stream_of(keys, job), '*', 'n', name)
  remember(keys, name, job)
end

local function delivery_of(job)
  return job.entry .. '/' .. int(job.taken)
end

-- Takes the job off its stream if `delivery` still is its last; returns what is known of it.
local function ended(keys, name, delivery)
  local job = known(keys, name)
  if not job or delivery_of(job) ~= delivery then
    return nil
  end
  redis.call('XACK', stream_of(keys, job), WORKERS, job.entry)
  redis.call('XDEL', stream_of(keys, job), job.entry)
  return job
end

local function bury(keys, name, job, code, most)
  redis.call('HDEL', keys[KNOWN], name)
  redis.call('XADD', keys[DEAD], 'MAXLEN', '~', most, '*', 'n', name, 'c', code, 'p', job.payload, 'q',
    job.priority)
end

-- ARGV priority, (name, payload)..  ->  how many were not known already
local function job_enqueue(keys, argv)
  local placed = 0
  for i = 2, #argv, 2 do
    if redis.call('HEXISTS', keys[KNOWN], argv[i]) == 0 then
      put(keys, argv[i],
        {payload = argv[i + 1], priority = tonumber(argv[1]), tries = 0, taken = 0, at = now_ms()})
      placed = placed + 1
    end
  end
  return placed
end

local function due_again(keys)
  local names = redis.call('ZRANGEBYSCORE', keys[LATER], '-inf', int(now_ms()), 'LIMIT', 0, RETRIES)
  for _, name in ipairs(names) do
    redis.call('ZREM', keys[LATER], name)
    local job = known(keys, name)
    if job then
      put(keys, name, job)
    end
  end
end

local function deliveries(stream, consumer, count, idle)
  local made = redis.pcall('XGROUP', 'CREATE', stream, WORKERS, '0', 'MKSTREAM')
  if made.err and not string.find(made.err, 'BUSYGROUP', 1, true) then
    return made
  end
  local found = claim(stream, WORKERS, consumer, count, idle)
  if #found < count then
    local read = redis.call('XREADGROUP', 'GROUP', WORKERS, consumer, 'COUNT', count - #found, 'STREAMS',
      stream, '>')
    -- A map of streams since RESP3 replies, a list of pairs before; in Lua it is the list here.
    for _, entry in ipairs(read and read[1] and read[1][2] or {}) do
      found[#found + 1] = entry
    end
  end
  forget_consumers(stream, WORKERS)
  return found
end

-- ARGV consumer, count, idle_ms, crashes, dead letters  ->  list of name, payload, priority, delivery, tries, at, faults
local function job_take(keys, argv)
  due_again(keys)
  local taken, count = {}, tonumber(argv[2])
  for priority = 1, PRIORITIES do
    if #taken < count then
      local stream = keys[FIRST + priority - 1]
      local found = deliveries(stream, argv[1], count - #taken, argv[3])
      if found.err then
        return found
      end
      for _, delivery in ipairs(found) do
        local entry, name = delivery[1], delivery[2] and delivery[2][2]
        local job = name and known(keys, name)
        if not job or job.entry ~= entry then
          redis.call('XACK', stream, WORKERS, entry)
          redis.call('XDEL', stream, entry)
        elseif job.taken >= tonumber(argv[4]) then
          bury(keys, name, ended(keys, name, delivery_of(job)), 'crashed', argv[5])
        else
          job.taken = job.taken + 1
          remember(keys, name, job)
          taken[#taken + 1] = {name, job.payload, job.priority, delivery_of(job), job.tries, int(job.at),
            job.faults or 0}
        end
      end
    end
  end
  return taken
end

-- ARGV name, delivery, consumer  ->  1 | 0
local function job_extend(keys, argv)
  local job = known(keys, argv[1])
  if not job or delivery_of(job) ~= argv[2] then
    return 0
  end
  redis.call('XCLAIM', stream_of(keys, job), WORKERS, argv[3], 0, job.entry, 'JUSTID')
  return 1
end

-- ARGV name, delivery  ->  1 | 0
local function job_finish(keys, argv)
  if not ended(keys, argv[1], argv[2]) then
    return 0
  end
  redis.call('HDEL', keys[KNOWN], argv[1])
  return 1
end

-- ARGV name, delivery, until, code, whether it is a fault  ->  1 | 0
local function job_postpone(keys, argv)
  local job = ended(keys, argv[1], argv[2])
  if not job then
    return 0
  end
  job.tries, job.taken, job.code, job.entry = job.tries + 1, 0, argv[4], ''
  job.faults = (job.faults or 0) + tonumber(argv[5])
  remember(keys, argv[1], job)
  redis.call('ZADD', keys[LATER], argv[3], argv[1])
  return 1
end

-- ARGV name, delivery, code, dead letters  ->  1 | 0
local function job_bury(keys, argv)
  local job = ended(keys, argv[1], argv[2])
  if not job then
    return 0
  end
  bury(keys, argv[1], job, argv[3], argv[4])
  return 1
end

-- ARGV limit  ->  how many
local function job_revive(keys, argv)
  local revived = 0
  for _, letter in ipairs(redis.call('XRANGE', keys[DEAD], '-', '+', 'COUNT', argv[1])) do
    local fields = letter[2]
    redis.call('XDEL', keys[DEAD], letter[1])
    if redis.call('HEXISTS', keys[KNOWN], fields[2]) == 0 then
      put(keys, fields[2],
        {payload = fields[6], priority = tonumber(fields[8]), tries = 0, taken = 0, at = now_ms()})
      revived = revived + 1
    end
  end
  return revived
end

-- An order is small, and what calls for it can only be parked, which frees memory, when it is placed.
register('job_enqueue', job_enqueue, {'allow-oom'})
register('job_take', job_take, {})
register('job_extend', job_extend, {'allow-oom'})
register('job_finish', job_finish, {'allow-oom'})
register('job_postpone', job_postpone, {'allow-oom'})
register('job_bury', job_bury, {'allow-oom'})
register('job_revive', job_revive, {})
