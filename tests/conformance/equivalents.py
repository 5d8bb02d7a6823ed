"""Mutants that no case can find, since they mean the same: judged by hand, by their names."""
# ruff: noqa: E501  # lines of the rules, as they are

from typing import Final

_REASONS: Final[dict[str, list[str]]] = {
    "only a server takes an index modulo 2^32, and no list is that long": [
        "MAX_OFFSET: local MAX_OFFSET = 0xFFFFFFFE  =>  local MAX_OFFSET = 4294967295",
        "MAX_OFFSET: local MAX_OFFSET = 0xFFFFFFFE  =>  local MAX_OFFSET = 4294967293",
        "utxoAt: if offset <= MAX_OFFSET then  =>  if offset < MAX_OFFSET then",
    ],
    "only the room that something has at first": [
        "RESULT_ROOM: local RESULT_ROOM = 8  =>  local RESULT_ROOM = 9",
        "RESULT_ROOM: local RESULT_ROOM = 8  =>  local RESULT_ROOM = 7",
    ],
    "the value is empty before": [
        "toBytes: setString(value, 1, content)  =>  setString(value, 0, content)",
    ],
    "is given another value before it is looked at": [
        "parseTarget: return { offset = offset, hash = hash, spender = nil, idx = nil }  =>  return { offset = offset, hash = hash, spender = nil, idx = 0 }",
    ],
    "only frees a server's memory": [
        "applySpends: list.trim(utxos, 1)  =>  list.trim(utxos, 2)",
        "applySpends: list.trim(utxos, 1)  =>  list.trim(utxos, 0)",
        "applySpends: list.trim(utxos, 1)  =>  ",
    ],
    "a list, and a string, has nothing at 0": [
        "isSpentBy: return spender ~= FROZEN and string.sub(spender, 1, HASH_BYTES) == txid  =>  return spender ~= FROZEN and string.sub(spender, 0, HASH_BYTES) == txid",
        "findBlock: for i = 1, list.size(blockIDs) do  =>  for i = 0, list.size(blockIDs) do",
    ],
    "heights and counts are not negative, so that 0 is the least all the same": [
        'mine: if rec["locked"] or (rec["totalExtraRecs"] or 0) > 0 then  =>  if rec["locked"] or (rec["totalExtraRecs"] or -1) > 0 then',
        'setMined: local countedFrom = math.max(blockHeight, rec["lockHeight"] or 0)  =>  local countedFrom = math.max(blockHeight, rec["lockHeight"] or -1)',
        'knownHeight: current = math.max(current, rec["lockHeight"] or 0)  =>  current = math.max(current, rec["lockHeight"] or -1)',
        "knownHeight: for i = 1, blockHeights and list.size(blockHeights) or 0 do  =>  for i = 1, blockHeights and list.size(blockHeights) or -1 do",
        'knownHeight: return math.max(current, rec["unminedSince"] or 0)  =>  return math.max(current, rec["unminedSince"] or -1)',
        "parseNotes: seqs[index] = math.max(seqs[index] or 0, seq)  =>  seqs[index] = math.max(seqs[index] or -1, seq)",
        "set_mined: counted_from = max(block_height, bins.lockHeight or 0)  =>  counted_from = max(block_height, bins.lockHeight or -1)",
        "_mine: if bins.locked or (bins.totalExtraRecs or 0) > 0:  =>  if bins.locked or (bins.totalExtraRecs or -1) > 0:",
        "_parse: seqs[index] = max(seqs.get(index, 0), seq)  =>  seqs[index] = max(seqs.get(index, -1), seq)",
        "_known_height: return max(current, bins.lockHeight or 0, bins.unminedSince or 0, *(bins.blockHeights or ()))  =>  return max(current, bins.lockHeight or -1, bins.unminedSince or 0, *(bins.blockHeights or ()))",
        "_known_height: return max(current, bins.lockHeight or 0, bins.unminedSince or 0, *(bins.blockHeights or ()))  =>  return max(current, bins.lockHeight or 0, bins.unminedSince or -1, *(bins.blockHeights or ()))",
    ],
    "a retention that is no integer fails later, too": [
        "setLocked: requireHeights(currentBlockHeight, blockHeightRetention)  =>  requireHeights(currentBlockHeight, currentBlockHeight)",
        "set_locked: check_heights(current, retention)  =>  check_heights(current, current)",
    ],
    "a child's state has no height": [
        "setLocked: return conclude(rec, result, false, currentBlockHeight, blockHeightRetention)  =>  return conclude(rec, result, false, blockHeightRetention, blockHeightRetention)",
        "setLocked: return conclude(rec, result, false, currentBlockHeight, blockHeightRetention)  =>  return conclude(rec, result, false, currentBlockHeight, currentBlockHeight)",
        "set_locked: return conclude(record, answer, current, retention)  =>  return conclude(record, answer, retention, retention)",
        "set_locked: return conclude(record, answer, current, retention)  =>  return conclude(record, answer, current, current)",
    ],
    "a locked record needs no retention": [
        "setLocked: conclude(rec, result, true, currentBlockHeight, blockHeightRetention)  =>  conclude(rec, result, true, currentBlockHeight, currentBlockHeight)",
        "_lock: conclude(record, answer, current, retention)  =>  conclude(record, answer, current, current)",
    ],
    "the same signal once more": [
        'noteChild: if not (taken and isRight) and result["signal"] == nil then  =>  if not (taken and isRight) and result["changed"] == nil then',
        "note_child: if not (is_news and is_right) and 'signal' not in answer:  =>  if not (is_news and is_right) and 'signal changed' not in answer:",
    ],
    "where it is right both are the same": [
        "note_child: bins.spentExtraRecs = (bins.spentExtraRecs or 0) + step if is_right else _count_spent(states)  =>  bins.spentExtraRecs = (bins.spentExtraRecs or 0) + step if False else _count_spent(states)",
    ],
    "is refused as no integer, or no bytes, too": [
        "_parse: offset, txid = (*mark, None, None)[:2]  =>  offset, txid = (*mark, True, None)[:2]",
        "_parse: offset, txid = (*mark, None, None)[:2]  =>  offset, txid = (*mark, None, True)[:2]",
        "_parse: index, seq = (*note, None, None)[:2]  =>  index, seq = (*note, True, None)[:2]",
        "_parse: index, seq = (*note, None, None)[:2]  =>  index, seq = (*note, None, True)[:2]",
    ],
    "no attempt relies on it either way": [
        "release: life_now, count = joined.get(offset, (0, 0))  =>  life_now, count = joined.get(offset, (0, -1))",
    ],
    "is not looked at there": [
        "_life: life, _ = (record.bins.joined or {}).get(offset, (0, 0))  =>  life, _ = (record.bins.joined or {}).get(offset, (0, 1))",
        "_life: life, _ = (record.bins.joined or {}).get(offset, (0, 0))  =>  life, _ = (record.bins.joined or {}).get(offset, (0, -1))",
    ],
    "saves time only": [
        "_apply: if bins.joined or not is_unspent:  =>  if True:",
        "_judge: error = None if utxo == utxo_hash else utxo_error(utxo, utxo_hash)  =>  error = None if False else utxo_error(utxo, utxo_hash)",
    ],
    "what is not there is never True": [
        "_judge: if utxo is None or error is not None:  =>  if utxo is True or error is not None:",
        "open_utxo: assert utxo is not None  =>  assert utxo is not True",
    ],
}
EQUIVALENTS: Final = {name: reason for reason, names in _REASONS.items() for name in names}
