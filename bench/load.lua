-- What wrk sends: `wrk ... -s load.lua URL -- METHOD PATHS START SIZE`
--
-- PATHS is a file with one target a line; an "@" in it stands for a number that no request before had.
-- Without a body (SIZE 0) each request asks for one of them, drawn at random, from requests made
-- beforehand. With one, the targets take turns, and each body of SIZE bytes begins with the number and
-- goes on with bytes that nobody can compress.

local method, size, number
local requests, heads = {}, {}
local body = ""

local function noise(count)
  local bytes = {}
  for at = 1, count do bytes[at] = string.char(math.random(0, 255)) end
  return table.concat(bytes)
end

function init(args)
  method, number, size = args[1], tonumber(args[3]), tonumber(args[4])
  math.randomseed(number)
  for path in io.lines(args[2]) do
    if size == 0 then
      requests[#requests + 1] = wrk.format(method, path)
    else
      heads[#heads + 1] = path
    end
  end
  if size > 0 then body = noise(size - 16) end
end

local function with_body()
  number = number + 1
  local name = string.format("%016d", number)
  local path = heads[number % #heads + 1]:gsub("@", name, 1)
  return method .. " " .. path .. " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " .. size
    .. "\r\nContent-Type: application/octet-stream\r\n\r\n" .. name .. body
end

function request()
  if size > 0 then return with_body() end
  return requests[math.random(#requests)]
end

function done(summary)
  local e = summary.errors
  io.write(string.format("\nsample %d %d %d %d\n", summary.requests, summary.duration, summary.bytes,
    e.status + e.connect + e.read + e.write + e.timeout))
end
