"""Transactions are accepted in a store whose batches are one whole: the spends and the creation of each are a group,
applied or not, and all of them are one batch, parents first. So what spends an output of another one here finds it, or
finds that it was refused."""

from collections.abc import Sequence

from msgspec.structs import replace

from protocol.wire import Error
from store import Mode, RecordOperation, Result, Status, Write
from store.layout import move_out
from workers.runtime.context import DispatchContext
from workers.runtime.creation.at_once import error_of_creation, put_blobs
from workers.runtime.creation.blobs import make_blob_own
from workers.runtime.rule_answer import RuleAnswer
from workers.runtime.spending.calls import SpendGroup, group_spends, owe_of_spends, read_spends, spend_call
from workers.runtime.spending.outcomes import SpendOutcomes
from workers.runtime.store_errors import error_of_record

from .acceptance import Acceptance
from .order import by_depth
from .settling import settle


def accept_at_once(context: DispatchContext, acceptances: Sequence[Acceptance]) -> None:
    """Sets `found` or `error` of each that is not created."""
    waiting = [acceptance for level in by_depth(acceptances) for acceptance in level]
    while waiting:
        errors: dict[int, Error] = {}
        outcomes = SpendOutcomes(set(), {}, set())
        moved_out = _try(context, waiting, errors, outcomes)
        if not moved_out:
            settle(context, waiting, errors, outcomes)
            break
        # They are tried again, and so is what was refused, perhaps because of them.
        waiting = [acceptance for acceptance in waiting if acceptance.is_refused(errors)]
    for acceptance in acceptances:
        acceptance.end_creation()


def _try(
    context: DispatchContext, waiting: Sequence[Acceptance], errors: dict[int, Error], outcomes: SpendOutcomes
) -> bool:
    """Returns whether one was too big for a record, and is to be tried again with its transaction in the blob store."""
    candidates = [acceptance.candidate for acceptance in waiting if acceptance.candidate is not None]
    put = {candidate.item_index: candidate for candidate in put_blobs(context, candidates, errors)}
    tried = [acceptance for acceptance in waiting if acceptance.creation in put]
    groups: list[Sequence[SpendGroup]] = []
    operations: list[RecordOperation] = []
    for acceptance in tried:
        acceptance.candidate = put[acceptance.creation]
        acceptance.is_begun = True
        groups.append(group_spends(acceptance.spends))
        operations += [spend_call(group, context.retention) for group in groups[-1]]
        records = acceptance.candidate.creation.records
        operations += [Write(key, bins, Mode.CREATE, group=acceptance.creation) for key, bins in records]
    results = iter(context.try_operate(operations))
    moved_out = False
    for acceptance, own_groups in zip(tried, groups, strict=True):
        answers = [read_spends(group, next(results), errors, outcomes) for group in own_groups]
        assert acceptance.candidate is not None
        own = [next(results) for _ in acceptance.candidate.creation.records]
        moved_out |= _read_creation(acceptance, own, errors)
        if not acceptance.is_refused(errors):
            _finish(context, acceptance, own_groups, answers, errors, outcomes)
    return moved_out


def _read_creation(acceptance: Acceptance, results: Sequence[Result], errors: dict[int, Error]) -> bool:
    """results: of its records. Returns whether it is moved out."""
    candidate = acceptance.candidate
    assert candidate is not None
    if results[0].status is Status.TOO_BIG and not candidate.creation.external:
        acceptance.candidate = replace(candidate, creation=move_out(candidate.creation))
        errors[acceptance.creation] = error_of_record(results[0], "transaction")
        return True
    error = error_of_creation(candidate, results)
    if error is not None:
        errors[acceptance.creation] = error
    return False


def _finish(
    context: DispatchContext,
    acceptance: Acceptance,
    groups: Sequence[SpendGroup],
    answers: Sequence[RuleAnswer],
    errors: dict[int, Error],
    outcomes: SpendOutcomes,
) -> None:
    """Of one whose group stands."""
    for group, answer in zip(groups, answers, strict=True):
        owe_of_spends(context, group, answer, outcomes)
    assert acceptance.candidate is not None
    if acceptance.candidate.creation.external:
        error = make_blob_own(context, acceptance.candidate)
        if error is not None:
            errors[acceptance.creation] = error
