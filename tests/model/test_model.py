"""Whatever callers ask, and whatever breaks: set and model agree. And the model is such that it would notice if they
did not."""

from collections.abc import Iterator

import pytest

from tests.model.mutants import QUICK, find
from tests.model.run import run
from tests.model.subject import EMBEDDED, RECORDS, Subject, opened
from tests.simulation.command import without_log
from tests.support.aerospike_server import AEROSPIKE, empty, server_url

_SERVER_SET = "utxod-test-model"


@pytest.fixture(params=[EMBEDDED, RECORDS, AEROSPIKE])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    is_embedded = request.param in (EMBEDDED, RECORDS)
    try:
        with opened(request.param if is_embedded else server_url(_SERVER_SET)) as opened_set:
            yield opened_set
    finally:
        if not is_embedded:
            empty(_SERVER_SET)


def test_set_and_model_agree(subject: Subject) -> None:
    with without_log():
        outcome = run(subject, runs=30, steps=60, first_seed=13)
    assert outcome.difference is None, outcome.difference
    assert outcome.runs >= 30


@pytest.mark.parametrize("name", QUICK)
def test_a_fault_that_is_put_back_is_found(name: str) -> None:
    with without_log():
        assert find(name) is not None
