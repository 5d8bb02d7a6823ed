"""`utxod show`: a transaction of a set as a person wants to read its record, and what is odd about it.

Of a record a daemon gives the master, whole; of outputs in child records it gives each one's state. So outputs are
asked for one by one, page by page, up to a number: a transaction may have millions.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from protocol import Client, Outcome, Utxo, codes

from .coin import coins, state_in_words
from .oddities import NO_UTXO, UNREADABLE, Evidence, Seen, find_oddities
from .record_kinds import split_by_kind
from .rendering import LISTED, blocks_in_words

Progress = AbstractContextManager[Callable[[int], object]]

_PAGE: Final = 1_000
# Errors that say something about one output; any other one is of the whole inquiry.
_STATE_OF_CODE: Final = {
    codes.UTXO_NOT_FOUND: NO_UTXO,
    codes.CREATING: "CREATING",
    codes.STORE_ERROR: UNREADABLE,
    codes.INTERNAL: UNREADABLE,
}
_FIELDS: Final = (
    "version", "fee", "sizeInBytes", "isCoinbase", "spendingHeight", "utxos", "recordUtxos", "spentUtxos", "totalUtxos",
    "conflicting", "locked", "creating", "totalExtraRecs", "spentExtraRecs", "childStates", "blockIDs", "blockHeights",
    "subtreeIdxs", "createdAt", "unminedSince", "external", "deleteAtHeight", "preserveUntil", "reassignments",
    "deletedChildren", "conflictingCs", "conflictingMore",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Group:
    """The outputs of one state. first: the number of the first one. utxo: that one; None where there is none."""

    count: int
    first: int
    utxo: Utxo | None


class Shown(NamedTuple):
    """txid: wire order. record: bins of its master record. height: that its outputs were judged at; None: at none.
    looked_at: of how many outputs, from the first on, the state was asked. states: by name. odd: in words."""

    txid: bytes
    record: Mapping[str, Any]
    height: int | None
    looked_at: int
    states: Mapping[str, Group]
    odd: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """The same keys for every transaction."""
        bins, created = self.record, _created(self.record)
        return {
            "txid": self.txid[::-1].hex(),
            "is_coinbase": bins.get("isCoinbase", False),
            "is_partial": "version" not in bins,
            "size": bins.get("sizeInBytes"),
            "fee": bins.get("fee"),
            "created_at": None if created is None else created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "outputs": bins.get("totalUtxos"),
            "looked_at": self.looked_at,
            "states": {state: _group_as_json(group) for state, group in self.states.items()},
            "blocks": [{"id": id_, "height": at, "subtree": subtree} for id_, at, subtree in _blocks(bins)],
            "unmined_since": bins.get("unminedSince"),
            "on_longest_chain": bool(bins.get("blockIDs")) and "unminedSince" not in bins,
            "spendable_from": bins.get("spendingHeight"),
            "creating": bins.get("creating", False),
            "conflicting": bins.get("conflicting", False),
            "locked": bins.get("locked", False),
            "preserve_until": bins.get("preserveUntil"),
            "delete_at_height": bins.get("deleteAtHeight"),
            "external": bins.get("external", False),
            "child_records": bins.get("totalExtraRecs", 0),
            "child_records_spent": bins.get("spentExtraRecs", 0),
            "conflicting_children": [txid[::-1].hex() for txid in bins.get("conflictingCs", [])],
            "conflicting_children_more": bins.get("conflictingMore", 0),
            "pruned_spenders": len(bins.get("deletedChildren", {})),
            "reassignments": [_reassignment_as_json(entry) for entry in bins.get("reassignments", [])],
            "odd": list(self.odd),
        }

    def as_text(self) -> dict[str, list[str]]:
        """Lines for a person, by what they are about."""
        created = _created(self.record)
        lines = {
            "transaction": [self.txid[::-1].hex()],
            "what": [_what(self.record)],
            "created": ["nobody noted when" if created is None else created.strftime("%Y-%m-%d %H:%M:%S UTC")],
            "blocks": list(_block_lines(self.record)),
            "outputs": list(self._output_lines()),
            "kept in": [_records(self.record)],
            "marks": list(_marks(self.record)) or ["none"],
            "conflicts": list(_listed([txid[::-1].hex() for txid in self.record.get("conflictingCs", [])])),
            "reassigned": list(_listed([_reassigned(entry) for entry in self.record.get("reassignments", [])])),
        }
        if not self.odd:
            lines["odd"] = ["nothing"]
        return {name: texts for name, texts in lines.items() if texts}

    def _output_lines(self) -> Iterator[str]:
        total = self.record.get("totalUtxos") or 0
        all_of_them = self.looked_at >= total
        yield f"{total:,}" if all_of_them else f"{total:,}, of which the first {self.looked_at:,} were looked at"
        for state, group in self.states.items():
            yield f"{group.count:,} {_group_in_words(state, group, self.height)}"


def look_at_transaction(
    client: Client, txid: bytes, most: int, height: int | None, progress_of: Callable[[int], Progress]
) -> Shown:
    """txid: wire order. most: how many outputs are looked at, at most. height: that they are judged at, or None.
    progress_of: given how many will be looked at, gives what is told how many more were. Raises UtxodError."""
    record, damaged = split_by_kind(client.get(txid, _FIELDS))
    outputs: list[Seen] = []
    count = min(most, record.get("totalUtxos") or 0)
    with progress_of(count) if count > _PAGE else nullcontext(_ignore) as progress:
        for start in range(0, count, _PAGE):
            page = [(txid, vout) for vout in range(start, min(start + _PAGE, count))]
            outputs += map(_seen, client.utxo_many(page, block_height=height))
            progress(len(page))
    again = client.get(txid, ("spentExtraRecs",)) if record.get("totalExtraRecs") else record
    counted = record, split_by_kind(again)[0]
    spent_children = frozenset(bins.get("spentExtraRecs", 0) for bins in counted)
    lost = _lost_spenders(client, record, outputs)
    evidence = Evidence(record, damaged, outputs, lost, spent_children, time.time_ns() // 1_000_000)
    return Shown(txid, record, height, len(outputs), _group(outputs), find_oddities(evidence))


def _ignore(count: int) -> None:
    """Where it is over before anybody could look."""


def _seen(outcome: Outcome[Utxo]) -> Seen:
    """Raises UtxodError where nothing was said about the output."""
    error = outcome.error
    if error is None:
        return Seen(outcome.result.state, outcome.result)
    if error.code not in _STATE_OF_CODE:
        raise error
    return Seen(_STATE_OF_CODE[error.code], None, error.message)


def _lost_spenders(client: Client, record: Mapping[str, Any], outputs: Sequence[Seen]) -> dict[bytes, int]:
    """Of the master's outputs that were looked at: spenders that are neither there nor marked as pruned, and the first
    output of each. Of a child's outputs nobody can say: its marks are not asked for."""
    pruned = record.get("deletedChildren") or {}
    first: dict[bytes, int] = {}
    for vout, seen in enumerate(outputs[: len(record.get("utxos") or ())]):
        spender = None if seen.utxo is None else seen.utxo.spending_txid
        if spender is not None and spender[::-1].hex() not in pruned:
            first.setdefault(spender, vout)
    found = client.get_many(first, ("isCoinbase",)) if first else []
    return {
        txid: vout
        for (txid, vout), outcome in zip(first.items(), found, strict=True)
        if outcome.code == codes.TX_NOT_FOUND
    }


def _group(outputs: Sequence[Seen]) -> dict[str, Group]:
    """By state, in the order in which they come up."""
    groups: dict[str, Group] = {}
    for vout, seen in enumerate(outputs):
        group = groups.get(seen.state, Group(0, vout, seen.utxo))
        groups[seen.state] = replace(group, count=group.count + 1)
    return groups


def _blocks(bins: Mapping[str, Any]) -> Iterator[tuple[int, int, int]]:
    lists = (bins.get(name) or [] for name in ("blockIDs", "blockHeights", "subtreeIdxs"))
    return zip(*lists, strict=False)  # where they are not of one length, that is odd, and said


def _group_as_json(group: Group) -> dict[str, Any]:
    first: dict[str, Any] = {"vout": group.first}
    if group.utxo is not None:
        spender = group.utxo.spending_txid
        first |= {
            "satoshis": group.utxo.satoshis,
            "spending_txid": None if spender is None else spender[::-1].hex(),
            "spending_vin": group.utxo.spending_vin,
            "spendable_from": group.utxo.spendable_from,
        }
    return {"count": group.count, "first": first}


def _reassignment_as_json(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "vout": entry.get("offset"),
        "satoshis": entry.get("satoshis"),
        "script": (entry.get("script") or b"").hex(),
        "block_height": entry.get("blockHeight"),
    }


def _group_in_words(state: str, group: Group, height: int | None) -> str:
    first = f"the first is output {group.first}"
    if state == NO_UTXO:
        return f"no UTXO, {first}"
    if group.utxo is None:
        return f"{'unreadable' if state == UNREADABLE else 'being created'}, {first}"
    value = f"{coins(group.utxo.satoshis)} coins"
    if state == "SPENT":
        spender = b"" if group.utxo.spending_txid is None else group.utxo.spending_txid[::-1]
        return f"spent, {first} ({value}), by input {group.utxo.spending_vin} of {spender.hex()}"
    words = state_in_words(group.utxo, height).partition(":")
    if group.utxo.spendable_from is not None:
        return f"{words[0]}, {first} ({value}):{words[2]}"
    return f"{words[0]}, {first} ({value})"


def _what(bins: Mapping[str, Any]) -> str:
    kind = "a coinbase" if bins.get("isCoinbase") else "a transaction"
    if "version" not in bins:
        return f"{kind} of which only some outputs are known"
    fee = "" if bins.get("isCoinbase") else ", its fee is not known"
    if not bins.get("isCoinbase") and "fee" in bins:
        fee = f", fee {bins['fee']:,} satoshis"
    return f"{kind} of {bins.get('sizeInBytes', 0):,} bytes{fee}"


def _created(bins: Mapping[str, Any]) -> datetime | None:
    created_ms = bins.get("createdAt")
    return None if created_ms is None else datetime.fromtimestamp(created_ms // 1000, UTC)


def _block_lines(bins: Mapping[str, Any]) -> Iterator[str]:
    blocks = [f"block {id_} at height {at}, subtree {subtree}" for id_, at, subtree in _blocks(bins)]
    if not blocks:
        yield blocks_in_words(bins)
        return
    yield from _listed(blocks)
    since = bins.get("unminedSince")
    yield "on the longest chain" if since is None else f"off the longest chain since height {since}"


def _records(bins: Mapping[str, Any]) -> str:
    children = bins.get("totalExtraRecs", 0)
    records = "1 record" if not children else f"{children + 1:,} records, {children:,} of them child records"
    spent = f" ({bins.get('spentExtraRecs', 0):,} all spent)" if children else ""
    return f"{records}{spent}{', and a file' if bins.get('external') else ''}"


def _marks(bins: Mapping[str, Any]) -> Iterator[str]:
    for name, text in (("creating", "being created"), ("conflicting", "conflicting"), ("locked", "locked")):
        if bins.get(name):
            yield text
    if "preserveUntil" in bins:
        yield f"preserved until height {bins['preserveUntil']}"
    if "deleteAtHeight" in bins:
        yield f"to be deleted at height {bins['deleteAtHeight']}"
    if bins.get("deletedChildren"):
        yield f"{len(bins['deletedChildren']):,} of those that spent from it were pruned"


def _reassigned(entry: Mapping[str, Any]) -> str:
    value = entry.get("satoshis")  # other programs do not note it
    return f"output {entry.get('offset')} at height {entry.get('blockHeight')}" + (
        "" if value is None else f": {coins(value)} coins"
    )


def _listed(texts: Sequence[str]) -> Iterator[str]:
    """The first of them, where there are many."""
    yield from texts[:LISTED]
    if len(texts) > LISTED:
        yield f"... and {len(texts) - LISTED:,} more (--json has them all)"
