"""What is absent to every rule: no record, and one that only bars a transaction's creation while its spends are given
back."""

import pytest

from store.layout import ABANDONED
from store.lmdb.rules import RULES
from tests.conformance.arguments import chosen
from tests.support.ruled import Ruled, refused

pytestmark = pytest.mark.usefixtures("run_rules")


@pytest.mark.parametrize("function", RULES)
@pytest.mark.parametrize("bins", [None, {ABANDONED: True}], ids=["no record", "abandoned"])
def test_a_record_that_bars_a_creation_is_absent_to_every_rule(function: str, bins: dict[str, bool] | None) -> None:
    record = Ruled.missing()
    record.bins = bins
    [arguments] = chosen(function)
    assert refused(record.call(function, *arguments), "TX_NOT_FOUND")
    assert record.bins == bins
