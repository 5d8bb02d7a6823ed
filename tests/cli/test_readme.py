"""What the README shows is what happens."""

import contextlib
import io
import re
from pathlib import Path

from utxod.daemon import own_daemon

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def test_the_client_example_prints_what_it_says():
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    said = [line.rpartition("  # ")[2] for line in example.splitlines() if line.lstrip().startswith("print(")]
    printed = io.StringIO()
    with own_daemon(arguments=["--workers", "1"]) as daemon, contextlib.redirect_stdout(printed):
        assert "ipc:///tmp/utxod.sock" in example
        here = example.replace("utxod_client", "protocol").replace("ipc:///tmp/utxod.sock", daemon.endpoint)
        exec(compile(here, "README.md", "exec"), {})
    assert printed.getvalue().splitlines() == said
    assert len(said) == 5


def test_every_file_it_names_is_there():
    root = Path(__file__).resolve().parents[2]
    for name in ["bootstrap.py", *re.findall(r"\]\(([^)#:]+)\)", README)]:
        assert (root / name).exists(), name
