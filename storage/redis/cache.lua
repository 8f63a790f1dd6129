-- The cache: entries in a hash, when they lapse in a sorted set, their bytes beside. See storage/cache.py
-- for what holds. One hash, so that all keys of a call are those it names, on a Cluster too; what lapsed is
-- dropped by whoever keeps something next or looks how much there is, and counts until then.
--
-- Fields: `e:<group>:<name>` holds `<generation> <version> <value>`, `g:<group>` a generation (the time in
-- microseconds when it began), `c:<name>` a claim.
do
  local ENTRIES, DUES, BYTES = 1, 2, 3
  local LAPSES, SWEPT, EVICTIONS = 64, 1024, 512
  local TTL_S = 86400

  local function now_us()
    local t = redis.call('TIME')
    return t[1] * 1000000 + t[2]
  end

  local function remove(keys, field, overhead)
    local size = redis.call('HSTRLEN', keys[ENTRIES], field)
    if redis.call('HDEL', keys[ENTRIES], field) == 1 then
      redis.call('DECRBY', keys[BYTES], int(size + #field + overhead))
    end
    redis.call('ZREM', keys[DUES], field)
  end

  local function held(keys, field, now)
    local due = redis.call('ZSCORE', keys[DUES], field)
    if not due or tonumber(due) <= now then
      return nil
    end
    return redis.call('HGET', keys[ENTRIES], field) or nil
  end

  local function drop_lapsed(keys, now, most, overhead)
    for _, lapsed in ipairs(redis.call('ZRANGEBYSCORE', keys[DUES], '-inf', int(now), 'LIMIT', 0, most)) do
      remove(keys, lapsed, overhead)
    end
  end

  -- Stores a field, at the cost of those that would lapse first. False where it does not fit.
  local function store(keys, field, value, now, ttl_us, budget, share, overhead)
    local size = #value + #field + overhead
    if redis.call('EXISTS', unpack(keys)) ~= #keys then
      redis.call('DEL', unpack(keys)) -- a server that evicts by itself took one of them
    end
    remove(keys, field, overhead)
    if size > budget / share then
      return false
    end
    drop_lapsed(keys, now, LAPSES, overhead)
    local total = tonumber(redis.call('GET', keys[BYTES]) or 0)
    local evicted = 0
    while total + size > budget do
      local first = redis.call('ZRANGE', keys[DUES], 0, 0)[1]
      if not first or evicted >= EVICTIONS then
        return false
      end
      remove(keys, first, overhead)
      evicted = evicted + 1
      total = tonumber(redis.call('GET', keys[BYTES]) or 0)
    end
    redis.call('HSET', keys[ENTRIES], field, value)
    redis.call('ZADD', keys[DUES], int(now + ttl_us), field)
    redis.call('INCRBY', keys[BYTES], int(size))
    for _, key in ipairs(keys) do
      redis.call('EXPIRE', key, TTL_S)
    end
    return true
  end

  local function entry(group, name)
    return 'e:' .. group .. ':' .. name
  end

  local function parts(raw)
    local first = string.find(raw, ' ', 1, true)
    local second = string.find(raw, ' ', first + 1, true)
    return string.sub(raw, 1, first - 1), tonumber(string.sub(raw, first + 1, second - 1)),
      string.sub(raw, second + 1)
  end

  -- ARGV group, name...  ->  {generation, value | nil, ...}
  local function cache_find(keys, argv)
    local now, fields = now_us(), {'g:' .. argv[1]}
    for i = 2, #argv do
      fields[i] = entry(argv[1], argv[i])
    end
    local dues = redis.call('ZMSCORE', keys[DUES], unpack(fields))
    local raws = redis.call('HMGET', keys[ENTRIES], unpack(fields))
    local found = {}
    for i, raw in ipairs(raws) do
      found[i] = raw and dues[i] and tonumber(dues[i]) > now and raw
    end
    found[1] = found[1] or ''
    for i = 2, #fields do
      if found[i] then
        local own, _, value = parts(found[i])
        found[i] = own == found[1] and value
      end
    end
    return found
  end

  -- ARGV budget, share, overhead, group, name, value, ttl_ms, generation, version, quiet_ms  ->  1 | 0
  local function cache_keep(keys, argv)
    local now = now_us()
    local generation = held(keys, 'g:' .. argv[4], now) or ''
    local quiet = tonumber(argv[10]) * 1000
    if generation ~= argv[8] or (generation ~= '' and now - tonumber(generation) < quiet) then
      return 0
    end
    local value = generation .. ' ' .. argv[9] .. ' ' .. argv[6]
    local kept = store(keys, entry(argv[4], argv[5]), value, now, tonumber(argv[7]) * 1000,
      tonumber(argv[1]), tonumber(argv[2]), tonumber(argv[3]))
    return kept and 1 or 0
  end

  local function begin(keys, group, now, ttl_ms, budget, share, overhead)
    local before = tonumber(held(keys, 'g:' .. group, now) or 0)
    local generation = int(math.max(now, before + 1))
    store(keys, 'g:' .. group, generation, now, ttl_ms * 1000, budget, share, overhead)
    return generation
  end

  -- ARGV budget, share, overhead, generation_ms, group, name, value, ttl_ms, version  ->  1 | 0
  local function cache_write(keys, argv)
    local now = now_us()
    local budget, share, overhead = tonumber(argv[1]), tonumber(argv[2]), tonumber(argv[3])
    local generation = held(keys, 'g:' .. argv[5], now) or ''
    local raw = held(keys, entry(argv[5], argv[6]), now)
    if raw then
      local own, version = parts(raw)
      if own == generation and version >= tonumber(argv[9]) then
        return 0
      end
    end
    generation = begin(keys, argv[5], now, tonumber(argv[4]), budget, share, overhead)
    local value = generation .. ' ' .. argv[9] .. ' ' .. argv[7]
    store(keys, entry(argv[5], argv[6]), value, now, tonumber(argv[8]) * 1000, budget, share, overhead)
    return 1
  end

  -- ARGV budget, share, overhead, generation_ms, group...
  local function cache_drop(keys, argv)
    local now = now_us()
    for i = 5, #argv do
      begin(keys, argv[i], now, tonumber(argv[4]), tonumber(argv[1]), tonumber(argv[2]), tonumber(argv[3]))
    end
    return 1
  end

  -- ARGV budget, share, overhead, name, ttl_ms  ->  1 | 0
  local function cache_claim(keys, argv)
    local now, field = now_us(), 'c:' .. argv[4]
    if held(keys, field, now) then
      return 0
    end
    local kept = store(keys, field, '1', now, tonumber(argv[5]) * 1000, tonumber(argv[1]), tonumber(argv[2]),
      tonumber(argv[3]))
    return kept and 1 or 0
  end

  -- ARGV overhead, name
  local function cache_release(keys, argv)
    remove(keys, 'c:' .. argv[2], tonumber(argv[1]))
    return 1
  end

  -- ARGV overhead  ->  {entries, bytes}
  local function cache_size(keys, argv)
    drop_lapsed(keys, now_us(), SWEPT, tonumber(argv[1]))
    return {redis.call('HLEN', keys[ENTRIES]), tonumber(redis.call('GET', keys[BYTES]) or 0)}
  end

  register('cache_find', cache_find, {'no-writes'})
  register('cache_keep', cache_keep, {})
  register('cache_write', cache_write, {})
  register('cache_drop', cache_drop, {'allow-oom'})
  register('cache_claim', cache_claim, {})
  register('cache_release', cache_release, {'allow-oom'})
  register('cache_size', cache_size, {'allow-oom'})
end
