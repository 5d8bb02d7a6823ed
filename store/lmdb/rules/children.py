"""The rules by which a master knows how many of its child records are fully spent.

Of each child it keeps the newest stateSeq that it has heard of, modulo 65,536, in childStates; a byte more where it has
not heard of all. Notes may be lost, doubled, late or overtaken: the newest counts, in any order."""

import struct
from typing import Any, Final

from store.lmdb.record import Record

from .answers import Answer, add_signal, refuse_missing, refuse_parameter
from .arguments import WRONG_KIND, is_index
from .delete_at_height import conclude, dah_signal
from .presence import is_there

SEQ_MODULUS: Final = 65_536
NOT_MASTER: Final = "the record is no master"

_U16 = struct.Struct("<H")


def tell_state(record: Record | None, current: int, retention: int) -> Answer:
    """What a child record has to tell its master. Changes nothing but a stateSeq that is not as the state is."""
    if not is_there(record):
        return refuse_missing()
    if record.bins.totalExtraRecs is not None:
        return refuse_parameter("the record is no child")
    return conclude(record, {"status": "OK"}, current, retention)


def increment_spent_extra_recs(record: Record | None, delta: int, current: int, retention: int) -> Answer:
    """The field's own counter. Where the master keeps childStates it is not believed: the children are to be asked."""
    if not is_there(record):
        return refuse_missing()
    bins = record.bins
    if bins.totalExtraRecs is None:
        return refuse_parameter(NOT_MASTER)
    if type(delta) is not int:
        return refuse_parameter("delta is no integer")
    answer = {"status": "OK", "childCount": bins.totalExtraRecs}
    if record.rest.get("childStates") is not None:
        answer["signal"] = "RECOUNT"
        return answer
    spent = (bins.spentExtraRecs or 0) + delta
    if not 0 <= spent <= bins.totalExtraRecs:
        return refuse_parameter(f"spentExtraRecs would be {spent} of {bins.totalExtraRecs}")
    bins.spentExtraRecs = spent
    record.is_changed = True
    return conclude(record, answer, current, retention)


def note_child(record: Record | None, notes: Any, current: int, retention: int) -> Answer:
    """notes: a list of [child index, stateSeq].

    RECOUNT where the counter can't be known from them: childStates has not heard of all children, or another program
    has written the counter. What is told is kept all the same, so that no recount that was overtaken goes before it;
    but of the counter only what is told to be unspent is believed, and every note asks for a recount until one has come
    through: all children are to be asked, and noted in one call. Where there is no news, or a recount, the children are
    told of the delete-at-height again: the word before may have been lost."""
    if not is_there(record):
        return refuse_missing()
    bins = record.bins
    total = bins.totalExtraRecs
    if total is None:
        return refuse_parameter(NOT_MASTER)
    seqs = _parse(notes, total)
    if isinstance(seqs, str):
        return refuse_parameter(seqs)
    answer = {"status": "OK", "childCount": total}
    states, is_right = _open_states(record, total)
    step, is_news = _take(states, seqs, is_right)
    if not is_right and len(seqs) < total:
        unspent = sum(1 - seq % 2 for seq in seqs.values())
        return _ask_for_recount(record, answer, states, total - unspent, current, retention)
    if is_news or not is_right:
        record.rest["childStates"] = bytes(states)
        bins.spentExtraRecs = (bins.spentExtraRecs or 0) + step if is_right else _count_spent(states)
        record.is_changed = True
        conclude(record, answer, current, retention)
    if not (is_news and is_right) and "signal" not in answer:
        add_signal(answer, record, dah_signal(bins, bins.deleteAtHeight is not None))
    return answer


def _parse(notes: Any, total: int) -> dict[int, int] | str:
    """The newest stateSeq by child index; or what is wrong with the first note that is malformed."""
    if not isinstance(notes, list | tuple):
        return WRONG_KIND
    seqs: dict[int, int] = {}
    for position, note in enumerate(notes, 1):
        if not isinstance(note, list | tuple):
            return WRONG_KIND
        index, seq = (*note, None, None)[:2]
        if not is_index(index) or not 1 <= index <= total:
            return f"note {position}: there is no such child"
        if not is_index(seq):
            return f"note {position}: stateSeq is no unsigned integer"
        seqs[index] = max(seqs.get(index, 0), seq)
    return seqs


def _open_states(record: Record, total: int) -> tuple[bytearray, bool]:
    """childStates as it is kept, or empty; and whether it has heard of every child, and agrees with the counter."""
    size = _U16.size * total
    kept = record.rest.get("childStates")
    if kept is None or len(kept) not in (size, size + 1):
        return bytearray(size), False
    states = bytearray(kept[:size])
    return states, len(kept) == size and _count_spent(states) == (record.bins.spentExtraRecs or 0)


def _count_spent(states: bytearray) -> int:
    """How many children are fully spent."""
    return sum(low & 1 for low in states[:: _U16.size])


def _take(states: bytearray, seqs: dict[int, int], is_whole: bool) -> tuple[int, bool]:
    """Takes what is news into childStates. is_whole: it has heard of every child before; else 0 means that it has not.
    By how much the number of spent children changes, and whether anything was taken."""
    step, is_news = 0, False
    for index, seq in seqs.items():
        position = _U16.size * (index - 1)
        (before,) = _U16.unpack_from(states, position)
        if _is_newer(seq, before) or (before == 0 and not is_whole):
            _U16.pack_into(states, position, seq % SEQ_MODULUS)
            step += seq % 2 - before % 2
            is_news = True
    return step, is_news


def _is_newer(seq: int, before: int) -> bool:
    return 0 < (seq - before) % SEQ_MODULUS < SEQ_MODULUS // 2


def _ask_for_recount(
    record: Record, answer: Answer, states: bytearray, most: int, current: int, retention: int
) -> Answer:
    """Keeps what the master was told, marked as not all of it. most: children that may be fully spent."""
    bins = record.bins
    before = bins.spentExtraRecs or 0
    bins.spentExtraRecs = min(before, most)
    record.rest["childStates"] = bytes(states) + b"\0"
    record.is_changed = True
    if bins.spentExtraRecs < before:  # what is not known gives no transaction its delete-at-height
        conclude(record, answer, current, retention)
    answer["signal"] = "RECOUNT"
    return answer
