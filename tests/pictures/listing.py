"""Where the pictures are, and the document that shows them."""

from collections.abc import Sequence
from typing import Final

from tests.pictures.scenes import Scene
from tests.support.daemon import ROOT

PICTURES: Final = ROOT / "docs" / "pictures"
# They are kept in the repository, and looked at over a network.
MOST_BYTES: Final = 90_000
KINDS: Final = {"page": "The page", "top": "utxod top"}
_HEAD: Final = """# What it looks like

The page that the figures' process serves, and `utxod top`, of a daemon under load and in each of these faults. Made by
`python -m tests.pictures`. `utxod doctor --live` names the finding, and its page says what to do.
"""


def listed(scenes: Sequence[Scene]) -> str:
    """The document."""
    parts = [_HEAD]
    for scene in scenes:
        finding = f" [{scene.finding}](../operations/{scene.finding}.md)" if scene.finding else ""
        shown = "\n\n".join(f"![{what}: {scene.name}]({scene.name}-{kind}.png)" for kind, what in KINDS.items())
        parts.append(f"## {scene.name}\n\n{scene.shows}{finding}\n\n{shown}\n")
    return "\n".join(parts)
