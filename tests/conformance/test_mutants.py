"""A change of either implementation is found: some of all mutants, in a few hundred cases of each product. All:
`python -m tests.conformance --mutants`."""

from collections.abc import Callable, Iterator

import pytest

from tests.conformance.equivalents import EQUIVALENTS
from tests.conformance.hunt import find
from tests.conformance.lua_mutants import lua_mutants
from tests.conformance.mutants import Mutant
from tests.conformance.python_mutants import python_mutants

pytestmark = pytest.mark.timeout(600)  # of processor time each takes some seconds

EVERY = 25


@pytest.mark.parametrize("mutants", [lua_mutants, python_mutants])
def test_a_change_of_either_implementation_is_found(mutants: Callable[[], Iterator[Mutant]]) -> None:
    some = [mutant for mutant in mutants() if mutant.name not in EQUIVALENTS][::EVERY]
    assert len(some) > 40
    survivors = [mutant.name for mutant in some if find(mutant) is None]
    assert survivors == []


def test_what_is_listed_as_the_same_is_a_mutant() -> None:
    names = {mutant.name for make in (lua_mutants, python_mutants) for mutant in make()}
    assert EQUIVALENTS.keys() <= names
