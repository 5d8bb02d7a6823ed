"""What import-linter can't see: the supervisor is a module, not a package, and `protocol` imports only relatively."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OURS = {"protocol", "broker", "store", "workers", "supervisor", "utxod", "bench"}


def imported(path: Path) -> set[str]:
    """The top-level names of all absolute imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def test_the_supervisor_knows_broker_workers_and_protocol_only() -> None:
    assert imported(ROOT / "supervisor.py") & OURS == {"broker", "workers", "protocol"}


def test_protocol_imports_nothing_of_ours_by_its_name() -> None:
    files = sorted((ROOT / "protocol").rglob("*.py"))
    assert files
    assert {name for path in files for name in imported(path)} & OURS == set()
