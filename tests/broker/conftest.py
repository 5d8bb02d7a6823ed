import pytest
from by_hand import Broker


@pytest.fixture
def broker() -> Broker:
    return Broker()
