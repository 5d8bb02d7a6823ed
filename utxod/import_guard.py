"""Checks, before they are imported, that the packages are utxod's own and not others of the same name.

The daemon's wheel brings packages with plain names (`store`, `broker`, ...). Where an environment holds another package
of such a name, or the current directory does, that one would be imported in place of ours and fail somewhere far from
the cause; so this is looked at first, without importing anything.
"""

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

PACKAGES = ("protocol", "store", "broker", "workers", "supervisor")
ROOT = Path(__file__).resolve().parent.parent


class ForeignModule(Exception):
    """A module of ours would be imported from elsewhere. The message names it, its path and the remedy."""


def check(root: Path = ROOT) -> None:
    """Raises ForeignModule where one of `PACKAGES` would be imported from outside of `root`."""
    for name in PACKAGES:
        found = _location(importlib.util.find_spec(name))
        if found is None:
            raise ForeignModule(
                f"utxod is incomplete: its module {name!r} is not beside {root / 'utxod'}. Install it again."
            )
        if found.parent != root:
            raise ForeignModule(
                f"another {name!r} would be imported in place of utxod's own: {found}\n"
                f"(utxod's is {root / name}). Packages of such plain names can't share an environment:\n"
                "give utxod one of its own (python3 -m venv ENV && ENV/bin/pip install UTXOD'S-WHEEL-OR-CHECKOUT),\n"
                "or take that one off PYTHONPATH and out of the current directory."
            )


def _location(spec: ModuleSpec | None) -> Path | None:
    """The file of a module, the directory of a package (also of one without __init__.py)."""
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin).resolve() if spec.origin else None
