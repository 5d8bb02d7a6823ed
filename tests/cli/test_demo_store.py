import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aerospike_server import BOTH, SET, empty, server_url

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=BOTH)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "lmdb":
        yield f"lmdb://{tmp_path}/set?sync=false"
        return
    yield server_url(blobs=tmp_path / "blobs")
    empty(SET)


def test_the_demo_holds_on_a_store_that_is_named_and_holds_there_again(store_url: str) -> None:
    command = [sys.executable, "-m", "utxod", "demo", "--transactions", "300", "--store", store_url]
    for _ in range(2):
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "all of it holds" in ended.stdout
