#!lua name=viva_@HASH@
-- The live session's atomic steps. Each call touches the keys of one interview and of its partition,
-- which share a hash tag, so that it is one slot on a Cluster; but for `append` and `renew`, which are
-- for many.
--
-- Every step can be repeated: a command by its id, an append by its ordinal, an acquisition by its
-- nonce, a commit by the version it expects. A caller whose reply was lost asks again.
--
-- The names end in a hash of this source, so that instances of two versions run side by side.

local HASH = '@HASH@'

local function register(name, callback, flags)
  redis.register_function{function_name = name .. '_' .. HASH, callback = callback, flags = flags}
end

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
local function fields_of(key, names)
  local values = redis.call('HMGET', key, unpack(names))
  local meta = {}
  for i, name in ipairs(names) do
    meta[name] = values[i] or ''
  end
  return meta
end

local function meta_of(keys, ...)
  return fields_of(keys[META], {...})
end

-- Words whose writer knows the log's name come by `XADD`, past every function; see `append`. Their entries
-- tell what the hash would: how often was appended, and the handle.
local function catch_up(log, meta)
  local top = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  if top and top[1] ~= meta.head then
    meta.head = top[1]
    if top[2][4] then -- else a step failed on damaged keys when its events were in
      meta.ordinal, meta.handle = string.match(top[2][4], '^(%d+) (.*)$')
    end
  end
end

-- The same with `head`, `ordinal`, `handle` and `log`, the name of the log's key, as they are now.
local function present_of(keys, ...)
  local meta = fields_of(keys[META], {'head', 'ordinal', 'handle', 'log', ...})
  meta.log = keys[LOG] .. meta.log
  if meta.head ~= '' then
    catch_up(meta.log, meta)
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

-- The id of `body` behind the one of `seq` and `check`. The new check is 52 bits of sha1: 13 hex digits,
-- which a double holds exactly, and a C long of 64 bits: to write that out costs a tenth.
local function follow(seq, check, body)
  return string.format('%d-%d', seq + 1, tonumber(string.sub(redis.sha1hex(check .. body), 1, 13), 16))
end

-- Gives the log a name that nobody knows: whoever writes by the old one finds no log. Each other step that
-- writes to it, or takes or gives back its turn, does it, so that a relay knows what the log ends with.
-- What stays at the log's own key is for an older version, which looked for the log there, and would begin
-- another one. Returns the new name's end, for the hash.
local function rename(keys, log)
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local last = tonumber(string.sub(log, #keys[LOG] + 2)) or 0
  local ending = ':' .. int(math.max(now, last + 1))
  if redis.call('EXISTS', log) == 1 then
    redis.call('RENAME', log, keys[LOG] .. ending)
  end
  if last == 0 then
    redis.call('SET', keys[LOG], 'renamed')
  end
  return ending
end

-- Appends bodies behind `head`; returns the ids given.
local function write_log(log, head, bodies)
  local ids = {}
  for i, body in ipairs(bodies) do
    local seq, check = split(head)
    head = follow(seq, check, body)
    ids[i] = head
    redis.call('XADD', log, head, 'e', body)
  end
  return ids
end

-- Trims by length, but never into the open turn: a client that resumes or a runner that takes over
-- needs all of it.
local function trim_log(log, head, open_from, length)
  local seq = split(head)
  local first = seq - length + 1
  local open = tonumber(open_from) or 0
  if open > 0 and open < first then
    first = open
  end
  if first > 1 then
    redis.call('XTRIM', log, 'MINID', int(first) .. '-0')
  end
end

local function counter_of(fence)
  local colon = string.find(fence, ':', 1, true)
  return colon and tonumber(string.sub(fence, 1, colon - 1)) or 0
end

local function holds_lease(meta, fence, now)
  return meta.fence == fence and (tonumber(meta.lease_until) or 0) > now
end

-- What a caller needs to decide: state, turns and the entries of the interviewer's open turn. Those of an
-- answer tell nothing that the session does not, and may be many.
-- What never changes is told `with_given` alone: it is most of a session, and most callers know it.
local function describe(keys, command_id, with_turns, with_open, with_given)
  local meta = present_of(keys, 'session', 'version', 'fence', 'open_from', 'running', 'stored', 'touched', 'heard')
  local answer = ''
  if command_id ~= '' then
    answer = redis.call('HGET', keys[COMMANDS], command_id) or ''
  end
  local turns = with_turns and redis.call('HGETALL', keys[TURNS]) or {}
  local entries = {}
  local open = tonumber(meta.open_from) or 0
  if with_open and open > 0 and meta.running ~= '' then
    entries = redis.call('XRANGE', meta.log, int(open) .. '-0', '+')
  end
  local given = with_given and redis.call('HGET', keys[META], 'given') or ''
  return {meta.session, given, meta.version, meta.head, meta.fence, meta.open_from, meta.ordinal,
    meta.handle, meta.stored, meta.touched, meta.heard, answer, turns, entries}
end

-- Whether `id` is, or was, in the log. What was trimmed away was there.
local function logged(log, head, id)
  if id == head or id == '0-0' then
    return true
  end
  if split(id) >= split(head) then
    return false
  end
  local first = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
  if not first or split(id) < split(first[1]) then
    return true
  end
  return #redis.call('XRANGE', log, id, id) == 1
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
-- ARGV command_id, turns?, open?, seen, given?  ->  state | astray | missing | erased
local function load(keys, argv)
  if redis.call('EXISTS', keys[META]) == 0 then
    return {redis.call('EXISTS', keys[ERASED]) == 1 and 'erased' or 'missing'}
  end
  if argv[4] ~= '' then
    local meta = present_of(keys)
    if not logged(meta.log, meta.head, argv[4]) then
      return {'astray'}
    end
  end
  return {'ok', describe(keys, argv[1], argv[2] == '1', argv[3] == '1', argv[5] == '1')}
end

-- create: puts an interview into Redis, new or rebuilt from PostgreSQL.
-- ARGV msgpack {id, session, given, version, head, running, tick, presence, turns = {{n, json}..},
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
  local ending = rename(keys, keys[LOG])
  redis.call('HSET', keys[META], 'session', a.session, 'given', a.given, 'version', int(a.version),
    'head', a.head, 'fence', '0:', 'lease_until', '0', 'open_from', '0', 'ordinal', '0', 'handle', '',
    'running', a.running, 'stored', a.head, 'touched', int(now), 'log', ending)
  if a.head ~= '0-0' then
    -- Cursors read inclusively: an entry at the head stands for all that came before it.
    redis.call('XADD', keys[LOG] .. ending, a.head, 'e', '')
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
-- A token's time of issue is noted, unless the log lost what the client holds: it may be turned away yet,
-- again and again, and tokens that it never got must not outlive the only one it has.
-- ARGV slot, last_event_id, issued (of the resume token shown, or ''), now, grace_ms, nonce, age_ms, id,
--   given?
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
  local meta = last ~= '' and present_of(keys)
  local recovered = meta and (last == meta.head or #redis.call('XRANGE', meta.log, last, last) == 1)
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
    if known and (not meta or recovered or logged(meta.log, meta.head, last)) then
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
  if slot == 'candidate' or slot == 'transcriber' then -- who comes back is not missed any more
    redis.pcall('ZADD', keys[PRESENCE], 'XX', int(now_ms()), argv[8])
  end
  redis.call('HSET', keys[META], 'touched', int(now_ms()))
  return {'ok', recovered and '1' or '0', number, describe(keys, '', not recovered, not recovered,
    argv[9] == '1')}
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
  meta.ordinal, meta.handle = '0', ''
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
  if meta.version ~= int(a.version) or not logged(meta.log, meta.head, a.head) then
    return {'conflict'} -- a rebuilt session counts on from what was stored: its versions come again
  end
  if a.fence ~= '' and not holds_lease(meta, a.fence, now) then
    return {'fenced'}
  end
  if a.ordinal >= 0 and meta.ordinal ~= int(a.ordinal) then
    -- The turn's runner finds that some of its pieces were lost, who cuts the turn that more of them came.
    return {a.fence == '' and 'conflict' or 'fenced'}
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
  local meta = present_of(keys, 'version', 'fence', 'lease_until', 'open_from')
  local refused = refusal(keys, a, meta, now)
  if refused then
    return refused
  end

  local fields = {'touched', int(now)}
  local function set(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  -- The partition's keys come first: where one is damaged, nothing is in the log yet.
  if a.session ~= '' then
    set('session', a.session)
    redis.call('ZADD', keys[TIMERS], int(a.tick), a.id)
    set_presence(keys, a.id, a.presence, now)
  end
  if a.store then
    set('queued', redis.call('XADD', keys[OUTBOX], '*', 'i', a.id))
  end
  turn_lease(keys, a, meta, now, set)
  local open_from = meta.open_from
  if a.opens > 0 then
    open_from = int(split(meta.head) + a.opens)
    set('open_from', open_from)
  end
  local ids = write_log(meta.log, meta.head, a.events)
  local head = ids[#ids] or meta.head
  set('head', head)
  if a.session ~= '' or #ids > 0 then
    set('version', int(a.version + 1))
  end
  local ending = rename(keys, meta.log)
  set('log', ending)
  set('ordinal', meta.ordinal)
  set('handle', meta.handle)
  redis.call('HSET', keys[META], unpack(fields))
  for _, turn in ipairs(a.turns) do
    redis.call('HSET', keys[TURNS], turn[1], turn[2])
  end
  if a.command ~= '' then
    local answer = a.answer == '' and 'a' .. head or a.answer
    redis.call('HSET', keys[COMMANDS], a.command, a.digest .. ' ' .. answer)
    redis.call('SADD', keys[PENDING], a.command)
  end
  if #ids > 0 then
    trim_log(keys[LOG] .. ending, head, open_from, a.max_log)
    redis.call('PUBLISH', channel(keys), 'e' .. head)
  end
  return {'ok', head, ids}
end

-- What frees memory, or ends what holds it, works when memory is out.
register('load', load, {'no-writes'})
register('create', create, {})
register('join', join, {'allow-oom'})
register('ingest', commit, {})
register('finish', commit, {'allow-oom'})
register('cancel', commit, {'allow-oom'})
