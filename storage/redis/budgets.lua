-- The budgets of the model: what an interview, a user's day and the deployment's day have spent, and what
-- is held for calls under way. See storage/budgets.py for what holds.
--
-- Each of the three has a hash (`spent`, `held`, and `h:<call>` for every hold) and a sorted set of its
-- holds by when they lapse. Nobody sweeps: whoever asks a budget first drops what has lapsed of its own, at
-- most LAPSES a call, so that all keys of a call are those it names. What was settled is remembered in a
-- hash beside the interview's, by the call; and what a stored response has cost so far, by the response.
do
  local SCOPES, CALLS = 3, 7
  local LAPSES = 64
  local TTL = {2 * 86400, 3 * 86400, 3 * 86400}

  local function spending(keys, scope)
    return keys[2 * scope - 1], keys[2 * scope]
  end

  local function let_go(budget, holds, call)
    local field = 'h:' .. call
    local held = redis.call('HGET', budget, field)
    if held then
      redis.call('HDEL', budget, field)
      redis.call('HINCRBY', budget, 'held', '-' .. held)
      redis.call('ZREM', holds, call)
    end
  end

  local function standing(keys, scope, now)
    local budget, holds = spending(keys, scope)
    for _, call in ipairs(redis.call('ZRANGEBYSCORE', holds, '-inf', int(now), 'LIMIT', 0, LAPSES)) do
      let_go(budget, holds, call)
    end
    local found = redis.call('HMGET', budget, 'spent', 'held')
    return tonumber(found[1] or 0), tonumber(found[2] or 0)
  end

  local function refresh(keys, scope)
    local budget, holds = spending(keys, scope)
    redis.call('EXPIRE', budget, TTL[scope])
    redis.call('EXPIRE', holds, TTL[scope])
  end

  -- ARGV call, hold_ms, least, most, then of each scope its hard cap and its soft one (0: none)
  --   ->  {'granted', amount, soft?, soft?, soft?} | {'refused', scope, passing?}
  local function budget_reserve(keys, argv)
    local call, least, room = argv[1], tonumber(argv[3]), tonumber(argv[4])
    if redis.call('HEXISTS', keys[CALLS], call) == 1 then
      return {'refused', 1, 0} -- it was given up before it came
    end
    local again = redis.call('HGET', keys[1], 'h:' .. call)
    if again then
      return {'granted', tonumber(again), 0, 0, 0}
    end
    local now = now_ms()
    local spent, soft = {}, {}
    for scope = 1, SCOPES do
      local held
      spent[scope], held = standing(keys, scope, now)
      local hard = tonumber(argv[3 + 2 * scope])
      local left = hard - spent[scope] - held
      if hard > 0 and left < least then
        return {'refused', scope, (hard - spent[scope] >= least) and 1 or 0}
      end
      if hard > 0 then
        room = math.min(room, left)
      end
    end
    for scope = 1, SCOPES do
      local budget, holds = spending(keys, scope)
      local limit = tonumber(argv[4 + 2 * scope])
      soft[scope] = (limit > 0 and spent[scope] >= limit) and 1 or 0
      redis.call('HSET', budget, 'h:' .. call, int(room))
      redis.call('HINCRBY', budget, 'held', int(room))
      redis.call('ZADD', holds, int(now + tonumber(argv[2])), call)
      refresh(keys, scope)
    end
    return {'granted', room, soft[1], soft[2], soft[3]}
  end

  -- What a stored response adds: of all its calls the one that began last speaks for it.
  local function added(keys, response, at, cost)
    local field = 'r:' .. response
    local known = redis.call('HGET', keys[CALLS], field)
    local before = 0
    if known then
      local space = string.find(known, ' ', 1, true)
      if tonumber(string.sub(known, 1, space - 1)) > at then
        return 0
      end
      before = tonumber(string.sub(known, space + 1))
    end
    redis.call('HSET', keys[CALLS], field, int(at) .. ' ' .. int(cost))
    return cost - before
  end

  -- ARGV call, cost, response, at  ->  1 | 0 (it was settled before)
  local function budget_settle(keys, argv)
    if redis.call('HSETNX', keys[CALLS], argv[1], 1) == 0 then
      return 0
    end
    local cost = tonumber(argv[2])
    if argv[3] ~= '' then
      cost = added(keys, argv[3], tonumber(argv[4]), cost)
    end
    for scope = 1, SCOPES do
      local budget, holds = spending(keys, scope)
      let_go(budget, holds, argv[1])
      redis.call('HINCRBY', budget, 'spent', int(cost))
      refresh(keys, scope)
    end
    redis.call('EXPIRE', keys[CALLS], TTL[1])
    return 1
  end

  register('budget_reserve', budget_reserve, {})
  register('budget_settle', budget_settle, {'allow-oom'})
end
