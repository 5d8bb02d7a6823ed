import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_demo_holds_on_a_store_that_is_named_and_holds_there_again(store_url: str) -> None:
    command = [sys.executable, "-m", "utxod", "demo", "--transactions", "300", "--store", store_url]
    for _ in range(2):
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "all of it holds" in ended.stdout
