-- A thin emulation of what Aerospike gives its Lua functions: the record, `map`, `list`, `bytes` and `aerospike`.
--
-- What is promised to behave as in the server stands in tests/store/test_emulation.py.
--
-- The chunk returns run(function name, arguments, head, utxos, inputs, outputs): MessagePack or nil in, the rule's result
-- and the saved bins (nil: none) out. `head` is a map of all other bins; nil where the record does not exist. And the
-- names of all rules.

local values, rules_source = ...

-- Nearly all that a call makes is garbage when it returns.
collectgarbage("generational")

local byte, sub, concat, pack, unpack = string.byte, string.sub, table.concat, string.pack, string.unpack
local setmetatable, getmetatable, rawget, mathtype, error = setmetatable, getmetatable, rawget, math.type, error

local NIL, CONTENT, Bytes, List, Map = values.NIL, values.CONTENT, values.Bytes, values.List, values.Map
local stored, decode, skip, encode, encode_count =
    values.stored, values.decode, values.skip, values.encode, values.encode_count

local Record = { __name = "Record" }

local function refuse_argument(class)
    error("bad argument: " .. class.__name .. " expected", 3)
end

local function check(value, class)
    if getmetatable(value) ~= class then
        refuse_argument(class)
    end
    return value
end

---------------------------------------------------------------------------------------------------------------------
-- bytes

local bytes = setmetatable({}, {
    __call = function()
        return setmetatable({ content = "" }, Bytes)
    end,
})

function bytes.size(self)
    if getmetatable(self) ~= Bytes then
        refuse_argument(Bytes)
    end
    return #self.content
end

function bytes.get_string(self, position, length)
    if getmetatable(self) ~= Bytes then
        refuse_argument(Bytes)
    end
    if position < 1 or length < 0 or position + length - 1 > #self.content then
        error("read outside of bytes: a server would give what lies in its memory there", 2)
    end
    return sub(self.content, position, position + length - 1)
end

function bytes.get_bytes(self, position, length)
    return setmetatable({ content = bytes.get_string(self, position, length) }, Bytes)
end

function bytes.set_string(self, position, value)
    local content = check(self, Bytes).content
    if position == 1 and #content <= #value then
        self.content = value
        return true
    end
    local gap = position - 1 - #content
    local before = sub(content, 1, position - 1) .. (gap > 0 and ("\0"):rep(gap) or "")
    self.content = before .. value .. sub(content, position + #value)
    return true
end

function bytes.set_bytes(self, position, value, length)
    return bytes.set_string(self, position, sub(check(value, Bytes).content, 1, length))
end

function bytes.append_string(self, value)
    return bytes.set_string(self, bytes.size(self) + 1, value)
end

function bytes.append_bytes(self, value, length)
    return bytes.set_bytes(self, bytes.size(self) + 1, value, length)
end

-- The numbers: signed, big-endian unless the name says otherwise; nil where the bytes end before.
local function define_number(name, format, width)
    bytes["get_" .. name] = function(self, position)
        local content = check(self, Bytes).content
        if position < 1 or position + width - 1 > #content then
            return nil
        end
        return (unpack(format, content, position))
    end
    bytes["set_" .. name] = function(self, position, value)
        return bytes.set_string(self, position, pack(format, value))
    end
    bytes["append_" .. name] = function(self, value)
        return bytes.append_string(self, pack(format, value))
    end
end

define_number("byte", "B", 1)
for width, name in pairs({ [2] = "int16", [4] = "int32", [8] = "int64" }) do
    define_number(name, ">i" .. width, width)
    define_number(name .. "_be", ">i" .. width, width)
    define_number(name .. "_le", "<i" .. width, width)
end

Bytes.__index = bytes.get_byte
Bytes.__newindex = bytes.set_byte
Bytes.__len = bytes.size

---------------------------------------------------------------------------------------------------------------------
-- list

local function get_item(self, index)
    local item = self.items[index]
    if item ~= nil and index > self.size then
        return nil -- was trimmed
    end
    if item == nil then
        if mathtype(index) ~= "integer" or index < 1 or index > self.size then
            return nil
        end
        item = stored((decode(self.source, self.at[index])))
        self.items[index] = item
    end
    if item == NIL then
        return nil
    end
    return item
end

local function set_item(self, index, value)
    if index < 1 then
        return
    end
    for i = self.size + 1, index - 1 do
        self.items[i] = NIL
    end
    if index > self.size then
        rawset(self, "size", index)
    end
    self.items[index] = stored(value)
end

List.__index = get_item
List.__newindex = set_item
List.__len = function(self) return self.size end

local list = setmetatable({}, {
    __call = function(_, values)
        local self = setmetatable({ items = {}, size = 0 }, List)
        if values then
            for i, value in ipairs(values) do
                set_item(self, i, value)
            end
        end
        return self
    end,
})

function list.size(self)
    return check(self, List).size
end

function list.append(self, value)
    set_item(self, check(self, List).size + 1, value)
end

function list.remove(self, index)
    local size = check(self, List).size
    if index < 1 or index > size then
        return
    end
    for i = index, size - 1 do
        self.items[i] = stored(get_item(self, i + 1))
    end
    self.items[size] = nil
    rawset(self, "size", size - 1)
end

-- Takes away the elements from this index on.
function list.trim(self, index)
    if index >= 1 and index <= check(self, List).size then
        rawset(self, "size", index - 1)
    end
end

-- Stops at the first nil, as the server's does.
function list.iterator(self)
    local index = 0
    check(self, List)
    return function()
        index = index + 1
        return get_item(self, index)
    end
end

---------------------------------------------------------------------------------------------------------------------
-- map

Map.__index = function(self, key)
    local value = self[CONTENT][key]
    if value == NIL then
        return nil
    end
    return value
end

Map.__newindex = function(self, key, value)
    if key == nil then
        return
    end
    if type(key) ~= "string" and mathtype(key) ~= "integer" then
        error("a map's key is a string or an integer", 2)
    end
    self[CONTENT][key] = stored(value)
end

local map = setmetatable({}, {
    __call = function(_, values)
        local self = setmetatable({ [CONTENT] = {} }, Map)
        if values then
            for key, value in pairs(values) do
                self[key] = value
            end
        end
        return self
    end,
})

-- room: for how many.
function map.create(room)
    if mathtype(room) ~= "integer" or room < 1 then
        return nil
    end
    return map()
end

function map.size(self)
    local size = 0
    for _ in next, check(self, Map)[CONTENT] do
        size = size + 1
    end
    return size
end

Map.__len = map.size

function map.remove(self, key)
    check(self, Map)[CONTENT][key] = nil
end

function map.pairs(self)
    local content, key, value = check(self, Map)[CONTENT], nil, nil
    return function()
        key, value = next(content, key)
        if value == NIL then
            value = nil
        end
        return key, value
    end
end

map.iterator = map.pairs

---------------------------------------------------------------------------------------------------------------------
-- record and aerospike

-- A record's state: `bins` by name, decoded or assigned; `lazy`, the bins that were not decoded yet: where in `head` they
-- begin, or what they hold; `assigned`, the names not saved yet; `saved`, what is to be written.
Record.__index = function(self, name)
    local state = self[CONTENT]
    local value = state.bins[name]
    if value == nil then
        local lazy = state.lazy[name]
        if lazy == nil then
            return nil
        elseif mathtype(lazy) then
            value = decode(state.head, lazy)
        else
            value = decode(lazy, 1)
        end
        state.bins[name] = value
    end
    if value == NIL then
        return nil
    end
    return value
end

Record.__newindex = function(self, name, value)
    local kind = type(value)
    if kind == "function" or kind == "userdata" or (kind == "table" and not values.is_value(getmetatable(value))) then
        error("can't set bin " .. name .. " to unsupported type", 2)
    end
    local state = self[CONTENT]
    state.bins[name] = stored(value)
    state.assigned[name] = true
end

local aerospike = {}

local function save(state)
    state.saved = state.saved or {}
    for name in next, state.assigned do
        state.saved[name] = encode(state.bins[name])
    end
    state.assigned = {}
    return 0
end

function aerospike.exists(_, rec)
    return check(rec, Record)[CONTENT].exists
end

function aerospike.create(_, rec)
    local state = check(rec, Record)[CONTENT]
    if state.exists then
        return 1
    end
    state.exists = true
    return save(state)
end

function aerospike.update(_, rec)
    local state = check(rec, Record)[CONTENT]
    return state.exists and save(state) or -2
end

---------------------------------------------------------------------------------------------------------------------
-- Running a rule

local SANDBOX = {
    aerospike = aerospike, map = map, list = list, bytes = bytes,
    math = math, string = string, table = table, pcall = pcall, error = error, type = type, tostring = tostring,
    tonumber = tonumber, pairs = pairs, ipairs = ipairs, next = next, select = select,
}

local rules = setmetatable({}, { __index = SANDBOX })
assert(load(rules_source, "=utxo.lua", "t", rules))()

local function read_map_count(packed)
    local tag = byte(packed, 1)
    if tag < 0x90 then
        return tag - 0x80, 2
    end
    return unpack(tag == 0xde and ">I2" or ">I4", packed, 2)
end

-- Gives tables with room for so many names: growing them step by step takes longer than filling them.
local function define_table(room)
    return load("return {" .. ("_ = nil,"):rep(room) .. "}")
end

local new_bins, new_lazy = define_table(16), define_table(8)

-- The bins that are small integers or flags, and where the others begin.
local function scan_bins(head)
    local count, position = read_map_count(head)
    local bins, lazy = new_bins(), new_lazy()
    for _ = 1, count do
        -- A bin's name has at most 15 characters: always the shortest form of a string.
        local after = position + byte(head, position) - 0x9f
        local name, tag = sub(head, position + 1, after - 1), byte(head, after)
        position = after + 1
        if tag < 0x80 then
            bins[name] = tag
        elseif tag == 0xc2 then
            bins[name] = false
        elseif tag == 0xc3 then
            bins[name] = true
        else
            lazy[name], position = after, skip(head, after)
        end
    end
    return bins, lazy
end

-- At most 15: what an array's shortest form holds, and more than any rule takes.
local function decode_arguments(packed)
    local values, count, position = {}, byte(packed, 1) - 0x90, 2
    for i = 1, count do
        values[i], position = decode(packed, position)
    end
    return table.unpack(values, 1, count)
end

local function pack_saved(saved)
    local parts, count = {}, 0
    for name, value in next, saved do
        count = count + 1
        parts[count] = encode(name) .. value
    end
    return encode_count(count, 0x80, 16, 0xdf) .. concat(parts)
end

local function run(name, arguments, head, utxos, inputs, outputs)
    local rule = rawget(rules, name)
    if rule == nil then
        error("no rule has the name " .. name, 0)
    end
    local bins, lazy = scan_bins(head or "\x80")
    lazy.utxos, lazy.inputs, lazy.outputs = utxos or lazy.utxos, inputs or lazy.inputs, outputs or lazy.outputs
    local state = { exists = head ~= nil, head = head, bins = bins, lazy = lazy, assigned = {}, saved = nil }
    local rec = setmetatable({ [CONTENT] = state }, Record)
    local result = rule(rec, decode_arguments(arguments))
    return encode(result), state.saved and pack_saved(state.saved)
end

local names = {}
for name, value in next, rules do
    if type(value) == "function" then
        names[#names + 1] = name
    end
end

return run, names
