"""A page, walked."""

import difflib
from contextlib import closing
from typing import Final, NamedTuple

from tests.walk.likeness import alike
from tests.walk.page import Page
from tests.walk.scene import scene
from tests.walk.stories import STORIES

_ATTEMPTS: Final = 3


class Walked(NamedTuple):
    """text: of the page, with what its commands print now. difference: what of that is another than the page has."""

    text: str
    difference: str

    @property
    def is_true(self) -> bool:
        return not self.difference


def walk(page: Page) -> Walked:
    """A busy machine makes troubles of its own, and a page that is true once is true: it is walked again where it is
    not, some times. Raises AssertionError where the trouble could not be made."""
    for _ in range(_ATTEMPTS):
        walked = _walk(page)
        if walked.is_true:
            break
    return walked


def _walk(page: Page) -> Walked:
    with scene() as own, closing(STORIES[page.name](own)) as story:

        def go_on(step: str) -> None:
            assert next(story, None) == step, f"{page.name}: it is not {step!r} that the story has here"

        text = page.walk(own.run, go_on, alike)
        assert next(story, None) is None, f"{page.name}: the story goes on behind the page"
    shown, now = page.text.splitlines(), text.splitlines()
    return Walked(text, "\n".join(difflib.unified_diff(shown, now, "shown", "printed", n=1, lineterm="")))
