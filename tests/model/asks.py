"""What a caller asks: what goes over the wire, and how the model judges it."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from tests.model.coinset import Coinset
from tests.model.records import Answers, Expected, answers_of
from tests.model.transactions import Outpoint, Output, Tx, extended

Hold = tuple[Outpoint, bytes]  # an output, and who spends it


class Ask(NamedTuple):
    """One request. items: as they go over the wire. judge: the right answers to each of them, by the model, which then
    is as the set must be. touches: the transactions whose records may change. holds: the outputs that it wants, for
    whom. makes: the transaction that it may bring into the set."""

    operation: str
    items: list[list[Any]]
    judge: Callable[[Coinset], list[Answers]]
    touches: tuple[bytes, ...]
    holds: tuple[Hold, ...] = ()
    flags: int = 0
    makes: bytes | None = None
    label: str = ""

    def __repr__(self) -> str:
        return f"{self.operation}{f' flags {self.flags}' if self.flags else ''} {self.label or shown(self.items)}"


def shown(value: Any) -> str:
    """For people: bytes by their first letters."""
    if isinstance(value, bytes):
        return value[::-1].hex()[:8] if len(value) == 32 else value.hex()[:12]
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple, set, frozenset)):
        return "[" + ", ".join(map(shown, value)) + "]"
    return repr(value)


def _each(txids: Iterable[bytes]) -> tuple[bytes, ...]:
    """Each once, in their order: every run of the same choices goes the same way."""
    return tuple(dict.fromkeys(txids))


def _one(operation: str, method: str, item: Sequence[Any], *touches: bytes, holds: Sequence[Hold] = ()) -> Ask:
    """An item whose fields are the arguments of the model's method."""
    return Ask(
        operation,
        [list(item)],
        lambda model: [answers_of(getattr(model, method), *item)],
        _each(touches),
        tuple(holds),
    )


def plain(operation: str, *item: Any) -> Ask:
    """Of one transaction, the first field."""
    method = {"get": "get_fields"}.get(operation, operation)
    return _one(operation, method, item, item[0])


def get(txid: bytes) -> Ask:
    return Ask("get", [[txid, None]], lambda model: [answers_of(model.get_fields, txid)], (txid,))


def raw_of(txid: bytes) -> Ask:
    return Ask("get", [[txid, ["tx"]]], lambda model: [answers_of(model.raw, txid)], (txid,))


def spend(item: Sequence[Any]) -> Ask:
    txid, vout, _, spender, *_ = item
    return _one("spend", "spend", item, txid, holds=[((txid, vout), spender)])


def unspend(item: Sequence[Any]) -> Ask:
    return _one("unspend", "unspend", item, item[0], item[3])


def spend_transaction(items: Sequence[Sequence[Any]]) -> Ask:
    return Ask(
        "spend",
        [list(item) for item in items],
        lambda model: model.spend_transaction(items),
        _each(item[0] for item in items),
        tuple(((item[0], item[1]), item[3]) for item in items),
        flags=1,
    )


def abandon(spender: bytes, outpoints: Sequence[Outpoint], height: int) -> Ask:
    item = [spender, [list(outpoint) for outpoint in outpoints], height]
    return _one("abandon", "abandon", item, spender, *(txid for txid, _ in outpoints))


def set_conflicting(tx: Tx | None, txid: bytes, value: bool, height: int) -> Ask:
    parents = [parent for parent, _ in tx.spends] if tx else []
    return _one("set_conflicting", "set_conflicting", [txid, value, height], txid, *parents)


def create(tx: Tx, height: int, mined: Sequence[Sequence[int]], flags: int) -> Ask:
    return Ask(
        "create",
        [[tx.raw, height, [list(block) for block in mined], flags, None]],
        lambda model: [answers_of(model.create, tx, height, mined, flags)],
        _each([tx.txid, *(parent for parent, _ in tx.spends)]),
        makes=tx.txid,
        label=shown([tx.txid, height, mined, flags]),
    )


def accept(
    tx: Tx, tag: int, spent: Sequence[Output] | None, height: int, mined: Sequence[Sequence[int]], flags: int
) -> Ask:
    """spent: in the extended format, with these outputs."""
    raw = extended(tx, spent, tag) if spent else tx.raw
    return Ask(
        "accept",
        [[raw, height, [list(block) for block in mined], flags]],
        lambda model: [answers_of(model.accept, tx, spent, height, mined, flags)],
        _each([tx.txid, *(parent for parent, _ in tx.spends)]),
        tuple((outpoint, tx.txid) for outpoint in tx.spends),
        makes=tx.txid,
        label=shown([tx.txid, tx.spends, len(tx.outputs), height, mined, flags, "extended" if spent else "standard"]),
    )


def is_right(outcome: Any, answers: Answers) -> bool:
    """Whether an item's outcome is one of those."""
    return any(_is_this(outcome, expected) for expected in answers)


def _is_this(outcome: Any, expected: Expected) -> bool:
    if outcome.code != expected.code:
        return False
    if outcome.error is None:
        return _agrees(outcome.result, expected.value)
    details = outcome.error.details
    return outcome.executed == "no" and all(
        _set_of(details.get(name)) == _set_of(value) if name == "held" else details.get(name) == value
        for name, value in expected.details.items()
    )


def _agrees(found: Any, expected: Any) -> bool:
    """Of a map, the expected keys; None: that it has no such key, or nothing there."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(
            (found.get(key) or None) == (value or None) for key, value in expected.items()
        )
    if isinstance(expected, list) and expected and isinstance(expected[0], list):  # lists in any order
        return isinstance(found, list) and list(map(sorted, found)) == list(map(sorted, expected))
    return bool(found == expected)


def _set_of(outpoints: Any) -> set[Outpoint]:
    return {(txid, vout) for txid, vout in outpoints or ()}
