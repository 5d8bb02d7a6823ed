"""What is odd about a transaction's record: what its rules never leave behind, and what somebody should know of.

Counters are held against a recount of what could be read. A note of a child record to its master that is on its way
makes a counter odd for a moment: what is odd twice is odd.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from protocol import Utxo
from store.layout import FROZEN, SPENT_UTXO_BYTES, UTXO_BYTES

NO_UTXO: Final = "NO_UTXO"  # the state of an output that carries data, or that nobody told of
UNREADABLE: Final = "UNREADABLE"
_CREATING_MS: Final = 60_000  # a creation takes no longer


class Seen(NamedTuple):
    """state: of an output; as a Utxo has it, or one of those above. utxo: None where there is none. fault: why it is
    unreadable."""

    state: str
    utxo: Utxo | None = None
    fault: str = ""


class Evidence(NamedTuple):
    """record: bins of the master record, `utxos` among them. damaged: names of those that are of another kind than they
    should be, and not in it. outputs: those that were looked at, from the first on.
    lost_spenders: txids that outputs of the master name as their spender, without a record and without a mark that they
    were pruned, and the first such output of each. spent_children: what the master counts as all spent, before the
    outputs were looked at and after. now_ms: unix time."""

    record: Mapping[str, Any]
    damaged: Sequence[str]
    outputs: Sequence[Seen]
    lost_spenders: Mapping[bytes, int]
    spent_children: frozenset[int]
    now_ms: int


def find_oddities(evidence: Evidence) -> list[str]:
    """In words, the worst first."""
    record = evidence.record
    return [
        *_of_kinds(evidence),
        *_of_outputs(evidence),
        *_of_counters(record),
        *_of_children(evidence),
        *_of_blocks(record),
        *_of_deletion(evidence),
        *_of_marks(evidence),
    ]


def _of_kinds(evidence: Evidence) -> Iterator[str]:
    if evidence.damaged:
        yield f"of its record can't be read, and is left out here: {', '.join(evidence.damaged)} (see utxod get)"


def _of_outputs(evidence: Evidence) -> Iterator[str]:
    unreadable = [vout for vout, seen in enumerate(evidence.outputs) if seen.state == UNREADABLE]
    if unreadable:
        fault = evidence.outputs[unreadable[0]].fault
        yield f"{_count(len(unreadable), 'output')} can't be read; of the first it is said: {fault}"
    for txid, vout in list(evidence.lost_spenders.items())[:1]:
        others = len(evidence.lost_spenders) - 1
        more = f" (and {_count(others, 'spender')} more like it)" if others else ""
        yield (
            f"output {vout} is spent by {txid[::-1].hex()}, which has neither a record nor a mark that it was pruned: "
            f"its creation is still to come, or it was lost and should give the output back{more}"
        )


def _of_counters(record: Mapping[str, Any]) -> Iterator[str]:
    """Of the master record, which is read as one."""
    utxos = record.get("utxos") or []
    there = [utxo for utxo in utxos if utxo is not None]
    spent = sum(_is_spent(utxo) for utxo in there)
    if record.get("spentUtxos") != spent:
        yield f"its master record counts {record.get('spentUtxos')} outputs as spent, and {spent} {_are(spent)}"
    reassigned = len(record.get("reassignments") or ())  # each adds one that can never be spent
    if record.get("recordUtxos") != len(there) + reassigned:
        yield (
            f"its master record counts {record.get('recordUtxos')} UTXOs"
            f" where there are {len(there)}{f' and {reassigned} reassignments' if reassigned else ''}"
        )
    total, children = record.get("totalUtxos") or 0, record.get("totalExtraRecs") or 0
    wanted = -(-total // len(utxos)) - 1 if utxos else 0
    if children != wanted or (not children and total != len(utxos)):
        yield (
            f"its {_count(total, 'output')} are in {_count(children, 'child record')} beside a master of {len(utxos)}, "
            f"where {wanted} would be right"
        )


def _of_children(evidence: Evidence) -> Iterator[str]:
    """What the master counts of them."""
    record = evidence.record
    children, counted = record.get("totalExtraRecs") or 0, record.get("spentExtraRecs") or 0
    if not 0 <= counted <= children:
        yield f"it counts {counted} of its {_count(children, 'child record')} as all spent"
    states = record.get("childStates")
    if states is not None:
        heard = [state for (state,) in struct.iter_unpack("<H", states[: len(states) & ~1])]
        odd = sum(state & 1 for state in heard)
        if len(states) != 2 * children or odd != counted:
            yield f"it counts {_count(counted, 'child record')} as all spent, and has heard so of {odd} of {len(heard)}"
    size = len(record.get("utxos") or ())
    if children and size and len(evidence.outputs) >= (record.get("totalUtxos") or 0):
        recount = sum(_all_spent(evidence.outputs[at : at + size]) for at in range(size, len(evidence.outputs), size))
        if recount not in evidence.spent_children:
            yield (
                f"it counts {_count(counted, 'child record')} as all spent, and {recount} {_are(recount)}: "
                "a note is on its way or was lost, or an output of a child record was reassigned"
            )


def _of_blocks(record: Mapping[str, Any]) -> Iterator[str]:
    blocks, unmined_since = record.get("blockIDs") or [], record.get("unminedSince")
    lengths = {len(record.get(name) or ()) for name in ("blockIDs", "blockHeights", "subtreeIdxs")}
    if len(lengths) > 1:
        yield "its lists of block ids, heights and subtrees are not of one length"
    if blocks and unmined_since is None and record.get("conflicting"):
        yield "it is conflicting, and mined on the longest chain all the same"
    if blocks and unmined_since is not None:
        yield f"it is in a block, and off the longest chain since height {unmined_since}"
    if not blocks and unmined_since is None:
        yield "it is in no block, and does not say since when it waits for one"


def _of_deletion(evidence: Evidence) -> Iterator[str]:
    record = evidence.record
    height = record.get("deleteAtHeight")
    if height is None:
        return
    at = f"it is to be deleted at height {height}"
    if not record.get("conflicting"):
        unspent = sum(seen.state not in ("SPENT", NO_UTXO) for seen in evidence.outputs)
        if unspent:
            yield f"{at}, though {_count(unspent, 'output')} of those that were looked at {_are(unspent)} not spent"
        if record.get("unminedSince") is not None or not record.get("blockIDs"):
            yield f"{at}, though it is not mined on the longest chain"
    if record.get("locked"):
        yield f"{at}, though it is locked"
    if record.get("preserveUntil") is not None:
        yield f"{at}, though it is preserved until height {record['preserveUntil']}"


def _of_marks(evidence: Evidence) -> Iterator[str]:
    record = evidence.record
    age_ms = evidence.now_ms - (record.get("createdAt") or evidence.now_ms)
    if record.get("creating") and age_ms > _CREATING_MS:
        yield f"its creation was begun {age_ms // 1000:,} seconds ago and has not ended: creating it again completes it"
    if record.get("locked"):
        yield "it is locked: nobody can spend its outputs until it is unlocked"
    reassigned = len(record.get("reassignments") or ())
    if reassigned:
        yield f"outputs of its master record were reassigned ({reassigned} times): it is never pruned"
    frozen = sum(seen.state == "FROZEN" for seen in evidence.outputs)
    if frozen:
        yield f"{_count(frozen, 'output')} {_are(frozen)} frozen"
    if record.get("conflictingMore"):
        yield "it has more conflicting children than its record keeps"
    if (record.get("fee") or 0) < 0:
        yield f"its outputs are worth {-record['fee']:,} satoshis more than its inputs"


def _is_spent(utxo: bytes) -> bool:
    return len(utxo) == SPENT_UTXO_BYTES and utxo[UTXO_BYTES:] != FROZEN


def _all_spent(outputs: Sequence[Seen]) -> bool:
    """As a child record says it of its own; one without a UTXO is."""
    return all(seen.state in ("SPENT", NO_UTXO) for seen in outputs)


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
