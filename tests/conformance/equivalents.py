"""Mutants that no case can find, since they mean the same; by name, with the reason."""

from typing import Final

EQUIVALENTS: Final[dict[str, str]] = {}
