"""What the package gives, and what is loaded for it."""

import subprocess
import sys

import pytest

import protocol
from utxod.import_guard import ROOT

# Each process of a daemon has them for nothing: a quarter of the time in which a worker starts, and 8 MB.
FOR_CLIENTS = {"asyncio", "ssl", "protocol.client"}


def test_all_that_it_names_is_there_and_nothing_else() -> None:
    assert all(getattr(protocol, name) for name in protocol.__all__)
    assert set(protocol.__all__) <= set(dir(protocol))
    with pytest.raises(AttributeError, match="'protocol' has no attribute 'Clients'"):
        protocol.Clients  # noqa: B018


@pytest.mark.parametrize("module", ["supervisor", "workers.__main__", "broker.receipts.__main__"])
def test_daemon_workers_and_recorder_load_nothing_of_the_clients(module: str) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True, timeout=60).split()
    assert FOR_CLIENTS.isdisjoint(loaded)
