"""Both implementations agree, and the suite leaves out no rule: of each product all cases, or where there are many a
slice of them."""

import json

import pytest
from click.testing import CliRunner

from store.lmdb.rules import RULES
from tests.conformance import arguments
from tests.conformance.__main__ import COMMAND
from tests.conformance.comparison import Case, compare, describe, parse_case, shrink
from tests.conformance.histories import run_history
from tests.conformance.implementations import InLua, InPython
from tests.conformance.products import all_products
from tests.conformance.suite import run_product
from tests.lua import Rules

pytestmark = pytest.mark.timeout(600)  # of processor time each takes some seconds

CASES = 8_000  # of a product
HISTORIES = 300
FUNCTIONS = sorted(Rules().names)


def test_every_rule_of_the_module_is_in_python_and_has_its_cases() -> None:
    assert sorted(RULES) == FUNCTIONS
    assert sorted(arguments.PARAMETERS) == FUNCTIONS
    assert sorted({product.function for product in all_products()}) == FUNCTIONS


@pytest.mark.parametrize("function", FUNCTIONS)
def test_both_implementations_answer_and_save_the_same(function: str) -> None:
    expected, actual = InLua(), InPython()
    for product in all_products():
        if product.function == function:
            for _, differences in run_product(product, expected, actual, product.step(CASES)):
                for difference in differences:
                    pytest.fail(describe(shrink(difference, expected, actual), "Lua", "Python"))


def test_both_implementations_agree_all_along_random_histories() -> None:
    expected, actual = InLua(), InPython()
    for seed in range(HISTORIES):
        _, difference = run_history(seed, expected, actual)
        assert difference is None, describe(shrink(difference, expected, actual), "Lua", "Python")


def test_a_difference_is_told_with_no_more_than_shows_it_and_can_be_run_again() -> None:
    class Wrong(InPython):
        """Takes whoever is refused for missing."""

        def __init__(self) -> None:
            super().__init__({"setConflicting": lambda *_: {"status": "ERROR", "errorCode": "TX_NOT_FOUND"}})

    bins = {"totalExtraRecs": 0, "conflicting": False, "blockIDs": [1, 2], "external": True}
    found = compare(Case("setConflicting", (True, 1000, 10), bins), InLua(), Wrong())
    assert found is not None
    least = shrink(found, InLua(), Wrong())
    assert least.case == Case("setConflicting", (True, 1000, 10), {})
    told = describe(least, "Lua", "wrong")
    assert "TX_NOT_FOUND" in told
    assert parse_case(told.splitlines()[0]) == least.case
    again = CliRunner().invoke(COMMAND, ["--case", told.splitlines()[0], "--json"], catch_exceptions=False)
    assert again.exit_code == 0
    assert json.loads(again.output)["ok"] is True


def test_a_case_that_is_none_is_refused() -> None:
    result = CliRunner().invoke(COMMAND, ["--case", "(spend, 1)"])
    assert result.exit_code == 2
    assert "no case" in result.output
