"""What is wrong with a rule's arguments, in words; None: nothing. Nothing of a record was touched before."""

from typing import Any, Final

from store.layout import FROZEN, SPENDING_DATA_BYTES, UTXO_BYTES

WRONG_KIND: Final = "a value is of another kind than it must be"


def is_index(value: Any) -> bool:
    return type(value) is int and value >= 0


def is_hash(value: Any) -> bool:
    return type(value) is bytes and len(value) == UTXO_BYTES


def target_fault(offset: Any, utxo_hash: Any) -> str | None:
    """Of the output that a rule is about."""
    if not (type(offset) is int and offset >= 0):
        return "offset is no unsigned integer"
    if type(utxo_hash) is not bytes:
        return WRONG_KIND
    if len(utxo_hash) != UTXO_BYTES:
        return "utxo hash is not 32 bytes"
    return None


def spend_fault(offset: Any, utxo_hash: Any, spending_data: Any) -> str | None:
    """Of an output, and who spends it."""
    fault = target_fault(offset, utxo_hash)
    if fault is not None:
        return fault
    if type(spending_data) is not bytes:
        return WRONG_KIND
    if len(spending_data) != SPENDING_DATA_BYTES:
        return "spending data is not 36 bytes"
    if spending_data == FROZEN:
        return "spending data is the mark of a frozen output"
    return None


def check_heights(current: Any, retention: Any) -> None:
    """Raises TypeError where one is no integer: a bin would get it."""
    if type(current) is not int or type(retention) is not int:
        raise TypeError("the current height or the retention is no integer")
