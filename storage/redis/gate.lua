-- The gate before the model. See storage/gate.py for what holds.
--
-- Running calls and places in the queue are sorted sets by when they lapse; the queue's order is another
-- one. The hash holds `t:<ticket>` (`<interview> <tokens> <member of the queue>`), `n:<interview>` (how many
-- tickets it has), `seq`, and the bucket of tokens: `level` at the time `at`, which may be below zero.
do
  local RUNNING, LAPSES, QUEUE, STATE = 1, 2, 3, 4
  local BATCH = 64
  local LOOKED_AT = 16 -- so many of those ahead may be waited for at once
  local LATER = 1099511627776 -- 2^40: behind all that are urgent
  local TTL_S = 86400

  local function parts(known)
    local interview, tokens, member = string.match(known, '^(%S+) (%d+) (.*)$')
    return interview, tonumber(tokens), member
  end

  local function forget(keys, ticket)
    local known = redis.call('HGET', keys[STATE], 't:' .. ticket)
    redis.call('ZREM', keys[RUNNING], ticket)
    redis.call('ZREM', keys[LAPSES], ticket)
    if not known then
      return
    end
    local interview, _, member = parts(known)
    redis.call('ZREM', keys[QUEUE], member)
    redis.call('HDEL', keys[STATE], 't:' .. ticket)
    if redis.call('HINCRBY', keys[STATE], 'n:' .. interview, -1) <= 0 then
      redis.call('HDEL', keys[STATE], 'n:' .. interview)
    end
  end

  local function reap(keys, now)
    for _, key in ipairs({keys[RUNNING], keys[LAPSES]}) do
      for _, ticket in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', int(now), 'LIMIT', 0, BATCH)) do
        forget(keys, ticket)
      end
    end
  end

  local function level_of(keys, now, rate)
    local found = redis.call('HMGET', keys[STATE], 'level', 'at')
    local level = tonumber(found[1] or rate)
    return math.min(rate, level + math.max(0, now - tonumber(found[2] or now)) * rate / 60000)
  end

  local function set_level(keys, now, level)
    redis.call('HSET', keys[STATE], 'level', string.format('%.3f', level), 'at', int(now))
  end

  local function remember(keys, ticket, interview, tokens, member)
    local known = interview .. ' ' .. tokens .. ' ' .. member
    if redis.call('HSETNX', keys[STATE], 't:' .. ticket, known) == 1 then
      redis.call('HINCRBY', keys[STATE], 'n:' .. interview, 1)
    end
  end

  -- What those ahead want of the bucket; nil where they are too many to look at.
  local function wanted(keys, ahead, rate)
    if ahead > LOOKED_AT then
      return nil
    end
    local total = 0
    for _, member in ipairs(ahead > 0 and redis.call('ZRANGE', keys[QUEUE], 0, ahead - 1) or {}) do
      local ticket = string.sub(member, string.find(member, ':', 1, true) + 1)
      local known = redis.call('HGET', keys[STATE], 't:' .. ticket)
      local _, tokens = parts(known or '- 0 ')
      total = total + math.min(tokens, rate)
    end
    return total
  end

  local function line_up(keys, ticket, interview, tokens, urgent)
    local seq = redis.call('HINCRBY', keys[STATE], 'seq', 1)
    local others = tonumber(redis.call('HGET', keys[STATE], 'n:' .. interview) or 0)
    local score = seq + others * redis.call('ZCARD', keys[QUEUE])
    local member = string.format('%015.0f:', seq) .. ticket
    redis.call('ZADD', keys[QUEUE], int(urgent and score or score + LATER), member)
    remember(keys, ticket, interview, tokens, member)
    return member
  end

  -- ARGV ticket, interview, tokens, urgent?, calls, tokens a minute, lapse_ms, most waiting
  --   ->  {'in'} | {'queued', ahead} | {'full'}
  local function gate_enter(keys, argv)
    local ticket, interview = argv[1], argv[2]
    local calls, rate = tonumber(argv[5]), tonumber(argv[6])
    local now = now_ms()
    local due = int(now + tonumber(argv[7]))
    reap(keys, now)
    for _, key in ipairs(keys) do
      redis.call('EXPIRE', key, TTL_S)
    end
    if redis.call('ZSCORE', keys[RUNNING], ticket) then
      redis.call('ZADD', keys[RUNNING], due, ticket)
      return {'in'}
    end
    local known = redis.call('HGET', keys[STATE], 't:' .. ticket)
    local member, _
    if known then
      _, _, member = parts(known)
    elseif redis.call('ZCARD', keys[QUEUE]) >= tonumber(argv[8]) then
      return {'full'}
    else
      member = line_up(keys, ticket, interview, argv[3], argv[4] == '1')
    end
    redis.call('ZADD', keys[LAPSES], due, ticket)
    local ahead = redis.call('ZRANK', keys[QUEUE], member) or 0
    if calls > 0 and redis.call('ZCARD', keys[RUNNING]) + ahead >= calls then
      return {'queued', ahead}
    end
    if rate > 0 then
      local need = math.min(tonumber(argv[3]), rate)
      local before, level = wanted(keys, ahead, rate), level_of(keys, now, rate)
      if not before or level < before + need then
        return {'queued', ahead}
      end
      set_level(keys, now, level - need)
    end
    redis.call('ZREM', keys[QUEUE], member)
    redis.call('ZREM', keys[LAPSES], ticket)
    redis.call('ZADD', keys[RUNNING], due, ticket)
    return {'in'}
  end

  -- ARGV lapse_ms, then of each its ticket and interview
  local function gate_stay(keys, argv)
    local due = int(now_ms() + tonumber(argv[1]))
    for i = 2, #argv, 2 do
      redis.call('ZADD', keys[RUNNING], due, argv[i])
      remember(keys, argv[i], argv[i + 1], 0, '')
    end
    return 1
  end

  -- ARGV ticket, tokens thought of, tokens a minute, tokens used  ->  1 | 0
  local function gate_leave(keys, argv)
    local rate = tonumber(argv[3])
    local ran = redis.call('ZSCORE', keys[RUNNING], argv[1])
    if ran and rate > 0 then
      local now = now_ms()
      local spare = math.min(tonumber(argv[2]), rate) - tonumber(argv[4])
      -- No call, however many tokens it used, shuts the gate for longer than two minutes.
      set_level(keys, now, math.max(-rate, math.min(rate, level_of(keys, now, rate) + spare)))
    end
    forget(keys, argv[1])
    return ran and 1 or 0
  end

  register('gate_enter', gate_enter, {})
  register('gate_stay', gate_stay, {'allow-oom'})
  register('gate_leave', gate_leave, {'allow-oom'})
end
