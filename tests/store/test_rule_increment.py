"""The field's own counter of children, which other programs change."""

import pytest

from tests.support.ruled import Ruled, refused
from tests.support.ruled_family import master

pytestmark = pytest.mark.usefixtures("run_rules")


def test_increment_counts_within_its_bounds() -> None:
    record = Ruled(totalExtraRecs=2)
    for delta, code, count in ((-1, "INVALID_PARAMETER", 0), (3, "INVALID_PARAMETER", 0), (2, None, 2), (-2, None, 0)):
        result = record.increment(delta)
        assert refused(result, code) if code else result["status"] == "OK"
        assert record["spentExtraRecs"] == count


def test_increment_refuses() -> None:
    assert refused(Ruled.missing().increment(1), "TX_NOT_FOUND")
    for delta in (0, 1):
        assert refused(Ruled.child().increment(delta), "INVALID_PARAMETER")
    for record in (Ruled(totalExtraRecs=2), master(0, 0)):
        for delta in (0.5, "1", None):
            assert refused(record.increment(delta), "INVALID_PARAMETER")


@pytest.mark.parametrize("delta", [-1, 0, 1, 5])
def test_a_master_that_knows_its_children_is_not_incremented_but_recounted(delta: int) -> None:
    record = master(1, 0)
    before = record.bins
    assert record.increment(delta) == {"status": "OK", "signal": "RECOUNT", "childCount": 2}
    assert record.bins == before
