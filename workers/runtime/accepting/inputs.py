"""What a transaction spends. One in the extended format says so itself; of another the outputs that it spends are
looked up, and checked, where they are in the set, and are taken from their transaction where that is in the same
batch."""

from collections.abc import Mapping, Sequence

from protocol import codes
from protocol.hashing import utxo_hash
from protocol.item_flags import (
    ACCEPT_IGNORE_CONFLICTING,
    ACCEPT_IGNORE_LOCKED,
    SPEND_IGNORE_CONFLICTING,
    SPEND_IGNORE_LOCKED,
)
from protocol.wire import Error
from store import StoreError
from store.layout import UTXO_BYTES, locate, pack_spending_data
from store.transaction import Input, Output
from workers.runtime.context import DispatchContext
from workers.runtime.outputs.finding import FoundOutput, Outpoint, find_outputs
from workers.runtime.spending.outcomes import SpendOutcomes
from workers.runtime.spending.parsed_spend import ParsedSpend
from workers.runtime.store_errors import error_of_batch

from .acceptance import Acceptance

# An output that is spent, and its utxo hash; or why that is not known.
_Spent = tuple[Output, bytes] | Error

# Of an output that is not known: the spend of it is not tried.
_NO_HASH = b""


def set_spends(
    context: DispatchContext, acceptances: Sequence[Acceptance], errors: dict[int, Error], outcomes: SpendOutcomes
) -> None:
    """Gives each its spends, and what it pays for them. Where an output is not known that is added to `errors`, and to
    `outcomes` what of the others the transaction has already; both by number."""
    spenders = [acceptance for acceptance in acceptances if acceptance.spends_something]
    standard = [acceptance for acceptance in spenders if acceptance.transaction.extended_size is None]
    found = _find(context, standard)
    here = {acceptance.txid: acceptance for acceptance in acceptances} if standard else {}
    for acceptance in spenders:
        transaction = acceptance.transaction
        spent: list[_Spent] = []
        for each in transaction.inputs:
            if each.satoshis is not None and each.locking_script is not None:
                spent.append(_hashed(each, Output(each.satoshis, each.locking_script)))
            else:
                spent.append(_known(each, found, here))
        acceptance.spends = _spends(context, acceptance, spent, errors)
        if acceptance.failed(errors):
            outcomes.held.update(spend.item_index for spend in acceptance.spends if _is_held(spend, found))
        elif transaction.spent_satoshis is None:
            transaction.spent_satoshis = sum(known[0].satoshis for known in spent if not isinstance(known, Error))


def _find(context: DispatchContext, acceptances: Sequence[Acceptance]) -> Mapping[Outpoint, FoundOutput | Error]:
    outpoints = [
        (each.previous_txid, each.previous_vout) for acceptance in acceptances for each in acceptance.transaction.inputs
    ]
    try:
        return find_outputs(context, outpoints)
    except StoreError as error:
        return dict.fromkeys(outpoints, error_of_batch(error, codes.UNKNOWN if error.in_doubt else codes.NO))


def _known(spent: Input, found: Mapping[Outpoint, FoundOutput | Error], here: Mapping[bytes, Acceptance]) -> _Spent:
    """here: the transactions of the batch that are to be created, by txid."""
    known = found[(spent.previous_txid, spent.previous_vout)]
    if not isinstance(known, Error):
        return _hashed(spent, known.output) if known.utxo is None else (known.output, known.utxo[:UTXO_BYTES])
    parent = here.get(spent.previous_txid)
    outputs = parent.transaction.outputs if parent is not None else []
    if known.code not in (codes.TX_NOT_FOUND, codes.CREATING) or spent.previous_vout >= len(outputs):
        return known
    return _hashed(spent, outputs[spent.previous_vout])


def _hashed(spent: Input, output: Output) -> _Spent:
    hashed = utxo_hash(spent.previous_txid, spent.previous_vout, output.locking_script, output.satoshis)
    return output, hashed


def _spends(
    context: DispatchContext, acceptance: Acceptance, spent: Sequence[_Spent], errors: dict[int, Error]
) -> list[ParsedSpend]:
    """One for each input, in their order."""
    utxo_batch_size = context.store.utxo_batch_size
    group = acceptance.creation if context.store.is_atomic else None
    flags = SPEND_IGNORE_CONFLICTING if acceptance.flags & ACCEPT_IGNORE_CONFLICTING else 0
    flags |= SPEND_IGNORE_LOCKED if acceptance.flags & ACCEPT_IGNORE_LOCKED else 0
    spends = []
    for vin, (each, known) in enumerate(zip(acceptance.transaction.inputs, spent, strict=True)):
        part = acceptance.parts[vin]
        hashed = _NO_HASH
        if isinstance(known, Error):
            errors[part] = known
        else:
            hashed = known[1]
        txid, vout = each.previous_txid, each.previous_vout
        record, offset = locate(txid, vout, utxo_batch_size)
        data = pack_spending_data(acceptance.txid, vin)
        spends.append(ParsedSpend(part, txid, vout, record, offset, hashed, data, acceptance.height, flags, group))
    return spends


def _is_held(spend: ParsedSpend, found: Mapping[Outpoint, FoundOutput | Error]) -> bool:
    known = found.get(spend.outpoint)
    return isinstance(known, FoundOutput) and known.utxo is not None and known.utxo[UTXO_BYTES:] == spend.spending_data
