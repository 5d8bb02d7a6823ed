"""What answers say of an output, of whatever order and overlap: who must hold it, and which answers can't both be."""

import pytest

from tests.chaos.claims import FREE, HELD, OPEN, Claim, claims_of, held_twice
from tests.chaos.history import YES, Answer, Invocation

APPLIED, JOINED = Answer("OK", YES, True), Answer("OK", YES, False)
REFUSED = Answer("COINBASE_IMMATURE", "no", "")
NAMED = REFUSED._replace(held=[(0, 0)])
CRASHED = Answer("WORKER_CRASHED", "unknown", "")
RIVALLED = Answer("SPENT", "no", "22" * 32)
ITEM = (0, 0, "11" * 32, 0, False)
RIVAL = (0, 0, "22" * 32, 0, False)


def invocation(
    operation: str, answer: Answer, asked: float, answered: float, quiet: bool = False, item=ITEM
) -> Invocation:
    return Invocation("client", 0, operation, [item], asked, asked + 1, answered, [answer], quiet)


def claim(*invocations: Invocation) -> Claim:
    (spenders,) = claims_of(invocations).values()
    (found,) = spenders.values()
    return found


def spend(answer: Answer, asked: float, answered: float, **more) -> Invocation:
    return invocation("transaction", answer, asked, answered, **more)


def unspend(answer: Answer, asked: float, answered: float, **more) -> Invocation:
    return invocation("unspend", answer, asked, answered, **more)


@pytest.mark.parametrize(
    ("state", "invocations"),
    [
        (FREE, [spend(REFUSED, 1, 2)]),
        (HELD, [spend(APPLIED, 1, 2)]),
        (HELD, [spend(JOINED, 1, 2), spend(REFUSED, 3, 4)]),
        (HELD, [spend(REFUSED, 1, 9), spend(JOINED, 2, 3)]),
        (OPEN, [spend(CRASHED, 1, 2)]),
        (HELD, [spend(APPLIED, 1, 4), unspend(RIVALLED, 2, 3)]),
        (FREE, [spend(NAMED, 1, 2), unspend(RIVALLED, 3, 4)]),
        (FREE, [spend(CRASHED, 1, 2), unspend(RIVALLED, 3, 4, quiet=True)]),
        (OPEN, [spend(REFUSED, 1, 2), spend(NAMED, 3, 4)]),
        (FREE, [spend(NAMED, 1, 2), spend(REFUSED, 3, 4)]),
        (FREE, [spend(NAMED, 1, 2), unspend(APPLIED, 3, 4)]),
        (FREE, [spend(APPLIED, 1, 2), unspend(APPLIED, 3, 4)]),
        (OPEN, [spend(APPLIED, 1, 2), unspend(CRASHED, 3, 4)]),
        (OPEN, [spend(APPLIED, 1, 2), unspend(CRASHED, 3, 4), spend(APPLIED, 5, 6)]),
        (OPEN, [spend(CRASHED, 1, 2), unspend(JOINED, 3, 4)]),
        (HELD, [spend(APPLIED, 1, 2), unspend(APPLIED, 3, 4), spend(APPLIED, 5, 6)]),
        (HELD, [spend(CRASHED, 1, 2), spend(JOINED, 3, 4, quiet=True)]),
        (HELD, [spend(CRASHED, 1, 2), spend(NAMED, 3, 4, quiet=True)]),
        (FREE, [spend(CRASHED, 1, 2), spend(REFUSED, 3, 4, quiet=True)]),
        (FREE, [spend(NAMED, 1, 2), spend(NAMED, 3, 4, quiet=True), unspend(APPLIED, 5, 6, quiet=True)]),
        (HELD, [spend(APPLIED, 1, 2), spend(REFUSED, 3, 4, quiet=True)]),  # it was promised: whoever undid it is wrong
        (OPEN, [spend(CRASHED, 1, 2), spend(CRASHED, 3, 4, quiet=True)]),
        (OPEN, [spend(CRASHED, 1, 2), spend(Answer("OVERLOADED", "no"), 3, 4, quiet=True)]),
    ],
)
def test_who_must_hold_an_output(state, invocations):
    assert claim(*invocations).state == state


@pytest.mark.parametrize(
    "invocations",
    [
        [spend(APPLIED, 1, 2), spend(JOINED, 3, 4)],
        [spend(REFUSED, 1, 4), spend(JOINED, 2, 3)],  # the other had applied it, and gives it up
        [spend(NAMED, 1, 2), spend(JOINED, 3, 4)],
        [spend(CRASHED, 1, 2), spend(JOINED, 3, 4)],
        [spend(JOINED, 1, 3), spend(APPLIED, 2, 4)],
        [spend(APPLIED, 1, 2), unspend(APPLIED, 3, 4), spend(APPLIED, 5, 6)],
        [spend(APPLIED, 1, 2), unspend(CRASHED, 3, 4), unspend(JOINED, 5, 6)],
        [spend(NAMED, 1, 2), unspend(APPLIED, 3, 4), unspend(JOINED, 5, 6)],
        [spend(REFUSED, 1, 2), unspend(JOINED, 3, 4)],
        [spend(APPLIED, 1, 4), unspend(RIVALLED, 2, 3)],
        [spend(REFUSED, 1, 2), unspend(RIVALLED, 3, 4)],
    ],
)
def test_answers_that_go_together(invocations):
    assert claim(*invocations).problems() == []


@pytest.mark.parametrize(
    "invocations",
    [
        [spend(APPLIED, 1, 2), spend(APPLIED, 3, 4)],
        [spend(APPLIED, 1, 3), spend(APPLIED, 2, 4)],
        [spend(JOINED, 1, 2)],
        [spend(REFUSED, 1, 2), spend(JOINED, 3, 4)],
        [spend(APPLIED, 1, 2), unspend(APPLIED, 3, 4), spend(JOINED, 5, 6)],
        [spend(APPLIED, 1, 2), unspend(JOINED, 3, 4)],
        [spend(APPLIED, 1, 2), unspend(RIVALLED, 3, 4)],
        [spend(REFUSED, 1, 2), unspend(APPLIED, 3, 4)],
        [unspend(APPLIED, 3, 4)],
    ],
)
def test_answers_that_cannot_both_be_right(invocations):
    assert len(claim(*invocations).problems()) == 1


@pytest.mark.parametrize(
    ("twice", "invocations"),
    [
        (True, [spend(APPLIED, 1, 2), spend(APPLIED, 3, 4, item=RIVAL)]),
        (True, [spend(APPLIED, 1, 2), spend(APPLIED, 3, 4, item=RIVAL), unspend(APPLIED, 5, 6)]),
        (True, [spend(APPLIED, 1, 9), spend(APPLIED, 2, 3, item=RIVAL)]),
        (False, [spend(APPLIED, 1, 2), unspend(APPLIED, 3, 4), spend(APPLIED, 3, 5, item=RIVAL)]),
        (False, [spend(APPLIED, 1, 2), spend(REFUSED, 3, 4, item=RIVAL)]),
        (False, [spend(APPLIED, 1, 4), unspend(APPLIED, 3, 5), spend(APPLIED, 6, 7, item=RIVAL)]),
    ],
)
def test_an_output_that_two_were_promised(twice, invocations):
    assert bool(held_twice(claims_of(invocations)[0, 0])) is twice
