# Generated from its twin by `python -m tests.protocol.generate_blocking`: change that, and run this.
"""What is asked of: the ground of the operations."""

from abc import ABC, abstractmethod
from typing import Any, TypeVar

from .. import questions
from ..questions import Question

T = TypeVar("T")


class Asker(ABC):
    """An operation is a method that asks one question. What becomes of it is up to who inherits them."""

    @abstractmethod
    def _ask(self, question: Question[T], timeout: float | None) -> T: ...

    def status(self, *, timeout: float | None = None) -> dict[str, Any]:
        """Asks the daemon for its report of itself (docs/operating.md).

        Returns a map with string keys, for people and monitoring; its keys may grow.
        """
        return self._ask(questions.report(), timeout)
