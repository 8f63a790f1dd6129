#!lua name=viva_@HASH@
-- The live session's atomic steps. Each call touches the keys of one interview and of its partition,
-- which share a hash tag, so that it is one slot on a Cluster.
--
-- Every step can be repeated: a command by its id, an append by its ordinal, an acquisition by its
-- nonce, a commit by the version it expects. A caller whose reply was lost asks again.
--
-- The names end in a hash of this source, so that instances of two versions run side by side.

local HASH = '@HASH@'

-- KEYS by position, the same in every function that takes the interview's keys.
local META, LOG, TURNS, COMMANDS, PENDING, LEASES, TIMERS, OUTBOX, ERASED, PRESENCE = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10

-- How a delta begins as JSON; it says which attempt it belongs to.
local DELTA = '^{"type":"turn%.delta","turn":(%d+),"attempt":(%d+),'

-- How many slots for sockets an interview remembers, about.
local SLOTS = 256

-- A join that is this old when it arrives may have been overtaken by a newer socket's.
local LATE_MS = 1000

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function int(number)
  return string.format('%.0f', number)
end

-- A map of the named fields of the interview's hash; absent ones are the empty string.
local function meta_of(keys, ...)
  local names = {...}
  local values = redis.call('HMGET', keys[META], unpack(names))
  local meta = {}
  for i, name in ipairs(names) do
    meta[name] = values[i] or ''
  end
  return meta
end

local function channel(keys)
  return keys[META]
end

local function split(id)
  local dash = string.find(id, '-', 1, true)
  return tonumber(string.sub(id, 1, dash - 1)), string.sub(id, dash + 1)
end

-- Appends bodies behind `head`; returns the ids given. The check is 52 bits of sha1: 13 hex digits,
-- which a double holds exactly.
local function write_log(keys, head, bodies)
  local seq, check = split(head)
  local ids = {}
  for i, body in ipairs(bodies) do
    seq = seq + 1
    check = int(tonumber(string.sub(redis.sha1hex(check .. body), 1, 13), 16))
    ids[i] = int(seq) .. '-' .. check
    redis.call('XADD', keys[LOG], ids[i], 'e', body)
  end
  return ids
end

-- Trims by length, but never into the open turn: a client that resumes or a runner that takes over
-- needs all of it.
local function trim_log(keys, head, open_from, length)
  local seq = split(head)
  local first = seq - length + 1
  local open = tonumber(open_from) or 0
  if open > 0 and open < first then
    first = open
  end
  if first > 1 then
    redis.call('XTRIM', keys[LOG], 'MINID', int(first) .. '-0')
  end
end

local function counter_of(fence)
  local colon = string.find(fence, ':', 1, true)
  return colon and tonumber(string.sub(fence, 1, colon - 1)) or 0
end

local function holds_lease(meta, fence, now)
  return meta.fence == fence and (tonumber(meta.lease_until) or 0) > now
end

-- What a caller needs to decide: state, turns and the entries of the open turn.
local function describe(keys, command_id, with_turns, with_open)
  local meta = meta_of(keys, 'session', 'version', 'head', 'fence', 'open_from', 'ordinal', 'handle',
    'stored', 'touched', 'heard')
  local answer = ''
  if command_id ~= '' then
    answer = redis.call('HGET', keys[COMMANDS], command_id) or ''
  end
  local turns = with_turns and redis.call('HGETALL', keys[TURNS]) or {}
  local entries = {}
  local open = tonumber(meta.open_from) or 0
  if with_open and open > 0 then
    entries = redis.call('XRANGE', keys[LOG], int(open) .. '-0', '+')
  end
  return {meta.session, meta.version, meta.head, meta.fence, meta.open_from, meta.ordinal, meta.handle,
    meta.stored, meta.touched, meta.heard, answer, turns, entries}
end

-- Whether `id` is, or was, in the log. What was trimmed away was there.
local function logged(keys, head, id)
  if id == head or id == '0-0' then
    return true
  end
  if split(id) >= split(head) then
    return false
  end
  local first = redis.call('XRANGE', keys[LOG], '-', '+', 'COUNT', 1)[1]
  if not first or split(id) < split(first[1]) then
    return true
  end
  return #redis.call('XRANGE', keys[LOG], id, id) == 1
end

-- Keeps account of whether somebody has to be there: the live interviews are in the set of their partition,
-- by the time at which somebody was seen there last. `away` marks one that waits for somebody.
local function set_presence(keys, id, presence, now)
  if presence == 'here' then
    redis.call('ZADD', keys[PRESENCE], 'NX', int(now), id)
  else
    redis.call('ZREM', keys[PRESENCE], id)
  end
  if presence == 'away' then
    redis.call('HSET', keys[META], 'away', '1')
  else
    redis.call('HDEL', keys[META], 'away')
  end
end

-- load: `seen` is the newest event that the caller was told of, or ''.
-- ARGV command_id, turns?, open?, seen  ->  state | astray | missing | erased
local function load(keys, argv)
  local head = redis.call('HGET', keys[META], 'head')
  if not head then
    return {redis.call('EXISTS', keys[ERASED]) == 1 and 'erased' or 'missing'}
  end
  if argv[4] ~= '' and not logged(keys, head, argv[4]) then
    return {'astray'}
  end
  return {'ok', describe(keys, argv[1], argv[2] == '1', argv[3] == '1')}
end

-- create: puts an interview into Redis, new or rebuilt from PostgreSQL.
-- ARGV msgpack {id, session, version, head, running, tick, presence, turns = {{n, json}..},
--   commands = {{id, answer}..}}
local function create(keys, argv)
  local a = cmsgpack.unpack(argv[1])
  if redis.call('EXISTS', keys[ERASED]) == 1 then
    return {'erased'}
  end
  if redis.call('EXISTS', keys[META]) == 1 then
    return {'exists'}
  end
  local now = now_ms()
  redis.call('DEL', keys[LOG], keys[TURNS], keys[COMMANDS], keys[PENDING])
  redis.call('HSET', keys[META], 'session', a.session, 'version', int(a.version), 'head', a.head,
    'fence', '0:', 'lease_until', '0', 'open_from', '0', 'ordinal', '0', 'handle', '',
    'running', a.running, 'stored', a.head, 'touched', int(now))
  if a.head ~= '0-0' then
    -- Cursors read inclusively: an entry at the head stands for all that came before it.
    redis.call('XADD', keys[LOG], a.head, 'e', '')
  end
  for _, turn in ipairs(a.turns) do
    redis.call('HSET', keys[TURNS], turn[1], turn[2])
  end
  for _, command in ipairs(a.commands) do
    redis.call('HSET', keys[COMMANDS], command[1], command[2])
  end
  if a.running ~= '' then
    redis.call('ZADD', keys[LEASES], int(now), a.id)
  end
  redis.call('ZADD', keys[TIMERS], int(a.tick), a.id)
  set_presence(keys, a.id, a.presence, now)
  return {'ok'}
end

-- Whether a resume token issued at `issued` was outlived: some newer one was issued longer ago than the
-- grace. `times` lists when this slot was issued tokens. Returns the list with `now` added, shortened
-- to what later decisions need: the last time before the grace, and all within it.
local function outlived(times, issued, now, grace)
  local kept, before, stale = {}, nil, false
  for time in string.gmatch(times, '%d+') do
    local at = tonumber(time)
    if at <= now - grace then
      before = before and math.max(before, at) or at
      stale = stale or (issued ~= '' and at > tonumber(issued))
    else
      kept[#kept + 1] = time
    end
  end
  while #kept > 32 do
    table.remove(kept, 1)
  end
  if before then
    table.insert(kept, 1, int(before))
  end
  kept[#kept + 1] = int(now)
  return stale, table.concat(kept, ',')
end

-- join: registers a socket and finds its place in the log, in one round trip.
-- Sockets are numbered in the order they join, so that an old announcement never closes a newer socket:
-- by the microsecond, so that the order outlives a rebuild.
-- A slot is remembered while there are few: observers name theirs, and may name ever new ones.
-- A call may be repeated, by its nonce. One that was held up for long may come behind a newer socket's:
-- it must not replace that one, whose client would never come back.
-- ARGV slot, last_event_id, issued (of the resume token shown, or ''), now, grace_ms, nonce, age_ms
-- -> ok, recovered, number, state | stale | overtaken | missing | erased
local function join(keys, argv)
  local slot, last, known = argv[1], argv[2], false
  if redis.call('EXISTS', keys[META]) == 0 then
    return {redis.call('EXISTS', keys[ERASED]) == 1 and 'erased' or 'missing'}
  end
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local holder = slot ~= '' and redis.call('HGET', keys[META], 'socket:' .. slot) or ''
  local held, nonce = string.match(holder, '^(%d+) (.*)$')
  local again = held and nonce == argv[6]
  if held and not again and tonumber(argv[7]) >= LATE_MS and now - argv[7] * 1000 < tonumber(held) then
    return {'overtaken'}
  end
  if slot ~= '' then
    local times = redis.call('HGET', keys[META], 'resume:' .. slot)
    known = times or redis.call('HLEN', keys[META]) < 2 * SLOTS
    local stale, issues = outlived(times or '', argv[3], tonumber(argv[4]), tonumber(argv[5]))
    if stale then
      return {'stale'}
    end
    if known then
      redis.call('HSET', keys[META], 'resume:' .. slot, issues)
    end
  end
  local last_number = tonumber(redis.call('HGET', keys[META], 'joins') or 0)
  local number = again and tonumber(held) or math.max(last_number + 1, now)
  redis.call('HSET', keys[META], 'joins', int(math.max(last_number, number)))
  if slot ~= '' then
    if known then
      redis.call('HSET', keys[META], 'socket:' .. slot, int(number) .. ' ' .. argv[6])
    end
    redis.call('PUBLISH', channel(keys), 'c' .. slot .. ' ' .. int(number))
  end
  redis.call('HSET', keys[META], 'touched', int(now_ms()))
  local recovered = last ~= '' and
    (last == redis.call('HGET', keys[META], 'head') or #redis.call('XRANGE', keys[LOG], last, last) == 1)
  return {'ok', recovered and '1' or '0', number, describe(keys, '', not recovered, not recovered)}
end

-- The lease follows what the transition did to the interviewer's turn:
--   run   a new turn is to be generated, by whoever acquires it first
--   again the holder goes on with the next attempt of its turn
--   idle  no turn is to be generated; whoever still generates one is fenced out
--   ''    nothing changed
local function turn_lease(keys, a, meta, now, set)
  if a.lease == '' then
    return
  end
  set('ordinal', '0')
  set('handle', '')
  set('running', a.running)
  if a.lease == 'again' then
    return
  end
  set('fence', int(counter_of(meta.fence) + 1) .. ':')
  set('lease_until', '0')
  if a.lease == 'run' then
    redis.call('ZADD', keys[LEASES], int(now + a.grace), a.id)
  else
    redis.call('ZREM', keys[LEASES], a.id)
  end
end

-- What forbids a commit, or nil.
local function refusal(keys, a, meta, now)
  if meta.version == '' then
    return {redis.call('EXISTS', keys[ERASED]) == 1 and 'erased' or 'missing'}
  end
  if a.command ~= '' then
    local remembered = redis.call('HGET', keys[COMMANDS], a.command)
    if remembered then
      return {'duplicate', remembered}
    end
  end
  if meta.version ~= int(a.version) or not logged(keys, meta.head, a.head) then
    return {'conflict'} -- a rebuilt session counts on from what was stored: its versions come again
  end
  if a.fence ~= '' and not holds_lease(meta, a.fence, now) then
    return {'fenced'}
  end
  if a.ordinal >= 0 and meta.ordinal ~= int(a.ordinal) then
    return {'fenced'} -- pieces of the turn that is to be finished were lost
  end
  if a.seen > 0 and redis.call('ZSCORE', keys[PRESENCE], a.id) ~= int(a.seen) then
    return {'fenced'} -- somebody was seen since
  end
  if a.command ~= '' and redis.call('HLEN', keys[COMMANDS]) >= a.max_commands then
    return {'full'}
  end
end

-- commit: one transition, all of it or nothing.
-- ARGV msgpack {id, version, head, fence, command, digest, answer, session, tick, opens, lease, running,
--   grace, presence, seen, store, max_log, max_commands, events = {body..}, turns = {{n, json}..}}
-- -> ok, head, ids | duplicate, remembered | conflict | fenced | full | missing | erased
local function commit(keys, argv)
  local a = cmsgpack.unpack(argv[1])
  local now = now_ms()
  local meta = meta_of(keys, 'version', 'head', 'fence', 'lease_until', 'open_from', 'ordinal')
  local refused = refusal(keys, a, meta, now)
  if refused then
    return refused
  end

  local ids = write_log(keys, meta.head, a.events)
  local head = ids[#ids] or meta.head
  local fields = {'head', head, 'touched', int(now)}
  local function set(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  if a.session ~= '' or #ids > 0 then
    set('version', int(a.version + 1))
  end
  if a.session ~= '' then
    set('session', a.session)
    redis.call('ZADD', keys[TIMERS], int(a.tick), a.id)
    set_presence(keys, a.id, a.presence, now)
  end
  local open_from = meta.open_from
  if a.opens > 0 then
    open_from = int(split(meta.head) + a.opens)
    set('open_from', open_from)
  end
  turn_lease(keys, a, meta, now, set)
  redis.call('HSET', keys[META], unpack(fields))
  for _, turn in ipairs(a.turns) do
    redis.call('HSET', keys[TURNS], turn[1], turn[2])
  end
  if a.command ~= '' then
    local answer = a.answer == '' and 'a' .. head or a.answer
    redis.call('HSET', keys[COMMANDS], a.command, a.digest .. ' ' .. answer)
    redis.call('SADD', keys[PENDING], a.command)
  end
  if a.store then
    redis.call('XADD', keys[OUTBOX], '*', 'i', a.id)
  end
  if #ids > 0 then
    trim_log(keys, head, open_from, a.max_log)
    redis.call('PUBLISH', channel(keys), 'e' .. head)
  end
  return {'ok', head, ids}
end

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
-- ARGV fence, ordinal, handle, max_log, body  ->  ok, id | repeated, head | fenced
local function append(keys, argv)
  local meta = meta_of(keys, 'fence', 'lease_until', 'ordinal', 'head', 'open_from', 'running')
  local turn, attempt = string.match(argv[5], DELTA)
  if turn and turn .. ':' .. attempt ~= meta.running then
    return {'fenced'}
  end
  if not holds_lease(meta, argv[1], now_ms()) then
    return {'fenced'}
  end
  local ordinal = tonumber(meta.ordinal)
  if tonumber(argv[2]) <= ordinal then
    return {'repeated', meta.head}
  end
  if tonumber(argv[2]) ~= ordinal + 1 then
    return {'fenced'}
  end
  local id = write_log(keys, meta.head, {argv[5]})[1]
  redis.call('HSET', keys[META], 'head', id, 'ordinal', argv[2], 'handle', argv[3])
  if ordinal % 64 == 63 then
    trim_log(keys, id, meta.open_from, tonumber(argv[4]))
  end
  redis.call('PUBLISH', channel(keys), 'e' .. id)
  return {'ok', id}
end

-- stored: PostgreSQL has committed everything up to `head` and the named commands. A head that is not in
-- the log was read before a failover lost the log's tail: clients must not take it for theirs.
--
-- `believed` is what Redis took for stored before PostgreSQL was found to hold `head` and no more. Where
-- that is still so, PostgreSQL lost its own tail in a failover: what came after is written again. Clients
-- keep what they were told, as all of it is still here.
-- ARGV id, head, believed (or ''), command ids  ->  ok | lost | missing
local function stored(keys, argv)
  local id, now_stored, believed = argv[1], argv[2], argv[3]
  local meta = meta_of(keys, 'head', 'stored')
  if meta.head == '' then
    return {'missing'}
  end
  if not logged(keys, meta.head, now_stored) then
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
local function unstored(keys, _argv)
  if redis.call('EXISTS', keys[META]) == 0 then
    return {redis.call('EXISTS', keys[ERASED]) == 1 and 'erased' or 'missing'}
  end
  local ids = redis.call('SMEMBERS', keys[PENDING])
  local commands = {}
  for i, id in ipairs(ids) do
    commands[2 * i - 1] = id
    commands[2 * i] = redis.call('HGET', keys[COMMANDS], id) or ''
  end
  return {'ok', describe(keys, '', true, true), commands}
end

local function free(keys, id)
  redis.call('DEL', keys[META], keys[LOG], keys[TURNS], keys[COMMANDS], keys[PENDING])
  redis.call('ZREM', keys[TIMERS], id)
  redis.call('ZREM', keys[LEASES], id)
  redis.call('ZREM', keys[PRESENCE], id)
end

-- How often the pause before the next look at what cannot be parked is doubled.
local PARK_DOUBLINGS = 9

-- Queues an interview that rests and is not stored; returns how often that was found at its present head.
-- An entry of this kind that still waits serves as well as a new one: PostgreSQL may be away for long.
local function queue_resting(keys, id, meta)
  local head, looks, entry = string.match(meta.parking, '^(%S+) (%d+) (%S+)$')
  looks = head == meta.head and tonumber(looks) or 0
  if not entry or #redis.call('XRANGE', keys[OUTBOX], entry, entry) == 0 then
    entry = redis.call('XADD', keys[OUTBOX], '*', 'i', id)
  end
  redis.call('HSET', keys[META], 'parking', meta.head .. ' ' .. int(looks + 1) .. ' ' .. entry)
  return looks
end

-- park: frees an interview that rests and is wholly in PostgreSQL; else it is looked at again.
-- ARGV id, version, idle_ms, again_ms  ->  ok | busy, why | missing
local function park(keys, argv)
  local meta = meta_of(keys, 'version', 'head', 'stored', 'touched', 'running', 'parking')
  if meta.version == '' then
    redis.call('ZREM', keys[TIMERS], argv[1])
    return {'missing'}
  end
  local now, pause = now_ms(), tonumber(argv[4])
  local idle = now - tonumber(meta.touched)
  local why
  if meta.version ~= argv[2] or idle < tonumber(argv[3]) or meta.running ~= '' then
    why = 'active'
  elseif meta.stored ~= meta.head or redis.call('SCARD', keys[PENDING]) > 0 then
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
  local meta = meta_of(keys, 'version', 'head')
  if meta.version ~= argv[2] or not logged(keys, meta.head, argv[3]) then
    return {'moved'}
  end
  free(keys, argv[1])
  redis.call('PUBLISH', channel(keys), 'l')
  return {'ok'}
end

-- postpone: sets the interview's next timer where nothing else changed. ARGV id, tick
local function postpone(keys, argv)
  if redis.call('EXISTS', keys[META]) == 1 then
    redis.call('ZADD', keys[TIMERS], argv[2], argv[1])
  else
    redis.call('ZREM', keys[TIMERS], argv[1])
  end
  return {'ok'}
end

-- attend: tells who is where, for one partition, and learns who is not.
-- `heard_ms` is how long ago the last sign of life came from there. What was not seen for `lapse_ms` has lapsed.
-- KEYS presence, interviews' hashes; ARGV lapse_ms, limit, (id, present?, heard_ms)..
-- -> {ids of those present that are marked as away}, {id, seen}.. of the lapsed
local function attend(keys, argv)
  local now, away, lapsed = now_ms(), {}, {}
  for i = 2, #keys do
    local id, present, heard = argv[3 * i - 3], argv[3 * i - 2], now - tonumber(argv[3 * i - 1])
    local meta = redis.call('HMGET', keys[i], 'version', 'heard', 'away')
    if meta[1] then
      if heard > (tonumber(meta[2]) or 0) then
        redis.call('HSET', keys[i], 'heard', int(heard))
      end
      if present == '1' then
        redis.call('ZADD', keys[1], 'XX', int(now), id)
        if meta[3] then
          away[#away + 1] = id
        end
      end
    else
      redis.call('ZREM', keys[1], id)
    end
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

-- due: what lapsed in these partitions. KEYS (leases, timers, outbox)×partitions; ARGV limit
-- -> {lapsed leases}, {due timers}, {numbers of partitions whose outbox holds something}
local function due(keys, argv)
  local now = int(now_ms())
  local leases, timers, outboxes = {}, {}, {}
  local function gather(into, key)
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, argv[1])) do
      into[#into + 1] = id
    end
  end
  for i = 1, #keys, 3 do
    gather(leases, keys[i])
    gather(timers, keys[i + 1])
    if redis.call('XLEN', keys[i + 2]) > 0 then
      outboxes[#outboxes + 1] = (i - 1) / 3
    end
  end
  return {leases, timers, outboxes}
end

-- read: entries from `start` on, that one included. KEYS log; ARGV start, count
local function read(keys, argv)
  return redis.call('XRANGE', keys[1], argv[1], '+', 'COUNT', argv[2])
end

-- redeem: uses a ticket up; true for whoever came first, also when they ask again.
-- KEYS ticket; ARGV nonce, seconds
local function redeem(keys, argv)
  if redis.call('SET', keys[1], argv[1], 'NX', 'EX', argv[2]) then
    return 1
  end
  return redis.call('GET', keys[1]) == argv[1] and 1 or 0
end

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

local function discard(keys, group, id)
  redis.call('XACK', keys[1], group, id)
  redis.call('XDEL', keys[1], id)
  redis.call('HDEL', keys[2], id)
end

-- settle: takes committed deliveries out. KEYS outbox, tries; ARGV group, ids
local function settle(keys, argv)
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
  local counted = redis.call('HGET', keys[2], id) or '0 '
  local space = string.find(counted, ' ', 1, true)
  local tries = tonumber(string.sub(counted, 1, space - 1))
  if delivery == '' or string.sub(counted, space + 1) ~= delivery then
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

local function register(name, callback, flags)
  redis.register_function{function_name = name .. '_' .. HASH, callback = callback, flags = flags}
end

-- What frees memory, or ends what holds it, works when memory is out.
register('load', load, {'no-writes'})
register('unstored', unstored, {'no-writes'})
register('due', due, {'no-writes'})
register('read', read, {'no-writes'})
register('redeem', redeem, {'allow-oom'})
register('take', take, {'allow-oom'})
register('settle', settle, {'allow-oom'})
register('bury', bury, {'allow-oom'})
register('create', create, {})
register('join', join, {'allow-oom'})
register('ingest', commit, {})
register('acquire', acquire, {'allow-oom'})
register('renew', renew, {'allow-oom'})
register('append', append, {})
register('attend', attend, {'allow-oom'})
register('finish', commit, {'allow-oom'})
register('cancel', commit, {'allow-oom'})
register('release', release, {'allow-oom'})
register('stored', stored, {'allow-oom'})
register('postpone', postpone, {'allow-oom'})
register('park', park, {'allow-oom'})
register('evict', evict, {'allow-oom'})
register('erase', erase, {'allow-oom'})
