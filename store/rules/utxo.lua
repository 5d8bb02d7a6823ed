-- The rules of the UTXO set: functions that run inside the store, atomic per record.
--
-- Runs unchanged as an Aerospike UDF module (Lua 5.4) and in the embedded store. A rule is called as
-- `rule(rec, arguments...)` and returns a map: `status` OK or ERROR, and where they apply `errorCode`, `message`,
-- `spendingData`, `errors`, `applied`, `signal`, `childCount`, `blockIDs`. A rule that refuses has changed nothing.
--
-- Mind: only a bin that is assigned is saved; `==` on bytes compares identities, so what is in them is taken out as a
-- string, once; what is read past the end of bytes is memory of somebody else's, so their size is asked first; a list's
-- iterator stops at the first nil, so lists are walked by index; `map[k] = nil` stores a nil.

-- A call costs the server its own part, each call from Lua into it, and each value that it hands out, which is a userdata
-- with a finalizer. So what a rule needs is asked for once, functions are locals, and a UTXO is changed in place.

local HASH_BYTES = 32
local SPENDING_DATA_BYTES = 36
local SPENT_BYTES = 68
local FROZEN = string.rep("\255", SPENDING_DATA_BYTES)
-- A server takes an index modulo 2^32.
local MAX_OFFSET = 0xFFFFFFFE

local sizeOf, stringOf, appendString = bytes.size, bytes.get_string, bytes.append_string
local typeOf = math.type

---------------------------------------------------------------------------------------------------------------------
-- Results

-- How many names a result has room for at first: a map has room for 32 where it is not told.
local RESULT_ROOM = 8

local function succeed()
    local result = map.create(RESULT_ROOM)
    result["status"] = "OK"
    return result
end

-- spender: hexadecimal spending data, or nil.
local function describe(failure, code, message, spender)
    failure["errorCode"] = code
    failure["message"] = message
    if spender then
        failure["spendingData"] = spender
    end
    return failure
end

local function refuse(code, message, spender)
    local result = map.create(RESULT_ROOM)
    result["status"] = "ERROR"
    return describe(result, code, message, spender)
end

local function refuseParameter(message)
    return refuse("INVALID_PARAMETER", message)
end

local function refuseMissing()
    return refuse("TX_NOT_FOUND", "no such transaction")
end

-- Adds what a caller needs to act on the signal, if there is one.
local function addSignal(result, rec, signal)
    if signal then
        result["signal"] = signal
        if rec["external"] then
            result["childCount"] = rec["totalExtraRecs"] or 0
        end
    end
    return result
end

---------------------------------------------------------------------------------------------------------------------
-- Input

-- The content of bytes of this size, as a string; nil for bytes of another. Raises an error for anything else.
local function contentOf(value, size)
    if sizeOf(value) == size then
        return stringOf(value, 1, size)
    end
    return nil
end

local function toBytes(content)
    local value = bytes(#content)
    bytes.set_string(value, 1, content)
    return value
end

local function isIndex(value)
    return typeOf(value) == "integer" and value >= 0
end

-- The output that a rule is about: its offset, and its hash as a string. Or nil, and what is wrong. Raises an error
-- where the hash is no bytes.
local function parseTarget(offset, utxoHash)
    if not isIndex(offset) then
        return nil, "offset is no unsigned integer"
    end
    local hash = contentOf(utxoHash, HASH_BYTES)
    if hash == nil then
        return nil, "utxo hash is not 32 bytes"
    end
    return { offset = offset, hash = hash, spender = nil, idx = nil }
end

-- As above, with the spending data as a string.
local function parseSpend(offset, utxoHash, spendingData)
    local target, fault = parseTarget(offset, utxoHash)
    if target == nil then
        return nil, fault
    end
    local spender = contentOf(spendingData, SPENDING_DATA_BYTES)
    if spender == nil then
        return nil, "spending data is not 36 bytes"
    end
    if spender == FROZEN then
        return nil, "spending data is the mark of a frozen output"
    end
    target.spender = spender
    return target
end

-- What a parser gives; or nil and what is wrong, also where a value is of a kind that it can't look into.
local function try(parser, ...)
    local isParsed, parsed, fault = pcall(parser, ...)
    if isParsed then
        return parsed, fault
    end
    return nil, "a value is of another kind than it must be"
end

---------------------------------------------------------------------------------------------------------------------
-- UTXOs

-- A txid, or spending data that begin with one, in display order.
local function txidHex(content)
    local a, b, c, d = string.unpack("<i8i8i8i8", content)
    return string.format("%016x%016x%016x%016x", d, c, b, a)
end

-- Spending data as results give them: the txid in display order, then the input index as it is stored.
local function spenderHex(spender)
    return txidHex(spender) .. string.format("%08x", (string.unpack(">I4", spender, HASH_BYTES + 1)))
end

-- The spender of a target's UTXO, or "" where it is unspent, and the UTXO; or nil, and the code and message of the
-- refusal.
local function findSpender(utxos, target)
    local utxo = nil
    if target.offset <= MAX_OFFSET then
        utxo = utxos[target.offset + 1]
    end
    if utxo == nil then
        return nil, "UTXO_NOT_FOUND", "no UTXO at this offset"
    end
    local size = sizeOf(utxo)
    if size ~= HASH_BYTES and size ~= SPENT_BYTES then
        return nil, "UTXO_INVALID_SIZE", "the stored UTXO has " .. size .. " bytes"
    end
    if stringOf(utxo, 1, HASH_BYTES) ~= target.hash then
        return nil, "UTXO_HASH_MISMATCH", "the output at this offset has another hash"
    end
    return size == HASH_BYTES and "" or stringOf(utxo, HASH_BYTES + 1, SPENDING_DATA_BYTES), utxo
end

-- The record's list of UTXOs and the target's spender; or nil, nil and the refusal.
local function openUtxo(rec, target)
    if not aerospike:exists(rec) then
        return nil, nil, refuseMissing()
    end
    local utxos = rec["utxos"]
    if utxos == nil then
        return nil, nil, refuse("UTXOS_NOT_FOUND", "the record has no UTXOs")
    end
    local spender, code, message = findSpender(utxos, target)
    if spender == nil then
        return nil, nil, refuse(code, message)
    end
    return utxos, spender
end

-- Assigns a target's UTXO; the record is still to be saved.
local function setUtxo(rec, utxos, offset, content)
    utxos[offset + 1] = toBytes(content)
    rec["utxos"] = utxos
end

---------------------------------------------------------------------------------------------------------------------
-- The delete-at-height rule. Each part returns the signal, or nil, and whether a bin was assigned.

local function updateChildState(rec)
    local unspentUtxos = rec["recordUtxos"] - rec["spentUtxos"]
    local state = unspentUtxos == 0 and "ALLSPENT" or "NOTALLSPENT"
    -- Before the first signal a child counts as not spent, but for one that never had a UTXO.
    local before = rec["lastSpentState"] or (rec["recordUtxos"] == 0 and "ALLSPENT" or "NOTALLSPENT")
    if state == before then
        return nil, false
    end
    rec["lastSpentState"] = state
    return state, true
end

local function isFinished(rec, totalExtraRecs)
    local blockIDs = rec["blockIDs"]
    return rec["spentUtxos"] == rec["recordUtxos"]
        and (rec["spentExtraRecs"] or 0) == totalExtraRecs
        and blockIDs ~= nil
        and list.size(blockIDs) > 0
        and rec["unminedSince"] == nil
end

local function updateDeleteAtHeight(rec, current, retention)
    local totalExtraRecs = rec["totalExtraRecs"]
    if totalExtraRecs == nil then
        return updateChildState(rec)
    end
    if retention == 0 then
        return nil, false
    end
    local before, after = rec["deleteAtHeight"], nil
    if rec["conflicting"] then
        after = before or current + retention
    elseif isFinished(rec, totalExtraRecs) then
        after = math.max(before or 0, current + retention)
    end
    if after == before or rec["preserveUntil"] ~= nil then
        return nil, false
    end
    rec["deleteAtHeight"] = after
    if not rec["external"] then
        return nil, true
    end
    return after and "DAHSET" or "DAHUNSET", true
end

-- Ends a rule that goes through the delete-at-height rule: saves what was assigned, and tells the caller.
local function conclude(rec, result, assigned, current, retention)
    local signal, marked = updateDeleteAtHeight(rec, current, retention)
    if assigned or marked then
        aerospike:update(rec)
    end
    return addSignal(result, rec, signal)
end

---------------------------------------------------------------------------------------------------------------------
-- Spending

-- The spends as Lua tables; or nil, and what is wrong with the first that is malformed. Raises an error where one is
-- no map, or has something else for bytes.
local function parseSpends(spends)
    local parsed = {}
    for i = 1, list.size(spends) do
        local spend = spends[i]
        local idx = spend["idx"]
        if not isIndex(idx) then
            return nil, "spend " .. i .. ": idx is no unsigned integer"
        end
        local target, fault = parseSpend(spend["offset"], spend["utxoHash"], spend["spendingData"])
        if target == nil then
            return nil, "spend " .. idx .. ": " .. fault
        end
        target.idx = idx
        parsed[i] = target
    end
    return parsed
end

-- The record's list of UTXOs; or nil, and the refusal of the whole record.
local function openForSpending(rec, ignoreConflicting, ignoreLocked, currentBlockHeight)
    if not aerospike:exists(rec) then
        return nil, refuseMissing()
    end
    if rec["creating"] then
        return nil, refuse("CREATING", "the transaction is still being created")
    end
    if not ignoreConflicting and rec["conflicting"] then
        return nil, refuse("CONFLICTING", "the transaction is conflicting")
    end
    if not ignoreLocked and rec["locked"] then
        return nil, refuse("LOCKED", "the transaction is locked")
    end
    local spendingHeight = rec["spendingHeight"]
    if spendingHeight and spendingHeight > currentBlockHeight then
        return nil, refuse("COINBASE_IMMATURE", "spendable from height " .. spendingHeight)
    end
    local utxos = rec["utxos"]
    if utxos == nil then
        return nil, refuse("UTXOS_NOT_FOUND", "the record has no UTXOs")
    end
    return utxos
end

-- The UTXO that a spend is to be applied to; false where its spender holds it already. Or nil, and the refusal's code,
-- message and spender.
local function judgeSpend(rec, utxos, spend, spendableIn, currentBlockHeight)
    local spender, utxo, message = findSpender(utxos, spend)
    if spender == nil then
        return nil, utxo, message
    end
    local height = spendableIn and spendableIn[spend.offset]
    if height and height >= currentBlockHeight then
        return nil, "FROZEN_UNTIL", "not spendable until height " .. height
    end
    if spender == "" then
        return utxo
    end
    if spender == spend.spender then
        local deleted = rec["deletedChildren"]
        if deleted and deleted[txidHex(spender)] ~= nil then
            return nil, "INVALID_SPEND", "the spending transaction was pruned", spenderHex(spender)
        end
        return false
    end
    if spender == FROZEN then
        return nil, "FROZEN", "the output is frozen"
    end
    return nil, "SPENT", "the output is spent", spenderHex(spender)
end

-- Applies the spends that can be applied. Returns the result of them all, and the map of the errors where there are any.
local function applySpends(rec, spends, ignoreConflicting, ignoreLocked, currentBlockHeight, blockHeightRetention)
    local utxos, refusal = openForSpending(rec, ignoreConflicting, ignoreLocked, currentBlockHeight)
    if utxos == nil then
        return refusal, nil
    end
    local result, applied, count, errors = succeed(), list(), 0, nil
    local spendableIn = rec["utxoSpendableIn"]
    for i = 1, #spends do
        local spend = spends[i]
        local utxo, code, message, spender = judgeSpend(rec, utxos, spend, spendableIn, currentBlockHeight)
        if utxo then
            appendString(utxo, spend.spender)
            list.append(applied, spend.idx)
            count = count + 1
        elseif code then
            errors = errors or map()
            errors[spend.idx] = describe(map.create(RESULT_ROOM), code, message, spender)
        end
    end
    if count > 0 then
        rec["utxos"] = utxos
        rec["spentUtxos"] = rec["spentUtxos"] + count
    end
    result["applied"] = applied
    if errors then
        result["status"] = "ERROR"
        result["errors"] = errors
    end
    local blockIDs = rec["blockIDs"]
    if blockIDs then
        result["blockIDs"] = blockIDs
    end
    conclude(rec, result, count > 0, currentBlockHeight, blockHeightRetention)
    -- Saved, and not wanted any more: it would keep the server's memory until it is collected, which counts Lua's alone.
    list.trim(utxos, 1)
    return result, errors
end

function spendMulti(rec, spends, ignoreConflicting, ignoreLocked, currentBlockHeight, blockHeightRetention)
    local parsed, fault = try(parseSpends, spends)
    if parsed == nil then
        return refuseParameter(fault)
    end
    return (applySpends(rec, parsed, ignoreConflicting, ignoreLocked, currentBlockHeight, blockHeightRetention))
end

-- spendMulti of one, with idx 0; for a server it is cheaper, since nothing has to be unpacked.
function spend(
    rec, offset, utxoHash, spendingData, ignoreConflicting, ignoreLocked, currentBlockHeight, blockHeightRetention
)
    local one, fault = try(parseSpend, offset, utxoHash, spendingData)
    if one == nil then
        return refuseParameter(fault)
    end
    one.idx = 0
    local result, errors = applySpends(
        rec, { one }, ignoreConflicting, ignoreLocked, currentBlockHeight, blockHeightRetention
    )
    if errors then
        local failure = errors[0]
        describe(result, failure["errorCode"], failure["message"], failure["spendingData"])
    end
    return result
end

function unspend(rec, offset, utxoHash, spendingData, currentBlockHeight, blockHeightRetention)
    local target, fault = try(parseSpend, offset, utxoHash, spendingData)
    if target == nil then
        return refuseParameter(fault)
    end
    local utxos, spender, refusal = openUtxo(rec, target)
    if refusal then
        return refusal
    end
    if spender == FROZEN then
        return refuse("FROZEN", "the output is frozen")
    end
    local isOwner = spender == target.spender
    if spender ~= "" and not isOwner then
        return refuse("SPENT", "the output is spent by another transaction", spenderHex(spender))
    end
    local result, applied = succeed(), list()
    if isOwner then
        setUtxo(rec, utxos, offset, target.hash)
        rec["spentUtxos"] = rec["spentUtxos"] - 1
        list.append(applied, 0)
    end
    result["applied"] = applied
    return conclude(rec, result, isOwner, currentBlockHeight, blockHeightRetention)
end

---------------------------------------------------------------------------------------------------------------------
-- Blocks

local function findBlock(blockIDs, blockID)
    for i = 1, list.size(blockIDs) do
        if blockIDs[i] == blockID then
            return i
        end
    end
    return nil
end

local function addBlock(rec, blockIDs, blockID, blockHeight, subtreeIdx)
    if findBlock(blockIDs, blockID) then
        return
    end
    local blockHeights, subtreeIdxs = rec["blockHeights"] or list(), rec["subtreeIdxs"] or list()
    list.append(blockIDs, blockID)
    list.append(blockHeights, blockHeight)
    list.append(subtreeIdxs, subtreeIdx)
    rec["blockIDs"], rec["blockHeights"], rec["subtreeIdxs"] = blockIDs, blockHeights, subtreeIdxs
end

local function removeBlock(rec, blockIDs, blockID)
    local position = findBlock(blockIDs, blockID)
    if position == nil then
        return
    end
    local blockHeights, subtreeIdxs = rec["blockHeights"], rec["subtreeIdxs"]
    list.remove(blockIDs, position)
    list.remove(blockHeights, position)
    list.remove(subtreeIdxs, position)
    rec["blockIDs"], rec["blockHeights"], rec["subtreeIdxs"] = blockIDs, blockHeights, subtreeIdxs
end

function setMined(
    rec, blockID, blockHeight, subtreeIdx, currentBlockHeight, blockHeightRetention, onLongestChain, unsetMined
)
    if not aerospike:exists(rec) then
        return refuseMissing()
    end
    local blockIDs = rec["blockIDs"] or list()
    if unsetMined then
        removeBlock(rec, blockIDs, blockID)
    else
        addBlock(rec, blockIDs, blockID, blockHeight, subtreeIdx)
    end
    if list.size(blockIDs) == 0 then
        rec["unminedSince"] = currentBlockHeight
    elseif onLongestChain then
        rec["unminedSince"] = nil
    end
    rec["locked"] = false
    rec["creating"] = nil
    local result = succeed()
    result["blockIDs"] = blockIDs
    result["childCount"] = rec["totalExtraRecs"] or 0
    return conclude(rec, result, true, blockHeight, blockHeightRetention)
end

---------------------------------------------------------------------------------------------------------------------
-- Alerts: freezing and reassigning

function freeze(rec, offset, utxoHash)
    local target, fault = try(parseTarget, offset, utxoHash)
    if target == nil then
        return refuseParameter(fault)
    end
    local utxos, spender, refusal = openUtxo(rec, target)
    if refusal then
        return refusal
    end
    if spender == FROZEN then
        return refuse("ALREADY_FROZEN", "the output is frozen already")
    end
    if spender ~= "" then
        return refuse("SPENT", "the output is spent", spenderHex(spender))
    end
    setUtxo(rec, utxos, offset, target.hash .. FROZEN)
    aerospike:update(rec)
    return succeed()
end

-- The record's list of UTXOs, where the target is frozen; or nil and the refusal.
local function openFrozen(rec, target)
    local utxos, spender, refusal = openUtxo(rec, target)
    if refusal then
        return nil, refusal
    end
    if spender == "" then
        return nil, refuse("UTXO_INVALID_SIZE", "the output is not frozen: it has 32 bytes")
    end
    if spender ~= FROZEN then
        return nil, refuse("UTXO_NOT_FROZEN", "the output is not frozen: it is spent", spenderHex(spender))
    end
    return utxos
end

function unfreeze(rec, offset, utxoHash)
    local target, fault = try(parseTarget, offset, utxoHash)
    if target == nil then
        return refuseParameter(fault)
    end
    local utxos, refusal = openFrozen(rec, target)
    if refusal then
        return refusal
    end
    setUtxo(rec, utxos, offset, target.hash)
    aerospike:update(rec)
    return succeed()
end

function reassign(rec, offset, utxoHash, newUtxoHash, blockHeight, spendableAfter)
    local target, fault = try(parseTarget, offset, utxoHash)
    local newHash = try(contentOf, newUtxoHash, HASH_BYTES)
    if target == nil or newHash == nil then
        return refuseParameter(fault or "new utxo hash is not 32 bytes")
    end
    local utxos, refusal = openFrozen(rec, target)
    if refusal then
        return refusal
    end
    setUtxo(rec, utxos, offset, newHash)

    local reassignment = map()
    reassignment["offset"] = offset
    reassignment["utxoHash"] = utxoHash
    reassignment["newUtxoHash"] = newUtxoHash
    reassignment["blockHeight"] = blockHeight
    local reassignments = rec["reassignments"] or list()
    list.append(reassignments, reassignment)
    rec["reassignments"] = reassignments

    local spendableIn = rec["utxoSpendableIn"] or map()
    spendableIn[offset] = blockHeight + spendableAfter
    rec["utxoSpendableIn"] = spendableIn

    -- One more than can ever be spent: the record is never pruned.
    rec["recordUtxos"] = rec["recordUtxos"] + 1
    aerospike:update(rec)
    return succeed()
end

---------------------------------------------------------------------------------------------------------------------
-- Flags and counters

function setConflicting(rec, value, currentBlockHeight, blockHeightRetention)
    if not aerospike:exists(rec) then
        return refuseMissing()
    end
    rec["conflicting"] = value
    return conclude(rec, succeed(), true, currentBlockHeight, blockHeightRetention)
end

-- Our own: notes a conflicting transaction (its txid, wire order) with one of its parents.
function noteConflicting(rec, childTxid)
    local child = try(contentOf, childTxid, HASH_BYTES)
    if child == nil then
        return refuseParameter("child txid is not 32 bytes")
    end
    if not aerospike:exists(rec) then
        return refuseMissing()
    end
    local children = rec["conflictingCs"] or list()
    for i = 1, list.size(children) do
        if contentOf(children[i], HASH_BYTES) == child then
            return succeed()
        end
    end
    list.append(children, childTxid)
    rec["conflictingCs"] = children
    aerospike:update(rec)
    return succeed()
end

function preserveUntil(rec, blockHeight)
    if not aerospike:exists(rec) then
        return refuseMissing()
    end
    rec["deleteAtHeight"] = nil
    rec["preserveUntil"] = blockHeight
    aerospike:update(rec)
    return addSignal(succeed(), rec, rec["external"] and "PRESERVE" or nil)
end

function setLocked(rec, value)
    if not aerospike:exists(rec) then
        return refuseMissing()
    end
    rec["locked"] = value
    if value then
        rec["deleteAtHeight"] = nil
    end
    aerospike:update(rec)
    local result = succeed()
    result["childCount"] = rec["totalExtraRecs"] or 0
    return result
end

function incrementSpentExtraRecs(rec, delta, currentBlockHeight, blockHeightRetention)
    if not aerospike:exists(rec) then
        return refuseMissing()
    end
    local totalExtraRecs = rec["totalExtraRecs"]
    if totalExtraRecs == nil then
        return refuseParameter("the record is no master")
    end
    if math.type(delta) ~= "integer" then
        return refuseParameter("delta is no integer")
    end
    local spentExtraRecs = (rec["spentExtraRecs"] or 0) + delta
    if spentExtraRecs < 0 or spentExtraRecs > totalExtraRecs then
        return refuseParameter("spentExtraRecs would be " .. spentExtraRecs .. " of " .. totalExtraRecs)
    end
    rec["spentExtraRecs"] = spentExtraRecs
    local result = succeed()
    result["childCount"] = totalExtraRecs
    return conclude(rec, result, true, currentBlockHeight, blockHeightRetention)
end
