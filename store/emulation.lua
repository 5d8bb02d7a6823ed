-- A thin emulation of what Aerospike gives its Lua functions: the record, `map`, `list`, `bytes` and `aerospike`.
--
-- Values come in and go out as MessagePack: bin is bytes, str is a string, array a list, map a map. Large bins, and bytes
-- in lists, are decoded when they are first asked for, and what was not touched is written back as it was.
-- What is promised to behave as in the server stands in tests/store/test_emulation.py.
--
-- The chunk returns run(function name, arguments, head, utxos, inputs, outputs): MessagePack or nil in, the rule's result
-- and the saved bins (nil: none) out. `head` is a map of all other bins; nil where the record does not exist.

local rules_source = ...

-- Nearly all that a call makes is garbage when it returns.
collectgarbage("generational")

local byte, sub, concat, pack, unpack = string.byte, string.sub, table.concat, string.pack, string.unpack
local setmetatable, getmetatable, rawget, mathtype, error = setmetatable, getmetatable, rawget, math.type, error

-- Stands for a nil where one is stored: in a list, a map, or a bin that is to be removed.
local NIL = setmetatable({}, { __name = "nil" })

-- Where a map or a record keeps what is in it: a key that no rule can use.
local CONTENT = {}

local Bytes = { __name = "Bytes" }
local List = { __name = "List" }
local Map = { __name = "Map" }
local Record = { __name = "Record" }

local function stored(value)
    if value == nil then
        return NIL
    end
    return value
end

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
-- MessagePack

local decode

-- A list keeps its source and where each element begins; `items` holds what was decoded or assigned. Bytes, of which
-- there can be many, are decoded when they are asked for.
local function decode_list(source, position, count)
    local at, items = {}, {}
    for i = 1, count do
        at[i] = position
        if byte(source, position) == 0xc4 then
            position = position + 2 + byte(source, position + 1)
        else
            local item
            item, position = decode(source, position)
            items[i] = stored(item)
        end
    end
    at[count + 1] = position
    return setmetatable({ source = source, at = at, items = items, size = count }, List), position
end

local function decode_map(source, position, count)
    local items = {}
    local key, value
    for _ = 1, count do
        key, position = decode(source, position)
        value, position = decode(source, position)
        items[key] = stored(value)
    end
    return setmetatable({ [CONTENT] = items }, Map), position
end

local function decode_bytes(format)
    return function(source, position)
        local content, after = unpack(format, source, position)
        return setmetatable({ content = content }, Bytes), after
    end
end

local function decode_plain(format)
    return function(source, position)
        return unpack(format, source, position)
    end
end

local function decode_container(decoder, format)
    return function(source, position)
        local count, after = unpack(format, source, position)
        return decoder(source, after, count)
    end
end

local DECODERS = {
    [0xc0] = function(_, position) return nil, position end,
    [0xc2] = function(_, position) return false, position end,
    [0xc3] = function(_, position) return true, position end,
    [0xc5] = decode_bytes(">s2"), [0xc6] = decode_bytes(">s4"),
    [0xca] = decode_plain(">f"), [0xcb] = decode_plain(">d"),
    [0xcc] = decode_plain(">I1"), [0xcd] = decode_plain(">I2"),
    [0xce] = decode_plain(">I4"), [0xcf] = decode_plain(">i8"),
    [0xd0] = decode_plain(">i1"), [0xd1] = decode_plain(">i2"),
    [0xd2] = decode_plain(">i4"), [0xd3] = decode_plain(">i8"),
    [0xd9] = decode_plain(">s1"), [0xda] = decode_plain(">s2"), [0xdb] = decode_plain(">s4"),
    [0xdc] = decode_container(decode_list, ">I2"), [0xdd] = decode_container(decode_list, ">I4"),
    [0xde] = decode_container(decode_map, ">I2"), [0xdf] = decode_container(decode_map, ">I4"),
}

-- The value at a position, and the position after it.
function decode(source, position)
    local tag = byte(source, position)
    if tag < 0x80 then
        return tag, position + 1
    elseif tag == 0xc4 then
        local content, after = unpack("s1", source, position + 1)
        return setmetatable({ content = content }, Bytes), after
    elseif tag >= 0xe0 then
        return tag - 0x100, position + 1
    elseif tag >= 0xa0 and tag < 0xc0 then
        local after = position + tag - 0x9f
        return sub(source, position + 1, after - 1), after
    elseif tag < 0x90 then
        return decode_map(source, position + 1, tag - 0x80)
    elseif tag < 0xa0 then
        return decode_list(source, position + 1, tag - 0x90)
    end
    return DECODERS[tag](source, position + 1)
end

-- Every byte as a string, by its value.
local CHARS = {}
for i = 0, 255 do
    CHARS[i] = string.char(i)
end

local function encode_integer(value)
    if value >= 0 then
        if value < 0x80 then
            return CHARS[value]
        elseif value <= 0xffff then
            return pack(">BI2", 0xcd, value)
        elseif value <= 0xffffffff then
            return pack(">BI4", 0xce, value)
        end
    elseif value >= -32 then
        return pack("b", value)
    end
    return pack(">Bi8", 0xd3, value)
end

-- Bytes of a value whose tag tells its size.
local SIZES = {
    [0xc0] = 1, [0xc2] = 1, [0xc3] = 1, [0xca] = 5, [0xcb] = 9, [0xcc] = 2, [0xcd] = 3, [0xce] = 5, [0xcf] = 9,
    [0xd0] = 2, [0xd1] = 3, [0xd2] = 5, [0xd3] = 9,
}
for tag = 0, 0x7f do
    SIZES[tag] = 1
end
for tag = 0xe0, 0xff do
    SIZES[tag] = 1
end
for tag = 0xa0, 0xbf do
    SIZES[tag] = tag - 0x9f
end

-- The position after a value.
local skip
function skip(source, position)
    local tag = byte(source, position)
    local size = SIZES[tag]
    if size then
        return position + size
    elseif tag == 0xc4 then
        return position + 2 + byte(source, position + 1)
    elseif tag > 0x8f and tag < 0xa0 then
        position = position + 1
        for _ = 0x91, tag do
            position = skip(source, position)
        end
        return position
    end
    local _, after = decode(source, position)
    return after
end

local function encode_count(count, small, limit, tag)
    if count < limit then
        return CHARS[small + count]
    end
    return pack(">BI4", tag, count)
end

local encode

local function encode_list(self)
    local parts, count = { encode_count(self.size, 0x90, 16, 0xdd) }, 1
    local items, at, source = self.items, rawget(self, "at"), rawget(self, "source")
    local i, size = 1, self.size
    while i <= size do
        local item = items[i]
        count = count + 1
        if item ~= nil then
            parts[count] = encode(item)
        else
            -- A run of elements that nobody looked at.
            local first = i
            while i < size and items[i + 1] == nil do
                i = i + 1
            end
            parts[count] = sub(source, at[first], at[i + 1] - 1)
        end
        i = i + 1
    end
    return concat(parts)
end

local function encode_map(self)
    local parts, count = {}, 0
    for key, value in next, self[CONTENT] do
        count = count + 1
        parts[count] = encode(key) .. encode(value)
    end
    return encode_count(count, 0x80, 16, 0xdf) .. concat(parts)
end

local function encode_bytes(self)
    local content = self.content
    return #content < 256 and "\xc4" .. CHARS[#content] .. content or pack(">Bs4", 0xc6, content)
end

local ENCODERS = { [Bytes] = encode_bytes, [List] = encode_list, [Map] = encode_map }

function encode(value)
    local kind = type(value)
    if kind == "string" then
        return #value < 32 and CHARS[0xa0 + #value] .. value or pack(">Bs4", 0xdb, value)
    elseif kind == "number" then
        return mathtype(value) == "integer" and encode_integer(value) or pack(">Bd", 0xcb, value)
    elseif kind == "boolean" then
        return value and "\xc3" or "\xc2"
    elseif value == nil or value == NIL then
        return "\xc0"
    end
    local encoder = ENCODERS[getmetatable(value)]
    if encoder == nil then
        error("a value of type " .. kind .. " cannot be stored")
    end
    return encoder(value)
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
    if kind == "function" or kind == "userdata" or (kind == "table" and ENCODERS[getmetatable(value)] == nil) then
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
    return state.exists and save(state) or 1
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

return function(name, arguments, head, utxos, inputs, outputs)
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
