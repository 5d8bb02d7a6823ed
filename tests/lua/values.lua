-- The values of the emulation (see emulation.lua), and MessagePack for them: bin is bytes, str is a string, array a list,
-- map a map. Bytes in lists are decoded when they are first asked for, and what was not touched is written back as it was.
--
-- The chunk returns a table of what emulation.lua needs.

local byte, sub, concat, pack, unpack = string.byte, string.sub, table.concat, string.pack, string.unpack
local setmetatable, getmetatable, rawget, mathtype, error = setmetatable, getmetatable, rawget, math.type, error

-- Stands for a nil where one is stored: in a list, a map, or a bin that is to be removed.
local NIL = setmetatable({}, { __name = "nil" })

-- Where a map or a record keeps what is in it: a key that no rule can use.
local CONTENT = {}

local Bytes = { __name = "Bytes" }
local List = { __name = "List" }
local Map = { __name = "Map" }

local function stored(value)
    if value == nil then
        return NIL
    end
    return value
end

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
    elseif tag < 0xc0 then
        if tag >= 0xa0 then
            local after = position + tag - 0x9f
            return sub(source, position + 1, after - 1), after
        elseif tag < 0x90 then
            return decode_map(source, position + 1, tag - 0x80)
        end
        return decode_list(source, position + 1, tag - 0x90)
    elseif tag == 0xc4 then
        local content, after = unpack("s1", source, position + 1)
        return setmetatable({ content = content }, Bytes), after
    elseif tag >= 0xe0 then
        return tag - 0x100, position + 1
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

return {
    NIL = NIL,
    CONTENT = CONTENT,
    Bytes = Bytes,
    List = List,
    Map = Map,
    is_value = function(metatable) return ENCODERS[metatable] ~= nil end,
    stored = stored,
    decode = decode,
    skip = skip,
    encode = encode,
    encode_count = encode_count,
}
