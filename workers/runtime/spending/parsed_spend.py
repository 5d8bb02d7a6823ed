"""One item of `spend` or `unspend`, checked, and where its output is.

Item [txid, vout, utxo hash, spending txid, vin, block height, flags].
"""

from typing import Any, Final

from msgspec import Struct

from protocol import codes
from protocol.item_flags import SPEND_IGNORE_CONFLICTING, SPEND_IGNORE_LOCKED
from protocol.wire import Error
from store import RuleCall
from store.layout import FROZEN, UTXO_BYTES, locate, pack_spending_data
from workers.runtime.context import DispatchContext
from workers.runtime.item_checks import BadItem
from workers.runtime.item_shape import Shape, bytes_field, flags_field, txid_field, uint_field

_VOUT: Final = uint_field("vout")


# A value that the rules refuse in a parameter is INVALID_PARAMETER here already: in the store it would be the refusal
# of its whole record.
def _check_vout(value: Any, name: str) -> None:
    if type(value) is int and value < 0:
        raise BadItem(f"{name}: negative", codes.INVALID_PARAMETER)
    _VOUT.check(value, name)


# Of an item that names an output by its hash, the first ones.
OUTPUT_FIELDS: Final = (
    txid_field(),
    _VOUT._replace(check=_check_vout),
    bytes_field("utxo hash", UTXO_BYTES, codes.INVALID_PARAMETER),
)
SHAPE: Final = Shape(
    *OUTPUT_FIELDS,
    txid_field("spending txid"),
    uint_field("vin"),
    uint_field("block height"),
    flags_field(SPEND_IGNORE_CONFLICTING | SPEND_IGNORE_LOCKED),
)

_FROZEN_MARK: Final = BadItem("spending txid and vin: the mark of a frozen output", codes.INVALID_PARAMETER)


class ParsedSpend(Struct, gc=False):
    """item_index: its place in the batch. record: the key of the record that the output lives in. offset: the output's
    place there. group: of the transaction that it is a part of, in a store that is atomic."""

    item_index: int
    txid: bytes
    vout: int
    record: bytes
    offset: int
    utxo_hash: bytes
    spending_data: bytes
    height: int
    flags: int
    group: int | None = None

    @property
    def outpoint(self) -> tuple[bytes, int]:
        return self.txid, self.vout

    @property
    def target(self) -> tuple[int, bytes, bytes]:
        """What the rules are told of it."""
        return self.offset, self.utxo_hash, self.spending_data

    def unspend_call(self, retention: int, life: int | None = None) -> RuleCall:
        """The call that takes the spend back, if it is this spender's. life: only that of this life of the output."""
        arguments = (*self.target, self.height, retention)
        return RuleCall(self.record, "unspend", arguments if life is None else (*arguments, life), self.group)

    def release_call(self, retention: int, life: int) -> RuleCall:
        """The call that gives up one attempt's part in the spend, as it is in this life of the output."""
        return RuleCall(self.record, "release", (*self.target, self.height, retention, life))


def parse_spends(context: DispatchContext) -> tuple[dict[int, ParsedSpend], dict[int, Error]]:
    """By item index: the items of the batch, and the errors of those that are wrong."""
    utxo_batch_size = context.store.utxo_batch_size
    spends: dict[int, ParsedSpend] = {}
    errors = {**context.batch.bad_items}
    for index, (txid, vout, utxo_hash, spending_txid, vin, height, flags) in context.batch.good_items():
        spending_data = pack_spending_data(spending_txid, vin)
        if spending_data == FROZEN:
            errors[index] = _FROZEN_MARK.error
            continue
        record, offset = locate(txid, vout, utxo_batch_size)
        spends[index] = ParsedSpend(index, txid, vout, record, offset, utxo_hash, spending_data, height, flags)
    return spends, errors
