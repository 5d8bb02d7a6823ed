"""One item of `spend` or `abandon`, checked, and where its output is.

Item [txid, vout, utxo hash, spending txid, vin, block height, flags].
"""

from typing import Final, NamedTuple

from protocol import codes
from protocol.item_flags import SPEND_IGNORE_CONFLICTING, SPEND_IGNORE_LOCKED
from protocol.wire import Error
from store import RuleCall
from store.layout import FROZEN, UTXO_BYTES, locate, pack_spending_data
from workers.runtime.context import DispatchContext
from workers.runtime.item_checks import BadItem, check_fields, check_flags, check_height, check_txid, check_uint

_FLAGS: Final = SPEND_IGNORE_CONFLICTING | SPEND_IGNORE_LOCKED


class ParsedSpend(NamedTuple):
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

    def unspend_call(self, retention: int) -> RuleCall:
        """The call that takes the spend back, if it is this spender's."""
        return RuleCall(self.record, "unspend", (*self.target, self.height, retention))

    def release_call(self, retention: int, life: int) -> RuleCall:
        """The call that gives up one attempt's part in the spend, as it is in this life of the output."""
        return RuleCall(self.record, "release", (*self.target, self.height, retention, life))


def parse_spends(context: DispatchContext) -> tuple[dict[int, ParsedSpend], dict[int, Error]]:
    """By item index: the items of the batch, and the errors of those that are wrong."""
    spends: dict[int, ParsedSpend] = {}
    errors: dict[int, Error] = {}
    for index in context.batch.uncompleted():
        try:
            spends[index] = _parse(context, index)
        except BadItem as fault:
            errors[index] = fault.error
    return spends, errors


def _parse(context: DispatchContext, index: int) -> ParsedSpend:
    """A value that the rules refuse in a parameter is INVALID_PARAMETER here already: in the store it would be the
    refusal of its whole record."""
    txid, vout, utxo_hash, spending_txid, vin, height, flags = check_fields(
        context.batch.items[index], "txid", "vout", "utxo hash", "spending txid", "vin", "block height", "flags"
    )
    check_txid(txid)
    if type(vout) is int and vout < 0:
        raise BadItem("vout: negative", codes.INVALID_PARAMETER)
    check_uint(vout, "vout")
    if type(utxo_hash) is not bytes or len(utxo_hash) != UTXO_BYTES:
        raise BadItem(f"utxo hash: not {UTXO_BYTES} bytes", codes.INVALID_PARAMETER)
    spending_data = pack_spending_data(check_txid(spending_txid, "spending txid"), check_uint(vin, "vin"))
    if spending_data == FROZEN:
        raise BadItem("spending txid and vin: the mark of a frozen output", codes.INVALID_PARAMETER)
    record, offset = locate(txid, vout, context.store.utxo_batch_size)
    return ParsedSpend(
        index,
        txid,
        vout,
        record,
        offset,
        utxo_hash,
        spending_data,
        check_height(height),
        check_flags(flags, _FLAGS),
    )
