-- The life of a job. One script, so that every transition is atomic; worker/ledger.py is its only caller.
--
-- ARGV[1] names the command, the rest are its arguments. All times are seconds of this server's clock.
--
--   job:ID          hash    the record; besides the fields of contracts.Job: queue, seq (order of submission),
--                           worker and token (of the lease), published_at (0: no message is on its way),
--                           kept (number of the last attempt that saved what it did)
--   events:ID       stream  what happened to it
--   queued:QUEUE    zset    waiting ids by seq, so that a job that comes back keeps its place
--   queued:QUEUE:OWNER      those of one owner
--   turns:QUEUE     zset    owners by their next turn: who has had fewer is next
--   running:QUEUE   zset    leased ids by the time their lease runs out
--   pace:QUEUE      list    how many seconds of work each of the latest ends took; finished:QUEUE: when the last one was
--   ended           zset    ended ids by time
--   owned:OWNER     zset    ids by seq
--   totals          hash    what has happened since the broker's file began, for the metrics: names joined by '|'
--   room            hash    how full the storage is: used, free, full
--   unneeded        list    storage keys of what jobs would have read that ended before a worker ran them
--   workers         zset    announced workers by the time the announcement runs out; worker-info: what they said

local PREFIX = 'inpaint:'
local CHANNEL = 'jobs'
local ENDS = { succeeded = true, failed = true, cancelled = true }
local QUEUES = { 'inference', 'training' }
local EVENTS_KEPT = 1000
local REMOVED_AT_ONCE = 500
local PACE_OVER = 32
local OVERDUE = '{"type":"deadline","detail":"It had not ended when the time in Cancel-After was over."}'

local SECONDS = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60 }
local SIZES = { 1, 2, 4, 8, 16, 32 }

local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1e6

local function stamp(time)
  return string.format('%.6f', time)
end

local function job_key(id)
  return PREFIX .. 'job:' .. id
end

local function field(id, name)
  return redis.call('HGET', job_key(id), name)
end

local function queued_key(queue, owner)
  return PREFIX .. 'queued:' .. queue .. (owner and ':' .. owner or '')
end

local function turns_key(queue)
  return PREFIX .. 'turns:' .. queue
end

local function running_key(queue)
  return PREFIX .. 'running:' .. queue
end

local function record(id)
  return redis.call('HGETALL', job_key(id))
end

-- An end is told with the record as it stays: who waited for it need not ask.
local function tell(id, what)
  local record_of_end = ENDS[what] and ' ' .. cjson.encode(record(id)) or ''
  redis.call('PUBLISH', CHANNEL, id .. ' ' .. what .. record_of_end)
end

local function add_event(id, type, name, payload)
  local entry = { 'type', type, 'at', stamp(now) }
  if name then
    entry[#entry + 1] = name
    entry[#entry + 1] = payload
  end
  redis.call('XADD', PREFIX .. 'events:' .. id, 'MAXLEN', '~', EVENTS_KEPT, '*', unpack(entry))
  tell(id, type)
end

-- Totals change in the same script as the state that they count: no crash and no restart makes them differ.
local function count(amount, ...)
  redis.call('HINCRBYFLOAT', PREFIX .. 'totals', table.concat({ ... }, '|'), tostring(amount))
end

-- One more value in the histogram `name`: its sum, and the first of `bounds` that it does not exceed.
local function measure(name, bounds, value)
  if redis.call('HEXISTS', PREFIX .. 'totals', name .. '|sum') == 0 then
    for _, bound in ipairs(bounds) do
      count(0, name, tostring(bound))  -- a reader wants all of them from the start
    end
  end
  local bound = '+Inf'
  for index = #bounds, 1, -1 do
    if value <= bounds[index] then
      bound = tostring(bounds[index])
    end
  end
  count(1, name, bound)
  count(value, name, 'sum')
end

-- Only the holder of the current token may write: a worker that was taken for dead and comes back cannot.
local function holds(id, token)
  local values = redis.call('HMGET', job_key(id), 'state', 'token')
  return values[1] == 'running' and values[2] == token
end

-- An owner who comes joins those whose turn it is: neither before all others, nor after what others have waiting.
local function enqueue(id)
  local values = redis.call('HMGET', job_key(id), 'queue', 'owner', 'seq')
  local queue, owner, seq = values[1], values[2], values[3]
  local turns = turns_key(queue)
  local first = redis.call('ZRANGE', turns, 0, 0, 'WITHSCORES')
  while first[1] and redis.call('ZCARD', queued_key(queue, first[1])) == 0 do
    redis.call('ZREM', turns, first[1])
    first = redis.call('ZRANGE', turns, 0, 0, 'WITHSCORES')
  end
  redis.call('ZADD', turns, 'NX', first[2] or 0, owner)
  redis.call('ZADD', queued_key(queue), seq, id)
  redis.call('ZADD', queued_key(queue, owner), seq, id)
end

local function dequeue(id)
  local values = redis.call('HMGET', job_key(id), 'queue', 'owner')
  redis.call('ZREM', queued_key(values[1]), id)
  redis.call('ZREM', queued_key(values[1], values[2]), id)
end

-- Iterates over the waiting ids of `queue` that `fit`, in the order in which they will run: owners take turns, each
-- with its oldest job. Nothing may be leased meanwhile.
local function line(queue, fits)
  local owners = {}
  local entries = redis.call('ZRANGE', turns_key(queue), 0, -1, 'WITHSCORES')
  for index = 1, #entries, 2 do
    owners[#owners + 1] = { jobs = queued_key(queue, entries[index]), seen = 0, turn = tonumber(entries[index + 1]) }
  end
  return function()
    while #owners > 0 do
      local next = 1
      for index = 2, #owners do
        if owners[index].turn < owners[next].turn then
          next = index
        end
      end
      local owner = owners[next]
      local id = redis.call('ZRANGE', owner.jobs, owner.seen, owner.seen)[1]
      if not id then
        table.remove(owners, next)
      else
        owner.seen = owner.seen + 1
        if not fits or fits(id) then
          owner.turn = owner.turn + 1
          return id
        end
      end
    end
  end
end

local function overdue(id)
  local deadline = field(id, 'deadline')
  return deadline and tonumber(deadline) <= now
end

local function finish(id, state, name, payload)
  dequeue(id)
  redis.call('ZREM', running_key(field(id, 'queue')), id)
  redis.call('ZADD', PREFIX .. 'ended', stamp(now), id)
  redis.call('HSET', job_key(id), 'state', state, 'finished_at', stamp(now))
  if name then
    redis.call('HSET', job_key(id), name, payload)
  end
  local reason = name == 'failure' and cjson.decode(payload).type or ''
  count(1, 'ended', field(id, 'kind'), state, reason)
  add_event(id, state, name, payload)
end

-- The end of a job that no worker runs: nobody has removed what was stored for it.
local function finish_alone(id, state, name, payload)
  local request = cjson.decode(field(id, 'request'))
  if request.inputs_key then
    redis.call('RPUSH', PREFIX .. 'unneeded', request.inputs_key)
  end
  finish(id, state, name, payload)
end

-- Measured while there is work: from the end before this one, or from this job's start where it found the queue idle.
local function note_pace(id)
  local values = redis.call('HMGET', job_key(id), 'queue', 'started_at')
  local last = PREFIX .. 'finished:' .. values[1]
  local from = math.max(tonumber(values[2]), tonumber(redis.call('GET', last) or 0))
  redis.call('LPUSH', PREFIX .. 'pace:' .. values[1], stamp(math.max(0, now - from)))
  redis.call('LTRIM', PREFIX .. 'pace:' .. values[1], 0, PACE_OVER - 1)
  redis.call('SET', last, stamp(now))
end

-- Seconds until a quarter of what waits will be done; before anything has ended, what the oldest has waited so far.
local function relief(queue)
  local total, ends = 0, redis.call('LRANGE', PREFIX .. 'pace:' .. queue, 0, -1)
  if #ends == 0 then
    local oldest = redis.call('ZRANGE', queued_key(queue), 0, 0)[1]
    return oldest and now - tonumber(field(oldest, 'created_at')) or 0
  end
  for _, seconds in ipairs(ends) do
    total = total + tonumber(seconds)
  end
  return total / #ends * redis.call('ZCARD', queued_key(queue)) / 4
end

-- False, or why no other job is accepted: {'no-room'} | {'full', seconds until there may be room}. One of several owners
-- may have as many waiting as there are places left, so that there is one for who comes next.
local function refusal(queue, owner, limit)
  if redis.call('HGET', PREFIX .. 'room', 'full') == '1' then
    count(1, 'refused', queue, 'storage-full')
    return { 'no-room' }
  end
  local free = tonumber(limit) - redis.call('ZCARD', queued_key(queue))
  if free > 0 and (owner == '' or redis.call('ZCARD', queued_key(queue, owner)) < free) then
    return false
  end
  count(1, 'refused', queue, 'queue-full')
  return { 'full', stamp(relief(queue)) }
end

-- Where the time of a job that succeeded went, how many pictures it made, and how many jobs ran together with it.
local function measure_success(id, result, batch)
  local values = redis.call('HMGET', job_key(id), 'kind', 'created_at', 'started_at', 'request')
  local kind = values[1]
  for stage, seconds in pairs(result.timings or {}) do
    measure('stage|' .. kind .. '|' .. stage, SECONDS, seconds)
  end
  measure('stage|' .. kind .. '|queue', SECONDS, math.max(0, tonumber(values[3]) - tonumber(values[2])))
  measure('stage|' .. kind .. '|all', SECONDS, math.max(0, now - tonumber(values[2])))
  measure('batch|' .. kind, SIZES, batch)
  count(kind == 'sample' and cjson.decode(values[4]).n or 1, 'pictures', kind)
end

local function start(id, worker, seconds)
  local values = redis.call('HMGET', job_key(id), 'queue', 'owner')
  local token = redis.call('INCR', PREFIX .. 'tokens')
  dequeue(id)
  redis.call('ZINCRBY', turns_key(values[1]), 1, values[2])
  redis.call('ZADD', running_key(values[1]), stamp(now + seconds), id)
  redis.call('HINCRBY', job_key(id), 'attempts', 1)
  redis.call('HSET', job_key(id), 'state', 'running', 'worker', worker, 'token', token, 'started_at', stamp(now))
  add_event(id, 'running')
end

local function queue_again(id)
  if field(id, 'cancel_requested') then
    finish_alone(id, 'cancelled')
    return
  end
  if overdue(id) then
    finish_alone(id, 'failed', 'failure', OVERDUE)
    return
  end
  redis.call('ZREM', running_key(field(id, 'queue')), id)
  enqueue(id)
  redis.call('HDEL', job_key(id), 'worker', 'token', 'started_at', 'progress')
  redis.call('HSET', job_key(id), 'state', 'queued', 'published_at', 0)
  add_event(id, 'queued')
end

-- Attempts that saved what they did, and those before them, do not count: a long run may lose any number of workers.
local function lose(id, max_attempts, failure)
  count(1, 'lost', field(id, 'queue'))
  local lost = tonumber(field(id, 'attempts')) - tonumber(field(id, 'kept') or 0)
  if lost >= max_attempts and not field(id, 'cancel_requested') then
    finish_alone(id, 'failed', 'failure', failure)
  else
    queue_again(id)
  end
end

local function give_back(id)
  redis.call('HINCRBY', job_key(id), 'attempts', -1)
  queue_again(id)
end

-- Ids whose lease belongs to `worker`, or, with a list of the living, to a dead process of `node`.
local function leases_of(matches)
  local found = {}
  for _, queue in ipairs(QUEUES) do
    for _, id in ipairs(redis.call('ZRANGE', running_key(queue), 0, -1)) do
      if matches(field(id, 'worker')) then
        found[#found + 1] = id
      end
    end
  end
  return found
end

local function dead_of(node, living)
  return function(worker)
    return worker and string.sub(worker, 1, #node + 1) == node .. ':' and not living[worker]
  end
end

local function withdraw(matches)
  for _, worker in ipairs(redis.call('ZRANGE', PREFIX .. 'workers', 0, -1)) do
    if matches(worker) then
      redis.call('ZREM', PREFIX .. 'workers', worker)
      redis.call('HDEL', PREFIX .. 'worker-info', worker)
    end
  end
end

local function move_in_time(key, seconds)
  local entries = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  for index = 1, #entries, 2 do
    redis.call('ZADD', key, stamp(tonumber(entries[index + 1]) + seconds), entries[index])
  end
end

-- Ids of up to `limit` jobs that ended longer than `seconds` ago, the oldest first; they are forgotten.
local function remove_ended(seconds, limit)
  local ended = PREFIX .. 'ended'
  local removed = redis.call('ZRANGEBYSCORE', ended, '-inf', stamp(now - seconds), 'LIMIT', 0, limit)
  for _, id in ipairs(removed) do
    redis.call('ZREM', ended, id)
    redis.call('ZREM', PREFIX .. 'owned:' .. field(id, 'owner'), id)
    redis.call('DEL', job_key(id), PREFIX .. 'events:' .. id)
  end
  return removed
end

local commands = {}

-- {'new' | 'existing', record} | {'conflict'} | {'no-room'} | {'full', seconds until there may be room}
function commands.submit(id, queue, kind, owner, fingerprint, trace, request, limit, cancel_after)
  local known = redis.call('HMGET', job_key(id), 'owner', 'fingerprint')
  if known[1] then
    if known[1] ~= owner or known[2] ~= fingerprint then
      return { 'conflict' }
    end
    return { 'existing', record(id) }
  end
  local refused = refusal(queue, owner, limit)
  if refused then
    return refused
  end
  local seq = redis.call('INCR', PREFIX .. 'sequence')
  redis.call('HSET', job_key(id), 'id', id, 'queue', queue, 'kind', kind, 'owner', owner, 'fingerprint', fingerprint,
    'trace', trace, 'request', request, 'state', 'queued', 'attempts', 0, 'created_at', stamp(now), 'seq', seq,
    'published_at', stamp(now))
  if cancel_after ~= '' then
    redis.call('HSET', job_key(id), 'deadline', stamp(now + tonumber(cancel_after)))
  end
  enqueue(id)
  redis.call('ZADD', PREFIX .. 'owned:' .. owner, seq, id)
  count(1, 'accepted', kind)
  add_event(id, 'queued')
  return { 'new', record(id) }
end

commands.refusal = refusal

-- A queued job whose time is over ends when somebody looks at it, be there a worker or not.
function commands.get(id)
  if field(id, 'state') == 'queued' and overdue(id) then
    finish_alone(id, 'failed', 'failure', OVERDUE)
  end
  return record(id)
end

-- How many will run before it, or false
function commands.position(id)
  if field(id, 'state') ~= 'queued' then
    return false
  end
  local before = 0
  for other in line(field(id, 'queue')) do
    if other == id then
      return before
    end
    before = before + 1
  end
  return false
end

-- The record of the job that is next, with its new token, or false. A worker that holds one already gets that: the
-- answer that gave it to it was lost on the way.
function commands.lease_next(queue, worker, seconds)
  for _, id in ipairs(redis.call('ZRANGE', running_key(queue), 0, -1)) do
    if field(id, 'worker') == worker then
      return record(id)
    end
  end
  local id = line(queue)()
  while id and overdue(id) do
    finish_alone(id, 'failed', 'failure', OVERDUE)
    id = line(queue)()
  end
  if not id then
    return false
  end
  start(id, worker, tonumber(seconds))
  return record(id)
end

-- The record with its new token, or false. Who asks again for what it holds gets the same lease.
function commands.lease(id, worker, seconds)
  local values = redis.call('HMGET', job_key(id), 'state', 'worker')
  if values[1] == 'queued' then
    start(id, worker, tonumber(seconds))
    return record(id)
  elseif values[1] == 'running' and values[2] == worker then
    return record(id)
  end
  return false
end

-- Records of up to `limit` waiting jobs, in the order of their turns. A job that has lost a worker before is left
-- out: it may be what killed it, so it runs alone and takes nobody with it.
function commands.lease_waiting(queue, kind, limit, worker, seconds)
  local function fits(id)
    local values = redis.call('HMGET', job_key(id), 'kind', 'attempts')
    return values[1] == kind and values[2] == '0' and not overdue(id)
  end
  local chosen, leased = {}, {}
  local following = line(queue, fits)
  while #chosen < tonumber(limit) do
    local id = following()
    if not id then
      break
    end
    chosen[#chosen + 1] = id
  end
  for _, id in ipairs(chosen) do
    start(id, worker, tonumber(seconds))
    leased[#leased + 1] = record(id)
  end
  return leased
end

function commands.renew(id, token, seconds)
  if not holds(id, token) then
    return 'lost'
  end
  redis.call('ZADD', running_key(field(id, 'queue')), stamp(now + tonumber(seconds)), id)
  return (field(id, 'cancel_requested') or overdue(id)) and 'cancel-requested' or 'held'
end

function commands.progress(id, token, progress)
  if not holds(id, token) then
    return 0
  end
  redis.call('HSET', job_key(id), 'progress', progress)
  add_event(id, 'progress', 'progress', progress)
  return 1
end

function commands.keep(id, token)
  if not holds(id, token) then
    return 0
  end
  redis.call('HSET', job_key(id), 'kept', field(id, 'attempts'))
  return 1
end

-- 1 also when this very lease has ended the job before: the first answer may have been lost on the way. A job that was
-- stopped and that nobody cancelled was stopped because its time was over.
function commands.finish(id, token, state, name, payload, batch)
  if state == 'cancelled' and overdue(id) and not field(id, 'cancel_requested') then
    state, name, payload = 'failed', 'failure', OVERDUE
  end
  if holds(id, token) then
    note_pace(id)
    finish(id, state, name, payload)
    if state == 'succeeded' then
      measure_success(id, cjson.decode(payload), tonumber(batch))
    end
    return 1
  end
  local values = redis.call('HMGET', job_key(id), 'state', 'token')
  return values[1] == state and values[2] == token and 1 or 0
end

function commands.release(id, token)
  if not holds(id, token) then
    return 0
  end
  give_back(id)
  return 1
end

-- This attempt counts as lost, although its worker lives.
function commands.lose(id, token, max_attempts, failure)
  if not holds(id, token) then
    return 0
  end
  lose(id, tonumber(max_attempts), failure)
  return 1
end

function commands.cancel(id)
  local state = field(id, 'state')
  if state == 'queued' then
    finish(id, 'cancelled')
  elseif state == 'running' then
    redis.call('HSET', job_key(id), 'cancel_requested', 1)
    tell(id, 'cancel-requested')
  end
  return record(id)
end

-- Leases of processes of `node` that are not among the living are lost now, without waiting for their time.
function commands.bury(node, max_attempts, failure, ...)
  local living = {}
  for _, worker in ipairs({ ... }) do
    living[worker] = true
  end
  local lost = leases_of(dead_of(node, living))
  for _, id in ipairs(lost) do
    lose(id, tonumber(max_attempts), failure)
  end
  withdraw(dead_of(node, living))
  return lost
end

-- 1 while messages wait although a worker of this node is ready and none of them has a job.
function commands.overlooks(node, queue)
  local ours = dead_of(node, {})
  if redis.call('LLEN', queue) == 0 or #leases_of(ours) > 0 then
    return 0
  end
  for _, worker in ipairs(redis.call('ZRANGE', PREFIX .. 'workers', 0, -1)) do
    if ours(worker) then
      return 1
    end
  end
  return 0
end

-- A node that stops in good order gives back what its processes hold; no attempt is counted.
function commands.leave(node)
  local held = leases_of(dead_of(node, {}))
  for _, id in ipairs(held) do
    give_back(id)
  end
  withdraw(dead_of(node, {}))
  return held
end

-- {lost ids, {id, queue of jobs to publish, ...}, removed ids, keys of files to remove}
function commands.sweep(seconds, max_attempts, failure, grace, patience, ttl)
  local last = tonumber(redis.call('GET', PREFIX .. 'swept') or now)
  redis.call('SET', PREFIX .. 'swept', stamp(now))
  -- Nobody swept for a while: this server was away, and nobody could renew. Or its clock was set. Every lease starts
  -- anew, and what has ended stays for as long as it was due before.
  local gap = now - last
  local away = gap > tonumber(grace) or gap < 0
  local lost, unpublished = {}, {}
  if away then
    move_in_time(PREFIX .. 'ended', gap)
    move_in_time(PREFIX .. 'workers', math.min(gap, 0))
  end

  for _, queue in ipairs(QUEUES) do
    if away then
      for _, id in ipairs(redis.call('ZRANGE', running_key(queue), 0, -1)) do
        redis.call('ZADD', running_key(queue), stamp(now + tonumber(seconds)), id)
      end
    end
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', running_key(queue), '-inf', stamp(now))) do
      lose(id, tonumber(max_attempts), failure)
      lost[#lost + 1] = id
    end
    -- Celery keeps a queue's messages in a list of that name. Where it is empty, a job that has waited for longer
    -- than a message takes from here to there has lost its message; where it is not, only the oldest is
    -- looked at, and with more patience.
    local empty = redis.call('LLEN', queue) == 0
    for rank, id in ipairs(redis.call('ZRANGE', queued_key(queue), 0, -1)) do
      local age = now - tonumber(field(id, 'published_at'))
      if overdue(id) then
        finish_alone(id, 'failed', 'failure', OVERDUE)
      elseif age >= now or age < 0 or (empty and age > tonumber(grace)) or (rank == 1 and age > tonumber(patience)) then
        redis.call('HSET', job_key(id), 'published_at', stamp(now))
        unpublished[#unpublished + 1] = id
        unpublished[#unpublished + 1] = queue
      end
    end
  end

  local unneeded = redis.call('LPOP', PREFIX .. 'unneeded', REMOVED_AT_ONCE) or {}
  return { lost, unpublished, remove_ended(tonumber(ttl), REMOVED_AT_ONCE), unneeded }
end

function commands.evict(limit, seconds)
  return remove_ended(tonumber(seconds), tonumber(limit))
end

-- Pictures per second of the training runs that run now
local function training_rate(queue)
  local rate = 0
  for _, id in ipairs(redis.call('ZRANGE', running_key(queue), 0, -1)) do
    local details = cjson.decode(field(id, 'progress') or '{}').details or {}
    rate = rate + (tonumber(details.images_per_second) or 0)
  end
  return rate
end

-- For each queue: name, waiting, running, seconds that the oldest has waited, pictures per second
function commands.stats()
  local answer = {}
  for _, queue in ipairs(QUEUES) do
    local oldest = redis.call('ZRANGE', queued_key(queue), 0, 0)[1]
    local age = oldest and math.max(0, now - tonumber(field(oldest, 'created_at'))) or 0
    answer[#answer + 1] = { queue, redis.call('ZCARD', queued_key(queue)), redis.call('ZCARD', running_key(queue)),
      stamp(age), stamp(queue == 'training' and training_rate(queue) or 0) }
  end
  return answer
end

function commands.totals()
  return redis.call('HGETALL', PREFIX .. 'totals')
end

function commands.note_room(used, free, full, ttl)
  redis.call('HSET', PREFIX .. 'room', 'used', used, 'free', free, 'full', full)
  redis.call('EXPIRE', PREFIX .. 'room', ttl)
  return 1
end

function commands.room()
  return redis.call('HGETALL', PREFIX .. 'room')
end

function commands.announce(worker, info, ttl)
  redis.call('ZADD', PREFIX .. 'workers', stamp(now + tonumber(ttl)), worker)
  redis.call('HSET', PREFIX .. 'worker-info', worker, info)
  return 1
end

function commands.workers()
  local fresh = {}
  for _, worker in ipairs(redis.call('ZRANGE', PREFIX .. 'workers', 0, -1)) do
    if tonumber(redis.call('ZSCORE', PREFIX .. 'workers', worker)) > now then
      fresh[#fresh + 1] = redis.call('HGET', PREFIX .. 'worker-info', worker)
    else
      redis.call('ZREM', PREFIX .. 'workers', worker)
      redis.call('HDEL', PREFIX .. 'worker-info', worker)
    end
  end
  return fresh
end

return commands[ARGV[1]](unpack(ARGV, 2))
