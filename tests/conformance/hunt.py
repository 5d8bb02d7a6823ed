"""Whether the cases find a mutant: it is held against the other implementation until a case tells them apart.

Scouts, a few cases of each product, find most of them soon; what they miss goes through many more."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final, NamedTuple

from tests.conformance.comparison import Case, judge
from tests.conformance.implementations import Bins, Implementation, InLua, InPython, Outcome
from tests.conformance.mutants import Mutant
from tests.conformance.products import Product, all_products
from tests.conformance.suite import run_product

SCOUTS: Final = 400  # of a product
THOROUGH: Final = 30_000  # cases of a product, for what the scouts have missed
NO_PROGRAM: Final = "makes no program"
_SECONDS: Final = 20  # of processor time: who takes longer does not end


class _Scout(NamedTuple):
    """What is called on a record, and what the right implementation makes of it."""

    bins: Bins | None
    calls: list[tuple[Any, Outcome]]


def find(mutant: Mutant, thorough: bool = True) -> str | None:
    """What it was found by; None: by no case. thorough: whether many cases are tried where the scouts find nothing."""
    try:
        implementation = mutant.make()
    except Exception:
        return NO_PROGRAM
    try:
        with _limit():
            if any(_is_found(implementation, function) for function in sorted(mutant.rules)):
                return "a scout"
    except _Endless:
        return "does not end"
    if not thorough:
        return None
    products = [product for product in all_products() if product.function in mutant.rules]
    return next(
        (f"{product.function}, {product.name}" for product in products if _differs(implementation, product)), None
    )


def _is_found(mutant: Implementation, function: str) -> bool:
    in_lua = isinstance(mutant, InLua)
    for bins, calls in _scouts(function, in_lua):
        call = mutant.hold(bins)
        for args, right in calls:
            outcome = call(function, args)
            expected, actual = (outcome, right) if in_lua else (right, outcome)
            if judge(Case(function, args, bins), expected, actual):
                return True
    return False


def _differs(mutant: Implementation, product: Product) -> bool:
    pair = (mutant, InPython()) if isinstance(mutant, InLua) else (InLua(), mutant)
    step = product.step(THOROUGH)
    return any(differences for _, differences in run_product(product, *pair, step))


@cache
def _scouts(function: str, for_lua: bool) -> list[_Scout]:
    """for_lua: to find mutants of the Lua module, with what Python makes of them."""
    right: Implementation = InPython() if for_lua else InLua()
    scouts = []
    for product in all_products():
        if product.function == function:
            step = product.step(SCOUTS)
            for bins, some in product.parts(step):
                call = right.hold(bins)
                scouts.append(_Scout(bins, [(args, call(function, args)) for args in some]))
    return scouts


class _Endless(BaseException):
    """Not to be caught by what catches every error."""


@contextmanager
def _limit() -> Iterator[None]:
    def end(*_: object) -> None:
        raise _Endless

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, _SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
