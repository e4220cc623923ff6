-- The least that a script needs to do of what Spillway does: name the caller and the model, read the tokens that the answer
-- used, add them up, refuse a caller who has used too many. Each worker has a count of its own; none is ever taken back.

local MOST = 1000000000000
local used = {}

function envoy_on_request(request)
  local caller = request:headers():get("authorization") or "nobody"
  local body = request:body()
  local model = body and string.match(body:getBytes(0, body:length()), '"model":%s*"([^"]+)"') or "none"
  local key = caller .. " " .. model
  request:streamInfo():dynamicMetadata():set("count", "key", key)
  if (used[key] or 0) > MOST then
    request:respond({[":status"] = "429"}, "too many tokens")
  end
end

function envoy_on_response(response)
  local known = response:streamInfo():dynamicMetadata():get("count")
  -- Streams go on as they come: kept is the end, where usage stands.
  local tail = ""
  for chunk in response:bodyChunks() do
    tail = string.sub(tail .. chunk:getBytes(0, chunk:length()), -2048)
  end
  local tokens = tonumber(string.match(tail, '"total_tokens":%s*(%d+)'))
  if known and tokens then
    used[known["key"]] = (used[known["key"]] or 0) + tokens
  end
end
