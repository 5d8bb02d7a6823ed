"""What a transaction spends. One in the extended format says so itself; of another the outputs that it spends are
looked up, and checked, where they are in the set, and are taken from their transaction where that is in the same
batch."""

from collections.abc import Mapping, Sequence
from typing import Final

from protocol import codes
from protocol.codes import NO, UNKNOWN
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
from store.transaction import Output
from workers.runtime.context import DispatchContext
from workers.runtime.outputs.finding import FoundOutput, Outpoint, find_outputs
from workers.runtime.spending.outcomes import SpendOutcomes
from workers.runtime.spending.parsed_spend import ParsedSpend
from workers.runtime.store_errors import error_of_batch

from .acceptance import Acceptance

_Found = Mapping[Outpoint, FoundOutput | Error]

# Of an output that is not known: the spend of it is not tried.
_NO_HASH: Final = b""


def set_spends(
    context: DispatchContext, acceptances: Sequence[Acceptance], errors: dict[int, Error], outcomes: SpendOutcomes
) -> None:
    """Gives each its spends, and what it spends. Where an output is not known, or is another than the transaction says,
    that is added to `errors`, and to `outcomes` what of the others the transaction has already; both by number."""
    spenders = [acceptance for acceptance in acceptances if acceptance.spends_something]
    standard = [acceptance for acceptance in spenders if acceptance.transaction.spent_outputs is None]
    # No spend of these is held against the set.
    told = [each for each in acceptances if each.is_conflicting and each.transaction.extended_size is not None]
    if standard or told:
        found = _find(context, [outpoint for acceptance in (*standard, *told) for outpoint in acceptance.outpoints])
        here = {acceptance.txid: acceptance for acceptance in acceptances}
        for acceptance in standard:
            _look_up(context, acceptance, found, here, errors, outcomes)
        for acceptance in told:
            known = [_output(outpoint, found, here) for outpoint in acceptance.outpoints]
            if _check(acceptance, known, errors):
                _refuse(context, acceptance, known, found, outcomes)
    for acceptance in spenders:
        outputs = acceptance.transaction.spent_outputs
        if outputs is not None:
            context.check_budget()
            hashes = [
                utxo_hash(txid, vout, output.locking_script, output.satoshis)
                for (txid, vout), output in zip(acceptance.outpoints, outputs, strict=True)
            ]
            acceptance.spends = _spends(context, acceptance, hashes)


def _look_up(
    context: DispatchContext,
    acceptance: Acceptance,
    found: _Found,
    here: Mapping[bytes, Acceptance],
    errors: dict[int, Error],
    outcomes: SpendOutcomes,
) -> None:
    """Tells one in the standard format what it spends. Where that is not all known, it gets spends that are not to be
    tried."""
    known = [_output(outpoint, found, here) for outpoint in acceptance.outpoints]
    outputs = [output for output in known if isinstance(output, Output)]
    if len(outputs) == len(known):
        acceptance.transaction.spent_outputs = outputs
        return
    errors |= {part: output for part, output in zip(acceptance.parts, known, strict=False) if isinstance(output, Error)}
    _refuse(context, acceptance, known, found, outcomes)


def _refuse(
    context: DispatchContext,
    acceptance: Acceptance,
    known: Sequence[Output | Error],
    found: _Found,
    outcomes: SpendOutcomes,
) -> None:
    """Gives it spends that are not to be tried, so that its refusal names what it has already."""
    acceptance.spends = _spends(context, acceptance, [_NO_HASH] * len(known))
    for spend, output in zip(acceptance.spends, known, strict=True):
        if not isinstance(output, Error) and _is_held(spend, found[spend.outpoint]):
            outcomes.held.add(spend.item_index)


def _check(acceptance: Acceptance, known: Sequence[Output | Error], errors: dict[int, Error]) -> bool:
    """One in the extended format that spends nothing: what it says of its inputs is held against the set. Where that
    can't be done, because a parent is not there, it is kept without. known: what the inputs spend. Returns whether it
    is refused."""
    for part, output, said in zip(acceptance.parts, known, acceptance.transaction.spent_outputs or (), strict=False):
        if not isinstance(output, Error) and output != said:
            errors[part] = Error(codes.UTXO_HASH_MISMATCH, NO, "the output is another than the transaction says")
        elif isinstance(output, Error) and output.code in codes.FAULTS:
            errors[part] = output
    if any(isinstance(output, Error) for output in known):
        acceptance.transaction = acceptance.transaction.in_standard_format()
    return acceptance.is_refused(errors)


def _find(context: DispatchContext, outpoints: Sequence[Outpoint]) -> _Found:
    try:
        return find_outputs(context, outpoints)
    except StoreError as error:
        return dict.fromkeys(outpoints, error_of_batch(error, UNKNOWN if error.in_doubt else NO))


def _output(outpoint: Outpoint, found: _Found, here: Mapping[bytes, Acceptance]) -> Output | Error:
    """here: the transactions of the batch that are to be created, by txid."""
    known = found[outpoint]
    if not isinstance(known, Error):
        return known.output
    txid, vout = outpoint
    outputs = here[txid].transaction.outputs if txid in here else []
    is_to_come = known.code in (codes.TX_NOT_FOUND, codes.CREATING) and vout < len(outputs)
    return outputs[vout] if is_to_come else known


def _is_held(spend: ParsedSpend, found: FoundOutput | Error) -> bool:
    return not isinstance(found, Error) and (found.utxo or b"")[UTXO_BYTES:] == spend.spending_data


def _spends(context: DispatchContext, acceptance: Acceptance, hashes: Sequence[bytes]) -> list[ParsedSpend]:
    """One for each input, in their order. hashes: of the outputs that they spend."""
    utxo_batch_size = context.store.utxo_batch_size
    group = acceptance.creation if context.store.is_atomic else None
    flags = SPEND_IGNORE_CONFLICTING if acceptance.flags & ACCEPT_IGNORE_CONFLICTING else 0
    flags |= SPEND_IGNORE_LOCKED if acceptance.flags & ACCEPT_IGNORE_LOCKED else 0
    first, spender, height = acceptance.parts.start, acceptance.txid, acceptance.height
    spends = []
    for vin, (txid, vout) in enumerate(acceptance.outpoints):
        record, offset = locate(txid, vout, utxo_batch_size)
        data = pack_spending_data(spender, vin)
        spends.append(ParsedSpend(first + vin, txid, vout, record, offset, hashes[vin], data, height, flags, group))
    return spends
