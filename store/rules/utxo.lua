-- The rules of the UTXO set: functions that run inside the store, atomic per record.
--
-- Runs as an Aerospike UDF module (Lua 5.4). The embedded store has the same rules in Python, in store/lmdb/rules:
-- tests/conformance holds the two together. A rule is called as `rule(rec, arguments...)` and returns a map: `status`
-- OK or ERROR, and where they apply `errorCode`, `message`, `spendingData`, `errors`, `applied`, `lives`, `mine`,
-- `held`, `signal`, `childCount`, `stateSeq`, `lockSeq`, `blockIDs`. A rule that refuses has changed nothing. Of a flag
-- only true counts as true; a rule that counts a delete-at-height from what is no integer fails, and nothing is saved.
--
-- Bins of our own (absent: 0, or empty). joined: by offset [life, count], how often the output became unspent again,
-- and how many attempts rely on its spend beside the one that applied it. stateSeq: how often a child record's state
-- (all spent, or not) has changed, odd where all is spent. childStates: the newest stateSeq of each child that the
-- master has heard of, modulo 65,536; a byte more where it has not heard of all. lockSeq: raised by each lock and
-- unlock. lockHeight: the highest height that a delete-at-height of a locked record would count from. reassigned: by
-- offset [satoshis, locking script] of a reassigned output. conflictingMore: conflicting children noted beyond those in
-- conflictingCs.
--
-- Mind: only a bin that is assigned is saved; `==` on bytes compares identities, so what is in them is taken out as a
-- string, once; what is read past the end of bytes is memory of somebody else's, so their size is asked first; a list's
-- iterator stops at the first nil, so lists are walked by index; `map[k] = nil` stores a nil.

-- A call costs the server its own part, each call from Lua into it, and each value that it hands out, which is a
-- userdata with a finalizer. So what a rule needs is asked for once, functions are locals, and a UTXO is changed in
-- place.

local HASH_BYTES = 32
local SPENDING_DATA_BYTES = 36
local SPENT_BYTES = 68
local FROZEN = string.rep("\255", SPENDING_DATA_BYTES)
-- A server takes an index modulo 2^32.
local MAX_OFFSET = 0xFFFFFFFE
-- What would make a parent unspendable by its growth is bounded.
local MAX_CONFLICTING_CHILDREN = 1000
local MAX_REASSIGNED_BYTES = 128 * 1024
local REASSIGNMENT_BYTES = 256 -- of one, without its scripts
local SEQ_MODULUS = 65536

local sizeOf, stringOf, setString, appendString = bytes.size, bytes.get_string, bytes.set_string, bytes.append_string
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

-- Whether there is a transaction. A record that bars its creation, while what it spends is given back, is none: it has
-- no other bin.
local function isThere(rec)
    return aerospike:exists(rec) and (rec["abandoned"] == nil or rec["txID"] ~= nil)
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
    setString(value, 1, content)
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

-- A bin would get them.
local function requireHeights(current, retention)
    if typeOf(current) ~= "integer" or typeOf(retention) ~= "integer" then
        error("the current height or the retention is no integer")
    end
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

local function utxoAt(utxos, offset)
    if offset <= MAX_OFFSET then
        return utxos[offset + 1]
    end
    return nil
end

-- Whether a spend's spender has its output already, whatever else is wrong with the spend.
local function isHeld(utxos, spend)
    local utxo = utxoAt(utxos, spend.offset)
    return utxo ~= nil
        and sizeOf(utxo) == SPENT_BYTES
        and stringOf(utxo, HASH_BYTES + 1, SPENDING_DATA_BYTES) == spend.spender
end

-- The spender of a target's UTXO, or "" where it is unspent, and the UTXO; or nil, and the code and message of the
-- refusal.
local function findSpender(utxos, target)
    local utxo = utxoAt(utxos, target.offset)
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
    if not isThere(rec) then
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

-- Of an output: its life, and how many attempts rely on its spend beside the one that applied it.
local function joinedOf(joined, offset)
    local pair = joined and joined[offset]
    if pair == nil then
        return 0, 0
    end
    return pair[1], pair[2]
end

local function setJoined(joined, offset, life, count)
    joined = joined or map()
    joined[offset] = list { life, count }
    return joined
end

-- Whether the transaction that begins these spending data was pruned.
local function isPruned(deletedChildren, spender)
    return deletedChildren ~= nil and deletedChildren[txidHex(spender)] ~= nil
end

local function refusePruned(spender)
    return "INVALID_SPEND", "the spending transaction was pruned", spenderHex(spender)
end

---------------------------------------------------------------------------------------------------------------------
-- The delete-at-height rule. Each part returns the signal, or nil, and whether a bin was assigned.

-- A child's stateSeq is compared with its state, not counted: another program may have been here.
local function updateChildState(rec, result)
    local isAllSpent = rec["spentUtxos"] == rec["recordUtxos"]
    local seq, assigned = rec["stateSeq"] or 0, false
    if (seq % 2 == 1) ~= isAllSpent then
        seq = seq + 1
        rec["stateSeq"] = seq
        assigned = true
    end
    result["stateSeq"] = seq
    local state = isAllSpent and "ALLSPENT" or "NOTALLSPENT"
    -- Before the first signal a child counts as not spent, but for one that never had a UTXO.
    local before = rec["lastSpentState"] or (rec["recordUtxos"] == 0 and "ALLSPENT" or "NOTALLSPENT")
    if state == before then
        return nil, assigned
    end
    rec["lastSpentState"] = state
    return state, true
end

local function isInBlock(rec)
    local blockIDs = rec["blockIDs"]
    return blockIDs ~= nil and list.size(blockIDs) > 0
end

local function isFinished(rec, totalExtraRecs)
    return rec["spentUtxos"] == rec["recordUtxos"]
        and (rec["spentExtraRecs"] or 0) == totalExtraRecs
        and isInBlock(rec)
        and rec["unminedSince"] == nil
end

-- The signal for a master's children, where its delete-at-height has changed.
local function dahSignal(rec, isSet)
    if not rec["external"] then
        return nil
    end
    return isSet and "DAHSET" or "DAHUNSET"
end

-- While a record is locked it gets no delete-at-height; what it is to count from is kept for the unlocking. Whether a
-- bin was assigned.
local function keepLockHeight(rec, height)
    if height <= (rec["lockHeight"] or 0) then
        return false
    end
    rec["lockHeight"] = height
    return true
end

local function updateDeleteAtHeight(rec, result, current, retention)
    local totalExtraRecs = rec["totalExtraRecs"]
    if totalExtraRecs == nil then
        return updateChildState(rec, result)
    end
    if rec["locked"] then
        return nil, keepLockHeight(rec, current)
    end
    if retention == 0 or rec["preserveUntil"] ~= nil then
        return nil, false
    end
    local before, after = rec["deleteAtHeight"], nil
    if rec["conflicting"] then
        after = before or current + retention
    elseif isFinished(rec, totalExtraRecs) then
        after = math.max(before or 0, current + retention)
    end
    if after == before then
        return nil, false
    end
    rec["deleteAtHeight"] = after
    return dahSignal(rec, after ~= nil), true
end

-- Ends a rule that goes through the delete-at-height rule: saves what was assigned, and tells the caller.
local function conclude(rec, result, assigned, current, retention)
    requireHeights(current, retention)
    local signal, marked = updateDeleteAtHeight(rec, result, current, retention)
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

-- The idx of those spends whose spender has their output already; nil where there is none.
local function listHeld(utxos, spends)
    local mine = nil
    for i = 1, #spends do
        if isHeld(utxos, spends[i]) then
            mine = mine or list()
            list.append(mine, spends[i].idx)
        end
    end
    return mine
end

-- Why nothing of the record may be spent: code and message. Or nil.
local function forbidSpending(rec, ignoreConflicting, ignoreLocked, currentBlockHeight)
    if rec["creating"] then
        return "CREATING", "the transaction is still being created"
    end
    if ignoreConflicting ~= true and rec["conflicting"] then
        return "CONFLICTING", "the transaction is conflicting"
    end
    if ignoreLocked ~= true and rec["locked"] then
        return "LOCKED", "the transaction is locked"
    end
    local spendingHeight = rec["spendingHeight"]
    if spendingHeight and spendingHeight > currentBlockHeight then
        return "COINBASE_IMMATURE", "spendable from height " .. spendingHeight
    end
    return nil
end

-- The record's list of UTXOs; or nil, and the refusal of the whole record.
local function openForSpending(rec, spends, ignoreConflicting, ignoreLocked, currentBlockHeight)
    if not isThere(rec) then
        return nil, refuseMissing()
    end
    local code, message = forbidSpending(rec, ignoreConflicting, ignoreLocked, currentBlockHeight)
    local utxos = rec["utxos"]
    if code == nil and utxos ~= nil then
        return utxos
    end
    local refusal = refuse(code or "UTXOS_NOT_FOUND", message or "the record has no UTXOs")
    local mine = utxos and listHeld(utxos, spends)
    if mine then
        refusal["mine"] = mine
    end
    return nil, refusal
end

-- The UTXO that a spend is to be applied to; false where its spender holds it already. Or nil, and the refusal's code,
-- message and spender.
local function judgeSpend(utxos, spend, spendableIn, deletedChildren, currentBlockHeight)
    local spender, utxo, message = findSpender(utxos, spend)
    if spender == nil then
        return nil, utxo, message
    end
    local height = spendableIn and spendableIn[spend.offset]
    if height and height > currentBlockHeight then
        return nil, "FROZEN_UNTIL", "spendable from height " .. height
    end
    if isPruned(deletedChildren, spend.spender) then
        return nil, refusePruned(spend.spender)
    end
    if spender == "" then
        return utxo
    end
    if spender == spend.spender then
        return false
    end
    if spender == FROZEN then
        return nil, "FROZEN", "the output is frozen"
    end
    return nil, "SPENT", "the output is spent", spenderHex(spender)
end

-- Notes in `joined` that a spend holds: applied now, or joined to one that was applied before. Returns the output's
-- life, and `joined` where it has changed.
local function noteAttempt(joined, offset, isApplied)
    local life, count = joinedOf(joined, offset)
    if isApplied and count == 0 then
        return life, nil
    end
    return life, setJoined(joined, offset, life, isApplied and 0 or count + 1)
end

-- Applies the spends that can be applied. Returns the result of them all, and the map of the errors where there are
-- any.
local function applySpends(rec, spends, ignoreConflicting, ignoreLocked, currentBlockHeight, blockHeightRetention)
    requireHeights(currentBlockHeight, blockHeightRetention)
    local utxos, refusal = openForSpending(rec, spends, ignoreConflicting, ignoreLocked, currentBlockHeight)
    if utxos == nil then
        return refusal, nil
    end
    local result, applied, count, errors, lives, mine = succeed(), list(), 0, nil, nil, nil
    local spendableIn, deletedChildren, joined = rec["utxoSpendableIn"], rec["deletedChildren"], rec["joined"]
    local hasJoined = false
    for i = 1, #spends do
        local spend = spends[i]
        local utxo, code, message, spender = judgeSpend(
            utxos, spend, spendableIn, deletedChildren, currentBlockHeight
        )
        if code then
            errors = errors or map()
            errors[spend.idx] = describe(map.create(RESULT_ROOM), code, message, spender)
            if isHeld(utxos, spend) then
                mine = mine or list()
                list.append(mine, spend.idx)
            end
        else
            if utxo then
                appendString(utxo, spend.spender)
                list.append(applied, spend.idx)
                count = count + 1
            end
            local life, changed = noteAttempt(joined, spend.offset, utxo and true)
            if changed then
                joined, hasJoined = changed, true
            end
            if life > 0 then
                lives = lives or map()
                lives[spend.idx] = life
            end
        end
    end
    if count > 0 then
        rec["utxos"] = utxos
        rec["spentUtxos"] = rec["spentUtxos"] + count
    end
    if hasJoined then
        rec["joined"] = joined
    end
    result["applied"] = applied
    if lives then
        result["lives"] = lives
    end
    if mine then
        result["mine"] = mine
    end
    if errors then
        result["status"] = "ERROR"
        result["errors"] = errors
    end
    local blockIDs = rec["blockIDs"]
    if blockIDs then
        result["blockIDs"] = blockIDs
    end
    conclude(rec, result, count > 0 or hasJoined, currentBlockHeight, blockHeightRetention)
    -- Saved, and not wanted any more: it would keep the server's memory until it is collected, which counts Lua's
    -- alone.
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

-- What is to be given back: the target, the record's list of UTXOs and the target's spender; or nil and the refusal.
local function openForGivingBack(rec, offset, utxoHash, spendingData)
    local target, fault = try(parseSpend, offset, utxoHash, spendingData)
    if target == nil then
        return nil, refuseParameter(fault)
    end
    local utxos, spender, refusal = openUtxo(rec, target)
    if refusal then
        return nil, refusal
    end
    return target, utxos, spender
end

local function refuseGivingBack(rec, target, spender)
    if isPruned(rec["deletedChildren"], target.spender) then
        return refuse(refusePruned(target.spender))
    end
    if spender == FROZEN then
        return refuse("FROZEN", "the output is frozen")
    end
    if spender ~= "" and spender ~= target.spender then
        return refuse("SPENT", "the output is spent by another transaction", spenderHex(spender))
    end
    return nil
end

-- Takes back a target's spend, if it is applied. What relied on it does so no longer: the output has another life.
local function giveBack(rec, result, utxos, target, spender)
    local applied = list()
    if spender == target.spender then
        setUtxo(rec, utxos, target.offset, target.hash)
        rec["spentUtxos"] = rec["spentUtxos"] - 1
        local joined = rec["joined"]
        rec["joined"] = setJoined(joined, target.offset, joinedOf(joined, target.offset) + 1, 0)
        list.append(applied, 0)
    end
    result["applied"] = applied
    return spender == target.spender
end

-- life: where it is given only the spend of that life of the output is taken back, and another one stands.
function unspend(rec, offset, utxoHash, spendingData, currentBlockHeight, blockHeightRetention, life)
    local target, utxos, spender = openForGivingBack(rec, offset, utxoHash, spendingData)
    if target == nil then
        return utxos
    end
    local refusal = refuseGivingBack(rec, target, spender)
    if refusal then
        return refusal
    end
    local result, assigned = succeed(), false
    local isOther = life ~= nil and (typeOf(life) ~= "integer" or life ~= joinedOf(rec["joined"], target.offset))
    if spender ~= "" and isOther then
        result["applied"] = list()
        result["held"] = true
    else
        assigned = giveBack(rec, result, utxos, target, spender)
    end
    return conclude(rec, result, assigned, currentBlockHeight, blockHeightRetention)
end

-- Our own: what a refused attempt of a whole transaction gives back, of a spend that it applied or joined in this life
-- of the output. Where others rely on the spend it stands.
function release(rec, offset, utxoHash, spendingData, currentBlockHeight, blockHeightRetention, life)
    local target, utxos, spender = openForGivingBack(rec, offset, utxoHash, spendingData)
    if target == nil then
        return utxos
    end
    local result, assigned = succeed(), false
    local joined = rec["joined"]
    local lifeNow, count = joinedOf(joined, target.offset)
    if spender ~= target.spender or typeOf(life) ~= "integer" or life ~= lifeNow then
        result["applied"] = list()
    elseif count > 0 then
        rec["joined"] = setJoined(joined, target.offset, lifeNow, count - 1)
        assigned = true
        result["applied"] = list()
        result["held"] = true
    else
        local refusal = refuseGivingBack(rec, target, spender)
        if refusal then
            return refusal
        end
        assigned = giveBack(rec, result, utxos, target, spender)
    end
    return conclude(rec, result, assigned, currentBlockHeight, blockHeightRetention)
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

-- Whether it was listed.
local function removeBlock(rec, blockIDs, blockID)
    local position = findBlock(blockIDs, blockID)
    if position == nil then
        return false
    end
    local blockHeights, subtreeIdxs = rec["blockHeights"], rec["subtreeIdxs"]
    list.remove(blockIDs, position)
    list.remove(blockHeights, position)
    list.remove(subtreeIdxs, position)
    rec["blockIDs"], rec["blockHeights"], rec["subtreeIdxs"] = blockIDs, blockHeights, subtreeIdxs
    return true
end

local function raiseLockSeq(rec)
    local lockSeq = (rec["lockSeq"] or 0) + 1
    rec["lockSeq"] = lockSeq
    return lockSeq
end

local function mine(rec, blockIDs, blockID, blockHeight, subtreeIdx, onLongestChain)
    addBlock(rec, blockIDs, blockID, blockHeight, subtreeIdx)
    if onLongestChain then
        rec["unminedSince"] = nil
    end
    -- A child's unlocking may have been lost: it is asked for again.
    if rec["locked"] or (rec["totalExtraRecs"] or 0) > 0 then
        raiseLockSeq(rec)
    end
    rec["locked"] = false
    rec["lockHeight"] = nil
end

-- The earliest height stays.
local function leaveLongestChain(rec, currentBlockHeight)
    if rec["unminedSince"] == nil then
        rec["unminedSince"] = currentBlockHeight
    end
end

local function unmine(rec, blockIDs, blockID, currentBlockHeight, onLongestChain)
    local wasListed = removeBlock(rec, blockIDs, blockID)
    local isBlockless = list.size(blockIDs) == 0
    if (wasListed or isBlockless) and (isBlockless or not onLongestChain) then
        leaveLongestChain(rec, currentBlockHeight)
    end
end

-- onLongestChain: where a block is set, that this one is on it; where it is unset, that the transaction still is, by
-- another block. The delete-at-height counts from the mined block's height, and not from less than a lock has kept.
function setMined(
    rec, blockID, blockHeight, subtreeIdx, currentBlockHeight, blockHeightRetention, onLongestChain, unsetMined
)
    if not (isIndex(blockID) and isIndex(blockHeight) and isIndex(subtreeIdx) and isIndex(currentBlockHeight)) then
        return refuseParameter("block id, block height, subtree index or current height is no unsigned integer")
    end
    if not isThere(rec) then
        return refuseMissing()
    end
    if rec["creating"] then
        return refuse("CREATING", "the transaction is still being created")
    end
    local blockIDs = rec["blockIDs"] or list()
    local countedFrom = math.max(blockHeight, rec["lockHeight"] or 0)
    if unsetMined == true then
        unmine(rec, blockIDs, blockID, currentBlockHeight, onLongestChain == true)
    else
        mine(rec, blockIDs, blockID, blockHeight, subtreeIdx, onLongestChain == true)
    end
    local result = succeed()
    result["blockIDs"] = blockIDs
    result["childCount"] = rec["totalExtraRecs"] or 0
    result["lockSeq"] = rec["lockSeq"] or 0
    return conclude(rec, result, true, countedFrom, blockHeightRetention)
end

-- Our own. What is still being created is marked like any other, though setMined refuses it: no child is unlocked here
-- that may not be there yet, and what finishes a creation leaves the mark as it is. A refusal would lose what became of
-- the chain.
function markLongestChain(rec, onLongestChain, currentBlockHeight, blockHeightRetention)
    if type(onLongestChain) ~= "boolean" or not isIndex(currentBlockHeight) then
        return refuseParameter("onLongestChain is no boolean, or the current height no unsigned integer")
    end
    if not isThere(rec) then
        return refuseMissing()
    end
    if not onLongestChain then
        leaveLongestChain(rec, currentBlockHeight)
    elseif isInBlock(rec) then
        rec["unminedSince"] = nil
    else
        return refuseParameter("the transaction is in no block, so it is not on the longest chain")
    end
    local result = succeed()
    result["childCount"] = rec["totalExtraRecs"] or 0
    return conclude(rec, result, true, currentBlockHeight, blockHeightRetention)
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

-- Bytes that a reassignment to such a script takes of its record: it is kept with the reassignment, and as the
-- output's.
local function reassignmentBytes(script)
    return REASSIGNMENT_BYTES + 2 * sizeOf(script)
end

-- Whether there is room for one more reassignment, to such a script.
local function hasRoom(reassignments, script)
    local taken = reassignmentBytes(script)
    for i = 1, list.size(reassignments) do
        local earlier = reassignments[i]["script"]
        taken = taken + (earlier and reassignmentBytes(earlier) or REASSIGNMENT_BYTES)
    end
    return taken <= MAX_REASSIGNED_BYTES
end

local function describeReassignment(offset, utxoHash, newUtxoHash, satoshis, script, blockHeight)
    local reassignment = map()
    reassignment["offset"] = offset
    reassignment["utxoHash"] = utxoHash
    reassignment["newUtxoHash"] = newUtxoHash
    reassignment["satoshis"] = satoshis
    reassignment["script"] = script
    reassignment["blockHeight"] = blockHeight
    return reassignment
end

-- satoshis, script: of the output that has the new hash; it is spendable from blockHeight + spendableAfter on.
function reassign(rec, offset, utxoHash, newUtxoHash, satoshis, script, blockHeight, spendableAfter)
    local target, fault = try(parseTarget, offset, utxoHash)
    local newHash = try(contentOf, newUtxoHash, HASH_BYTES)
    if target == nil or newHash == nil then
        return refuseParameter(fault or "new utxo hash is not 32 bytes")
    end
    if not isIndex(satoshis) or try(sizeOf, script) == nil then
        return refuseParameter("satoshis are no unsigned integer, or the script is not bytes")
    end
    if not isIndex(blockHeight) or not isIndex(spendableAfter) then
        return refuseParameter("the height that it is spendable from is no unsigned integer")
    end
    local utxos, refusal = openFrozen(rec, target)
    if refusal then
        return refusal
    end
    local reassignments = rec["reassignments"] or list()
    if not hasRoom(reassignments, script) then
        return refuseParameter("the record has no room for a script of " .. sizeOf(script) .. " bytes")
    end
    setUtxo(rec, utxos, offset, newHash)
    list.append(reassignments, describeReassignment(offset, utxoHash, newUtxoHash, satoshis, script, blockHeight))
    rec["reassignments"] = reassignments

    local reassigned = rec["reassigned"] or map()
    reassigned[offset] = list { satoshis, script }
    rec["reassigned"] = reassigned

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
    if type(value) ~= "boolean" then
        return refuseParameter("value is no boolean")
    end
    if not isThere(rec) then
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
    if not isThere(rec) then
        return refuseMissing()
    end
    local children = rec["conflictingCs"] or list()
    for i = 1, list.size(children) do
        if contentOf(children[i], HASH_BYTES) == child then
            return succeed()
        end
    end
    if list.size(children) < MAX_CONFLICTING_CHILDREN then
        list.append(children, childTxid)
        rec["conflictingCs"] = children
    else
        rec["conflictingMore"] = (rec["conflictingMore"] or 0) + 1
    end
    aerospike:update(rec)
    return succeed()
end

function preserveUntil(rec, blockHeight)
    if not isIndex(blockHeight) then
        return refuseParameter("block height is no unsigned integer")
    end
    if not isThere(rec) then
        return refuseMissing()
    end
    local signal = rec["deleteAtHeight"] and dahSignal(rec, false)
    rec["deleteAtHeight"] = nil
    rec["preserveUntil"] = blockHeight
    aerospike:update(rec)
    local result = succeed()
    result["childCount"] = rec["totalExtraRecs"] or 0
    return addSignal(result, rec, signal)
end

-- Where preserveUntil has come: one that is kept for longer, or not at all, stays as it is.
function expirePreservation(rec, currentBlockHeight, blockHeightRetention)
    if not isThere(rec) then
        return refuseMissing()
    end
    requireHeights(currentBlockHeight, blockHeightRetention)
    local preservedUntil = rec["preserveUntil"]
    if preservedUntil == nil or preservedUntil > currentBlockHeight then
        return succeed()
    end
    rec["preserveUntil"] = nil
    return conclude(rec, succeed(), true, currentBlockHeight, blockHeightRetention)
end

-- The height from which a transaction that is unlocked counts, where the caller knows of none: what the lock has kept,
-- its highest block, or since when it is in none.
local function knownHeight(rec, current)
    current = math.max(current, rec["lockHeight"] or 0)
    local blockHeights = rec["blockHeights"]
    for i = 1, blockHeights and list.size(blockHeights) or 0 do
        current = math.max(current, blockHeights[i])
    end
    return math.max(current, rec["unminedSince"] or 0)
end

-- lockSeq: on a child record, the master's; only a newer one than the child's own counts, so that the locks of two
-- callers end as the master's did.
function setLocked(rec, value, currentBlockHeight, blockHeightRetention, lockSeq)
    if type(value) ~= "boolean" or not (lockSeq == nil or isIndex(lockSeq)) then
        return refuseParameter("value is no boolean, or lockSeq no unsigned integer")
    end
    if not isThere(rec) then
        return refuseMissing()
    end
    requireHeights(currentBlockHeight, blockHeightRetention)
    local result, isMaster = succeed(), rec["totalExtraRecs"] ~= nil
    if isMaster then
        result["lockSeq"] = raiseLockSeq(rec)
    elseif lockSeq ~= nil then
        if lockSeq <= (rec["lockSeq"] or 0) then
            return conclude(rec, result, false, currentBlockHeight, blockHeightRetention)
        end
        rec["lockSeq"] = lockSeq
    end
    rec["locked"] = value
    result["childCount"] = rec["totalExtraRecs"] or 0
    if value then
        local dah = rec["deleteAtHeight"]
        local signal = dah and isMaster and dahSignal(rec, false)
        if dah and isMaster then
            keepLockHeight(rec, dah - blockHeightRetention)
        end
        rec["deleteAtHeight"] = nil
        conclude(rec, result, true, currentBlockHeight, blockHeightRetention)
        return addSignal(result, rec, signal)
    end
    local height = knownHeight(rec, currentBlockHeight)
    rec["lockHeight"] = nil
    return conclude(rec, result, true, height, blockHeightRetention)
end

-- How many child records a master has; or nil, and the refusal.
local function countChildren(rec)
    if not isThere(rec) then
        return nil, refuseMissing()
    end
    local totalExtraRecs = rec["totalExtraRecs"]
    if totalExtraRecs == nil then
        return nil, refuseParameter("the record is no master")
    end
    return totalExtraRecs
end

-- The field's own counter. Where the master keeps childStates it is not believed: the children are to be asked.
function incrementSpentExtraRecs(rec, delta, currentBlockHeight, blockHeightRetention)
    local totalExtraRecs, refusal = countChildren(rec)
    if refusal then
        return refusal
    end
    if typeOf(delta) ~= "integer" then
        return refuseParameter("delta is no integer")
    end
    local result = succeed()
    result["childCount"] = totalExtraRecs
    if rec["childStates"] ~= nil then
        result["signal"] = "RECOUNT"
        return result
    end
    local spentExtraRecs = (rec["spentExtraRecs"] or 0) + delta
    if spentExtraRecs < 0 or spentExtraRecs > totalExtraRecs then
        return refuseParameter("spentExtraRecs would be " .. spentExtraRecs .. " of " .. totalExtraRecs)
    end
    rec["spentExtraRecs"] = spentExtraRecs
    return conclude(rec, result, true, currentBlockHeight, blockHeightRetention)
end

---------------------------------------------------------------------------------------------------------------------
-- What a master knows of its children: of each the newest stateSeq it has heard of. Notes may be lost, doubled, late or
-- overtaken: the newest counts, in any order.

-- Our own: what a child record has to tell its master. Changes nothing but a stateSeq that is not as the state is.
function tellState(rec, currentBlockHeight, blockHeightRetention)
    if not isThere(rec) then
        return refuseMissing()
    end
    if rec["totalExtraRecs"] ~= nil then
        return refuseParameter("the record is no child")
    end
    return conclude(rec, succeed(), false, currentBlockHeight, blockHeightRetention)
end

-- The notes as a table from child index to stateSeq; of how many children they tell, and how many of these are not
-- fully spent. Or nil, and what is wrong. Raises an error where one is no list.
local function parseNotes(notes, totalExtraRecs)
    local seqs, told, unspent = {}, 0, 0
    for i = 1, list.size(notes) do
        local index, seq = notes[i][1], notes[i][2]
        if not isIndex(index) or index < 1 or index > totalExtraRecs then
            return nil, "note " .. i .. ": there is no such child"
        end
        if not isIndex(seq) then
            return nil, "note " .. i .. ": stateSeq is no unsigned integer"
        end
        seqs[index] = math.max(seqs[index] or 0, seq)
    end
    for _, seq in pairs(seqs) do
        told = told + 1
        unspent = unspent + 1 - seq % 2
    end
    return { seqs = seqs, told = told, unspent = unspent }
end

local function isNewer(seq, before)
    local ahead = (seq - before) % SEQ_MODULUS
    return ahead > 0 and ahead < SEQ_MODULUS // 2
end

-- How many children are fully spent, as childStates has it.
local function countSpent(states, totalExtraRecs)
    local content, spent = stringOf(states, 1, 2 * totalExtraRecs), 0
    for position = 1, 2 * totalExtraRecs, 2 do
        spent = spent + string.byte(content, position) % 2
    end
    return spent
end

-- Takes what is news into childStates. isWhole: it has heard of every child before; else 0 means that it has not.
-- Returns by how much the number of spent children changes, and whether anything was taken.
local function takeNotes(states, seqs, isWhole)
    local step, taken = 0, false
    for index, seq in pairs(seqs) do
        local position = 2 * index - 1
        local before = string.unpack("<I2", stringOf(states, position, 2))
        if isNewer(seq, before) or (before == 0 and not isWhole) then
            setString(states, position, string.pack("<I2", seq % SEQ_MODULUS))
            step = step + seq % 2 - before % 2
            taken = true
        end
    end
    return step, taken
end

-- childStates as it is kept, or empty; and whether it has heard of every child, and agrees with the counter.
local function openStates(rec, totalExtraRecs)
    local size = 2 * totalExtraRecs
    local states = rec["childStates"]
    local kept = states and sizeOf(states)
    if kept == size then
        return states, countSpent(states, totalExtraRecs) == (rec["spentExtraRecs"] or 0)
    end
    if kept == size + 1 then
        return toBytes(stringOf(states, 1, size)), false
    end
    return toBytes(string.rep("\0", size)), false
end

-- Keeps what the master was told, marked as not all of it.
local function askForRecount(rec, result, states, unspent, currentBlockHeight, blockHeightRetention)
    local before = rec["spentExtraRecs"] or 0
    local spent = math.min(before, rec["totalExtraRecs"] - unspent)
    appendString(states, "\0")
    rec["childStates"] = states
    rec["spentExtraRecs"] = spent
    if spent < before then
        conclude(rec, result, true, currentBlockHeight, blockHeightRetention)
    else
        aerospike:update(rec) -- what is not known gives no transaction its delete-at-height
    end
    result["signal"] = "RECOUNT"
    return result
end

-- Our own: notes is a list of [child index, stateSeq]. RECOUNT where the counter can't be known from them: childStates
-- has not heard of all children, or another program has written the counter. What is told is kept all the same, so that
-- no recount that was overtaken goes before it; but of the counter only what is told to be unspent is believed, and
-- every note asks for a recount until one has come through: all children are to be asked, and noted in one call. Where
-- there is no news, or a recount, the children are told of the delete-at-height again: the word before may have been
-- lost.
function noteChild(rec, notes, currentBlockHeight, blockHeightRetention)
    local totalExtraRecs, refusal = countChildren(rec)
    if refusal then
        return refusal
    end
    local parsed, fault = try(parseNotes, notes, totalExtraRecs)
    if parsed == nil then
        return refuseParameter(fault)
    end
    local result = succeed()
    result["childCount"] = totalExtraRecs
    local before = rec["spentExtraRecs"] or 0
    local states, isRight = openStates(rec, totalExtraRecs)
    local step, taken = takeNotes(states, parsed.seqs, isRight)
    if not isRight and parsed.told < totalExtraRecs then
        return askForRecount(rec, result, states, parsed.unspent, currentBlockHeight, blockHeightRetention)
    end
    if taken or not isRight then
        rec["childStates"] = states
        rec["spentExtraRecs"] = isRight and before + step or countSpent(states, totalExtraRecs)
        conclude(rec, result, true, currentBlockHeight, blockHeightRetention)
    end
    if not (taken and isRight) and result["signal"] == nil then
        addSignal(result, rec, dahSignal(rec, rec["deleteAtHeight"] ~= nil))
    end
    return result
end

---------------------------------------------------------------------------------------------------------------------
-- Pruning

-- The marks as a list of Lua tables; or nil, and what is wrong with the first that is malformed. Raises an error where
-- one is no list, or has something else for bytes.
local function parseMarks(marks)
    local parsed = {}
    for i = 1, list.size(marks) do
        local offset, spender = marks[i][1], marks[i][2]
        if not isIndex(offset) then
            return nil, "mark " .. i .. ": offset is no unsigned integer"
        end
        local txid = contentOf(spender, HASH_BYTES)
        if txid == nil then
            return nil, "mark " .. i .. ": spender's txid is not 32 bytes"
        end
        parsed[i] = { offset = offset, txid = txid }
    end
    return parsed
end

-- Whether this transaction has spent an output.
local function isSpentBy(utxos, offset, txid)
    local utxo = utxoAt(utxos, offset)
    if utxo == nil or sizeOf(utxo) ~= SPENT_BYTES then
        return false
    end
    local spender = stringOf(utxo, HASH_BYTES + 1, SPENDING_DATA_BYTES)
    return spender ~= FROZEN and string.sub(spender, 1, HASH_BYTES) == txid
end

-- marks: a list of [offset, txid of a spender that is pruned]. Only one that the output names is noted, and what it
-- spends is never given back: so there are no more of them than outputs, and the record stays below its limit.
function addDeletedChildren(rec, marks)
    local parsed, fault = try(parseMarks, marks)
    if parsed == nil then
        return refuseParameter(fault)
    end
    if not isThere(rec) then
        return refuseMissing()
    end
    local utxos = rec["utxos"]
    if utxos == nil then
        return refuse("UTXOS_NOT_FOUND", "the record has no UTXOs")
    end
    local deletedChildren, assigned = rec["deletedChildren"] or map(), false
    for i = 1, #parsed do
        local mark = parsed[i]
        if isSpentBy(utxos, mark.offset, mark.txid) then
            deletedChildren[txidHex(mark.txid)] = true
            assigned = true
        end
    end
    if assigned then
        rec["deletedChildren"] = deletedChildren
        aerospike:update(rec)
    end
    return succeed()
end
