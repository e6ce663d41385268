-- What scripts see. Called with the functions that Rust gives; returns what Rust calls.
local native = ...
local real_globals = _G
local next, type, error, select, tonumber, unpack = next, type, error, select, tonumber, unpack
local raw_tostring, raw_pcall, raw_xpcall = tostring, pcall, xpcall
local raw_setmetatable, raw_getmetatable, raw_loadstring = setmetatable, getmetatable, loadstring
local create, resume, wrap = coroutine.create, coroutine.resume, coroutine.wrap
local concat, byte = table.concat, string.byte
local gsub, matches = native.gsub, native.matches
local caught, charge, library = native.caught, native.charge, native.library
local insert, remove, sort, maxn = table.insert, table.remove, table.sort, table.maxn
local find, spend = string.find, native.spend

-- Tables that scripts must not change stand behind empty ones. Their metatables, which no script sees, know them.
local TARGET = {}
local raw_get = native.rawget
local function read_only()
  error("Attempt to modify a readonly table", 2)
end
local function protect(target)
  return raw_setmetatable({}, { __index = target, __newindex = read_only, [TARGET] = target })
end
local function real(value)
  local meta = raw_getmetatable(value)
  return type(meta) == "table" and raw_get(meta, TARGET) or nil
end

-- The order of keys that are objects depends on addresses: no walk over such a table begins.
local function walkable(target)
  for key in next, target do
    local kind = type(key)
    if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
      error("a table whose keys are objects has no order", 3)
    end
  end
end

function pairs(target)
  if type(target) ~= "table" then
    error("bad argument #1 to 'pairs' (table expected, got " .. (target == nil and "nil" or type(target)) .. ")", 2)
  end
  target = real(target) or target
  walkable(target)
  return next, target, nil
end
local pairs = pairs

real_globals.next = function(target, key)
  if type(target) ~= "table" then
    error("bad argument #1 to 'next' (table expected, got " .. (target == nil and "nil" or type(target)) .. ")", 2)
  end
  target = real(target) or target
  if key == nil then
    walkable(target)
  end
  return next(target, key)
end

function table.foreach(target, call)
  for key, value in pairs(target) do
    local result = call(key, value)
    if result ~= nil then
      return result
    end
  end
end

function tostring(...)
  if select("#", ...) == 0 then
    error("bad argument #1 to 'tostring' (value expected)", 2)
  end
  local value = ...
  local kind = type(value)
  if kind == "table" or kind == "function" or kind == "thread" then
    local meta = raw_getmetatable(value)
    if meta == nil or type(meta) ~= "table" or meta.__tostring == nil then
      return kind .. ": 0x0"
    end
  elseif kind == "userdata" then
    return "userdata: (nil)"
  end
  return raw_tostring(value)
end

-- Functions of C walk over whole tables within one instruction: they cost what they do.
local SMALL = 64
local function is_number(value)
  return type(value) == "number" or type(value) == "string" and tonumber(value) ~= nil
end
local function check_table(name, count, target)
  if type(target) ~= "table" then
    local kind = count == 0 and "no value" or type(target)
    error("bad argument #1 to '" .. name .. "' (table expected, got " .. kind .. ")", 3)
  end
end
local function check_number(name, number, value, optional)
  if not is_number(value) and not (optional and value == nil) then
    local kind = value == nil and not optional and "nil" or type(value)
    error("bad argument #" .. number .. " to '" .. name .. "' (number expected, got " .. kind .. ")", 3)
  end
end
local function cost(steps)
  if steps > SMALL then
    spend(steps)
  end
end

function table.insert(...)
  local count, target, place = select("#", ...), ...
  check_table("insert", count, target)
  if count == 3 then
    check_number("insert", 2, place, false)
    cost(#target - place)
  elseif count ~= 2 then
    error("wrong number of arguments to 'insert'", 2)
  end
  return insert(...)
end

function table.remove(...)
  local count, target, place = select("#", ...), ...
  check_table("remove", count, target)
  check_number("remove", 2, place, true)
  if place ~= nil then
    cost(#target - place)
  end
  return remove(...)
end

function table.maxn(...)
  local target = ...
  check_table("maxn", select("#", ...), target)
  cost(#target)
  return maxn(...)
end

function table.concat(...)
  local target, separator, from, to = ...
  check_table("concat", select("#", ...), target)
  if separator ~= nil and type(separator) ~= "string" and type(separator) ~= "number" then
    error("bad argument #2 to 'concat' (string expected, got " .. type(separator) .. ")", 2)
  end
  check_number("concat", 3, from, true)
  check_number("concat", 4, to, true)
  cost(#target)
  local ok, result = raw_pcall(concat, ...)
  if not ok then
    error(result, find(result, "^invalid value") and 2 or 0)
  end
  return result
end

function table.sort(...)
  local target, order = ...
  check_table("sort", select("#", ...), target)
  if order ~= nil and type(order) ~= "function" then
    error("bad argument #2 to 'sort' (function expected, got " .. type(order) .. ")", 2)
  end
  cost(4 * #target)
  return sort(...)
end

-- Lua's own adds up bounds as integers of C. What overflows there passes its check, and it writes past its stack.
local STACK_MAX = 8000
local function bound(value, number)
  local whole = tonumber(value)
  if not whole or (type(value) ~= "number" and type(value) ~= "string") then
    error("bad argument #" .. number .. " to 'unpack' (number expected, got " .. type(value) .. ")", 3)
  end
  return whole < 0 and -(-whole - -whole % 1) or whole - whole % 1
end
real_globals.unpack = function(...)
  local target, first, last = ...
  if type(target) ~= "table" then
    local kind = select("#", ...) == 0 and "no value" or type(target)
    error("bad argument #1 to 'unpack' (table expected, got " .. kind .. ")", 2)
  end
  local from = first == nil and 1 or bound(first, 2)
  local to = last == nil and #target or bound(last, 3)
  if from > to then
    return
  end
  -- Neither is a number that is none.
  if not (to - from + 1 + (last ~= nil and 3 or first ~= nil and 2 or 1) <= STACK_MAX and from >= -2 ^ 31 and to < 2 ^ 31) then
    error("too many results to unpack", 2)
  elseif last ~= nil then
    return unpack(target, from, to)
  elseif first ~= nil then
    return unpack(target, from)
  end
  return unpack(target)
end

-- Errors that Rust raised become what Redis would have raised; the end of a script cannot be caught.
local function message(failure)
  failure = caught(failure)
  if type(failure) == "table" then
    local text = failure.err
    if type(text) == "string" or type(text) == "number" then
      return text
    end
  end
  return failure
end
local function finish(ok, ...)
  if ok then
    return true, ...
  end
  return false, message((...))
end
function pcall(call, ...)
  return finish(raw_pcall(call, ...))
end
local function finish_handled(ok, ...)
  if not ok then
    caught(nil)
  end
  return ok, ...
end
function xpcall(call, handler)
  return finish_handled(raw_xpcall(call, function(failure)
    return handler(caught(failure))
  end))
end

-- Each thread counts its instructions from zero, so making one has a price.
local function finish_resumed(ok, ...)
  if ok then
    return true, ...
  end
  return false, caught((...))
end
function coroutine.create(call)
  charge()
  return create(call)
end
function coroutine.resume(thread, ...)
  return finish_resumed(resume(thread, ...))
end
function coroutine.wrap(call)
  charge()
  return wrap(call)
end

function loadstring(text, name)
  if type(text) == "string" and byte(text, 1) == 27 then
    return nil, "attempt to load a binary chunk"
  end
  return raw_loadstring(text, name)
end
local loadstring = loadstring
function load(pieces, name)
  local parts = {}
  while true do
    local piece = pieces()
    if piece == nil or piece == "" then
      break
    end
    parts[#parts + 1] = piece
  end
  return loadstring(concat(parts), name or "=(load)")
end

function collectgarbage()
  return 0
end
function gcinfo()
  return 0
end

function setmetatable(target, meta)
  if real(target) then
    error("Attempt to modify a readonly table", 0)
  end
  return raw_setmetatable(target, meta)
end
function rawset(target, key, value)
  if real(target) then
    error("Attempt to modify a readonly table", 0)
  end
  return native.rawset(target, key, value)
end
function rawget(target, key)
  return raw_get(real(target) or target, key)
end

os = { clock = native.clock }
for _, name in next, { "dofile", "loadfile", "print", "require", "module", "package", "debug", "io", "newproxy", "setfenv", "getfenv", "warn" } do
  real_globals[name] = nil
end

function string.gsub(text, pattern, with, max)
  local kind = type(with)
  if kind ~= "function" and kind ~= "table" then
    return gsub(text, pattern, with, max)
  end
  local walk = matches(text, pattern, with, max)
  local parts, count = {}, 0
  local function take(before, whole, after, ...)
    if before == nil then
      return false
    end
    parts[#parts + 1] = before
    if whole == nil then
      return false
    end
    count = count + 1
    local value
    if kind == "function" then
      value = with(...)
    else
      value = with[(...)]
    end
    if not value then
      value = whole
    elseif type(value) ~= "string" and type(value) ~= "number" then
      error("invalid replacement value (a " .. type(value) .. ")", 3)
    end
    parts[#parts + 1] = value
    parts[#parts + 1] = after
    return true
  end
  while take(walk()) do
  end
  return concat(parts), count
end

local strings = protect(string)
local string_meta = protect({ __index = strings })
local empty_meta = protect({})
function getmetatable(value)
  if type(value) == "string" then
    return string_meta
  end
  if real(value) then
    return empty_meta
  end
  return raw_getmetatable(value)
end

redis = native.redis
local function absent(_, key)
  error("Script attempted to access nonexistent global variable '" .. tostring(key) .. "'", 2)
end
-- Libraries that not every script needs are made when they are asked for, and forgotten behind it. The fields stay: the
-- table keeps its size.
local made = { cjson = false, cmsgpack = false, bit = false, struct = false }
raw_setmetatable(real_globals, {
  __index = function(_, key)
    local value = made[key]
    if value == nil then
      error("Script attempted to access nonexistent global variable '" .. tostring(key) .. "'", 2)
    end
    if not value then
      value = protect(library(key))
      made[key] = value
    end
    return value
  end,
})
string = strings
table = protect(table)
math = protect(math)
coroutine = protect(coroutine)
os = protect(os)
redis = protect(redis)
local globals = protect(real_globals)
_G = globals

-- While the code of a library is run it sees nothing but a `redis` of its own.
local api = protect(raw_setmetatable(native.api, { __index = absent }))
local seen = raw_getmetatable(globals)
local function of_library(_, key)
  if key ~= "redis" then
    error("Script attempted to access nonexistent global variable '" .. tostring(key) .. "'", 2)
  end
  return api
end
local function load_mode(on)
  seen.__index = on and of_library or real_globals
end
-- Joining texts uses a buffer that a collection halves down to 64 bytes at most: this brings it back to those.
local half = ("x"):rep(32)
local whole = half .. half
local function reset()
  for key in next, made do
    made[key] = false
  end
  seen.__index = real_globals
  return #(half .. half) == #whole
end
return globals, raw_xpcall, load_mode, reset
