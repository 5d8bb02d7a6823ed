"""The references in docs/ are what the code says."""

from pathlib import Path

import pytest

from protocol import codes
from tests.references import COMMAND, DOCS, references


@pytest.mark.parametrize("path", references(), ids=lambda path: path.name)
def test_a_reference_is_what_would_be_made_from_the_code(path: Path) -> None:
    assert path.exists(), f"{path.relative_to(DOCS.parent)} is missing; run: {COMMAND}"
    assert path.read_text() == references()[path], f"{path.relative_to(DOCS.parent)} is not current; run: {COMMAND}"


def test_every_code_has_a_meaning_and_is_either_a_fault_or_a_rejection() -> None:
    others = {"OK", "NO", "UNKNOWN"}
    names = {name for name, value in vars(codes).items() if name.isupper() and isinstance(value, str)}
    named = {name for name in names if not name.startswith("_")} - others
    assert named == codes.FAULTS | codes.REJECTIONS
    assert not codes.FAULTS & codes.REJECTIONS
