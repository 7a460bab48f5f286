-- What scripts see. It is run once, in a fresh interpreter; host is a table of native functions, libraries those that
-- are made there. What it returns are the ways in.

local host, libraries, constants = ...

local READONLY = "Attempt to modify a readonly table"

local error, type, tostring, select, next, rawget, rawset = error, type, tostring, select, next, rawget, rawset
local getmetatable, setmetatable, rawequal = getmetatable, setmetatable, rawequal
local real_pcall, real_xpcall = pcall, xpcall
local real_insert, real_sort, real_concat = table.insert, table.sort, table.concat
local caught, caught_raw, failed = host.caught, host.caught_raw, host.failed

-- Tables that nobody may change: an empty one stands before each.

local behind = {}
local shown = {}
local fronts = {}

local raise = host.raise

local function refuse()
  raise(READONLY)
end

local function guard(real)
  local front = setmetatable({}, { __index = real, __newindex = refuse })
  behind[front] = real
  fronts[#fronts + 1] = front
  return front
end

-- A script that got behind the guard by a native function of the interpreter leaves no trace.
local function sweep()
  for i = 1, #fronts do
    local front = fronts[i]
    while next(front) ~= nil do
      rawset(front, next(front), nil)
    end
  end
end

local base = {
  _VERSION = _VERSION,
  assert = assert, error = error, gcinfo = gcinfo, ipairs = ipairs, rawequal = rawequal, select = select,
  tonumber = tonumber, tostring = tostring, type = type, unpack = unpack,
  collectgarbage = host.collect,
}

local strings = guard(string)
local string_front = guard({ __index = strings })

function base.getmetatable(of)
  if behind[of] then
    return shown[of]
  end
  if type(of) == "string" then
    return string_front
  end
  return getmetatable(of)
end

function base.setmetatable(of, to)
  if behind[of] then
    error(READONLY, 0)
  end
  return setmetatable(of, to)
end

function base.rawset(of, key, value)
  if behind[of] then
    error(READONLY, 0)
  end
  return rawset(of, key, value)
end

function base.rawget(of, key)
  return rawget(behind[of] or of, key)
end

local function follow(of, key)
  return next(behind[of] or of, key)
end

base.next = follow

function base.pairs(of)
  if behind[of] then
    return follow, of, nil
  end
  if type(of) ~= "table" then
    raise("bad argument #1 to 'pairs' (table expected, got " .. type(of) .. ")")
  end
  return next, of, nil
end

-- Errors that are caught. What has to end a script is raised again by caught and caught_raw.

local function settle(ok, ...)
  if ok then
    return true, ...
  end
  return false, caught((...))
end

function base.pcall(...)
  return settle(real_pcall(...))
end

local function settle_raw(ok, ...)
  if ok then
    return true, ...
  end
  return false, caught_raw((...))
end

function base.xpcall(call, handler)
  if handler == nil then
    raise("bad argument #2 to 'xpcall' (value expected)")
  end
  return settle_raw(real_xpcall(call, function(why)
    return handler(caught_raw(why))
  end))
end

local resume, wrap = coroutine.resume, coroutine.wrap

local coroutines = {
  create = coroutine.create, running = coroutine.running, status = coroutine.status, wrap = wrap,
  yield = coroutine.yield,
}

function coroutines.resume(...)
  return settle_raw(resume(...))
end

base.coroutine = guard(coroutines)

-- Strings: whatever searches is native and counted.

string.dump = nil
string.find, string.match, string.rep = host.find, host.match, host.rep

local scan, substitute = host.scan, host.gsub

function string.gmatch(subject, pattern)
  if type(subject) ~= "string" and type(subject) ~= "number" then
    raise("bad argument #1 to 'gmatch' (string expected, got " .. type(subject) .. ")")
  end
  if type(pattern) ~= "string" and type(pattern) ~= "number" then
    raise("bad argument #2 to 'gmatch' (string expected, got " .. type(pattern) .. ")")
  end
  local at = 1
  local step = host.gmatch
  local function pass(behind_it, ...)
    if behind_it == nil then
      at = #subject + 2
      return nil
    end
    at = behind_it
    return ...
  end
  subject = tostring(subject)
  return function()
    return pass(step(subject, pattern, at))
  end
end

string.gfind = string.gmatch

-- What stands in the place of a match.
local function replaced(with, kind, subject, from, to, first, ...)
  local value
  if kind == "function" then
    value = with(first, ...)
  else
    value = with[first]
  end
  if not value then
    return strings.sub(subject, from, to)
  end
  if type(value) ~= "string" and type(value) ~= "number" then
    raise("invalid replacement value (a " .. type(value) .. ")")
  end
  return value
end

function string.gsub(subject, pattern, with, most)
  local kind = type(with)
  if kind ~= "function" and kind ~= "table" then
    return substitute(subject, pattern, with, most)
  end
  subject, pattern = tostring(subject), tostring(pattern)
  local out, parts, at, count = {}, 0, 1, 0
  local anchored = strings.sub(pattern, 1, 1) == "^"
  local function add(from, behind_it, ...)
    out[parts + 1] = replaced(with, kind, subject, from, behind_it - 1, ...)
    parts = parts + 1
  end
  local function match(behind_it, ...)
    if behind_it then
      count = count + 1
      add(at, behind_it, ...)
    end
    return behind_it
  end
  while not most or count < most do
    local behind_it = match(scan(subject, pattern, at))
    if behind_it and behind_it > at then
      at = behind_it
    elseif at <= #subject then
      out[parts + 1] = strings.sub(subject, at, at)
      parts = parts + 1
      at = at + 1
    else
      break
    end
    if anchored then
      break
    end
  end
  out[parts + 1] = strings.sub(subject, at)
  return real_concat(out), count
end

base.string = strings

-- Tables.

-- The type of the first value, as messages name it.
local function kind(...)
  return select("#", ...) == 0 and "no value" or type((...))
end

function table.insert(...)
  local count, list, place = select("#", ...), ...
  if behind[list] then
    error(READONLY, 0)
  end
  if type(list) ~= "table" then
    raise("bad argument #1 to 'insert' (table expected, got " .. kind(...) .. ")")
  end
  if count == 2 then
    rawset(list, #list + 1, place)
    return
  end
  if count ~= 3 then
    raise("wrong number of arguments to 'insert'")
  end
  -- The interpreter moves everything from the end down to the place, wherever that is.
  if type(place) ~= "number" and not tonumber(place) then
    raise("bad argument #2 to 'insert' (number expected, got " .. type(place) .. ")")
  end
  if tonumber(place) < 0 then
    raise("bad argument #2 to 'insert' (position out of bounds)")
  end
  real_insert(...)
end

local real_remove = table.remove

function table.remove(...)
  local list = ...
  if behind[list] then
    error(READONLY, 0)
  end
  if type(list) ~= "table" then
    raise("bad argument #1 to 'remove' (table expected, got " .. kind(...) .. ")")
  end
  return real_remove(...)
end

local sort = host.sort

function table.sort(list, before)
  if behind[list] then
    error(READONLY, 0)
  end
  if type(list) ~= "table" then
    raise("bad argument #1 to 'sort' (table expected, got " .. (list == nil and "no value" or type(list)) .. ")")
  end
  if before ~= nil and type(before) ~= "function" then
    raise("bad argument #2 to 'sort' (function expected, got " .. type(before) .. ")")
  end
  if before == nil and sort(list) then
    return
  end
  return real_sort(list, before)
end

base.table = guard(table)

math.random, math.randomseed = host.random, host.randomseed
base.math = guard(math)
base.bit, base.struct = guard(libraries.bit), guard(libraries.struct)
base.cjson, base.cmsgpack = guard(libraries.cjson), guard(libraries.cmsgpack)

-- redis, in three shapes: for scripts, for functions, for libraries that are taken in.

local for_loading = {}
for name, value in next, constants do
  for_loading[name] = value
end
for_loading.log = host.log
local for_functions = {}
for name, value in next, for_loading do
  for_functions[name] = value
end
for _, name in ipairs({
  "call", "pcall", "sha1hex", "error_reply", "status_reply", "setresp", "set_repl", "acl_check_cmd",
}) do
  for_functions[name] = host[name]
end
for_functions.pcall = host.redis_pcall
local for_scripts = {}
for name, value in next, for_functions do
  for_scripts[name] = value
end
for_scripts.replicate_commands, for_scripts.breakpoint, for_scripts.debug = host.yes, host.no, host.nothing
for_loading.register_function = host.register_function

-- Globals.

local function missing(_, name)
  raise("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'")
end

local function globals(with, redis)
  local all = setmetatable({}, { __index = missing })
  for name, value in next, with do
    all[name] = value
  end
  all.redis = redis
  return all
end

local compile = host.compile

local function add_compilers(all, front)
  function all.loadstring(code, name)
    return compile(code, name, front)
  end
  function all.load(reader, name)
    if type(reader) ~= "function" then
      raise("bad argument #1 to 'load' (function expected, got " .. type(reader) .. ")")
    end
    local parts = {}
    while true do
      local part = reader()
      if part == nil or part == "" then
        return compile(real_concat(parts), name or "=(load)", front)
      end
      if type(part) ~= "string" then
        return nil, "reader function must return a string"
      end
      parts[#parts + 1] = part
    end
  end
end

local script_globals = globals(base, guard(for_scripts))
local script_front = guard(script_globals)
script_globals._G = script_front
shown[script_front] = guard({ __index = missing })
add_compilers(script_globals, script_front)

local function_globals = globals(base, guard(for_functions))
local load_globals = globals({}, guard(setmetatable(for_loading, { __index = missing })))
local library_front = guard(function_globals)
function_globals._G = library_front
shown[library_front] = shown[script_front]
add_compilers(function_globals, library_front)
local library_shape = getmetatable(library_front)

-- Ways in. The first value of what was called comes back, behind whether it came to its end.

local called, keys, args

local function go()
  return called(keys, args)
end

local function run()
  local ok, value = real_xpcall(go, failed)
  called, keys, args = nil, nil, nil
  sweep()
  return ok, value
end

return script_front, library_front, function(script, its_keys, its_args)
  script_globals.KEYS, script_globals.ARGV = its_keys, its_args
  called = script
  return run()
end, function(callback, its_keys, its_args)
  called, keys, args = callback, its_keys, its_args
  return run()
end, function(library)
  called = library
  library_shape.__index = load_globals
  local ok, value = run()
  library_shape.__index = function_globals
  return ok, value
end
