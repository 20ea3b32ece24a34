-- What wrk sends: `wrk ... -s load.lua URL -- METHOD PATHS START SIZE HEADS [LENGTH FILE_SIZE]`
--
-- PATHS is a file with one target a line; an "@" in it stands for a number that no request before had.
-- Without a body (SIZE 0) each request asks for one of them, drawn at random. HEADS is what else a head has:
--   equal    nothing; requests for one target are the same to the byte
--   proxied  X-Request-Id and X-Forwarded-For, as a reverse proxy adds them; no two requests are the same
--   agent    a User-Agent; no two requests are the same
--   ranged   a Range of LENGTH bytes of a file of FILE_SIZE bytes; no two requests are the same
-- All that does not differ is made beforehand. With a body, the targets take turns, and each body of SIZE
-- bytes begins with the number and goes on with bytes that nobody can compress.

local method, size, number, make
local requests, targets = {}, {}
local body = ""

local function noise(count)
  local bytes = {}
  for at = 1, count do bytes[at] = string.char(math.random(0, 255)) end
  return table.concat(bytes)
end

local function equal()
  return requests[math.random(#requests)]
end

local function open_heads(field)
  for at = 1, #requests do requests[at] = requests[at]:sub(1, -3) .. field end
end

local function proxied()
  open_heads("X-Request-Id: ")
  local ids, clients = {}, {}
  for at = 1, 1000 do ids[at] = string.format("%010x%010x", math.random(2^31), math.random(2^31)) end
  for at = 1, 10007 do
    clients[at] = string.format("\r\nX-Forwarded-For: 10.%d.%d.%d\r\n\r\n", math.random(0, 255),
      math.random(0, 255), math.random(254))
  end
  return function()
    number = number + 1
    return requests[math.random(#requests)] .. ids[number % #ids + 1] .. string.format("%012x", number)
      .. clients[number % #clients + 1]
  end
end

local function agent()
  open_heads("User-Agent: ")
  return function()
    number = number + 1
    return requests[math.random(#requests)] .. string.format("client/%012x\r\n\r\n", number)
  end
end

local function ranged(length, file_size)
  open_heads("Range: bytes=")
  local last = file_size - length
  return function()
    number = number + 1
    -- 7919 is prime: all starts of a range are used for each target before one comes again.
    local start = math.floor(number / #requests) * 7919 % (last + 1)
    return requests[number % #requests + 1] .. string.format("%d-%d\r\n\r\n", start, start + length - 1)
  end
end

local function with_body()
  number = number + 1
  local name = string.format("%016d", number)
  local path = targets[number % #targets + 1]:gsub("@", name, 1)
  return method .. " " .. path .. " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " .. size
    .. "\r\nContent-Type: application/octet-stream\r\n\r\n" .. name .. body
end

function init(args)
  method, number, size = args[1], tonumber(args[3]), tonumber(args[4])
  math.randomseed(number)
  for path in io.lines(args[2]) do
    requests[#requests + 1] = wrk.format(method, path)
    targets[#targets + 1] = path
  end
  if size > 0 then
    body, make = noise(size - 16), with_body
  elseif args[5] == "proxied" then
    make = proxied()
  elseif args[5] == "agent" then
    make = agent()
  elseif args[5] == "ranged" then
    make = ranged(tonumber(args[6]), tonumber(args[7]))
  else
    make = equal
  end
end

function request()
  return make()
end

function done(summary)
  local e = summary.errors
  io.write(string.format("\nsample %d %d %d %d\n", summary.requests, summary.duration, summary.bytes,
    e.status + e.connect + e.read + e.write + e.timeout))
end
