import pytest

from tests.support.broker_by_hand import Broker


@pytest.fixture
def broker() -> Broker:
    return Broker()
